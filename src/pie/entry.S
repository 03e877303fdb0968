/* SPDX-License-Identifier: Apache-2.0 */
/* The three moments at which a stack pointer changes hands: start, new thread, sigreturn. */
	.section .text.entry, "ax"
	.globl pie_entry
/* rdi board, rsi task, rdx first record, rcx top of the stack to use */
pie_entry:
	.byte	0xeb, 30	/* jmp: over the rest of struct pie_head */
	.ascii	"thaw's blob\0\0\0"
	.quad	0, 0
	mov	%rcx, %rsp
	and	$-16, %rsp
	xor	%ebp, %ebp
	call	pie_main
	ud2

	.text
	.globl pie_clone
/* long pie_clone(args, len, stack_top, fn, arg): clone3 with memory shared; the child calls fn(arg) on its own stack */
pie_clone:
	mov	%rcx, %r9
	mov	$435, %eax	/* clone3; args->stack and stack_size are set by the caller */
	syscall
	test	%rax, %rax
	jnz	1f
	mov	%r8, %rdi
	xor	%ebp, %ebp
	call	*%r9
	ud2
1:	ret

	.globl pie_sigreturn
/* The kernel looks for the frame at rsp - 8, where a handler's return address was popped. */
pie_sigreturn:
	lea	8(%rdi), %rsp
	mov	$15, %eax	/* rt_sigreturn */
	.globl pie_syscall
pie_syscall:
	syscall
	ud2

	.section .note.GNU-stack, "", @progbits
