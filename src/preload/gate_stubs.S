/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way into the driver: one stub for each entry point, all alike (gate.h).
 *
 * A stub only says which one it is. What follows works for a function of any
 * signature: argument registers are kept, and the first 16 words of arguments on
 * the stack are copied under a frame of our own, so that the driver is *called*
 * and comes back here. (Exchanging return addresses would save the copy, and
 * break unwinders, shadow stacks and longjmp.) The driver's widest call has less than
 * half of that on the stack; words above that are no arguments are copied for nothing.
 */
#include "preload/gate_count.h"

#define STACK_WORDS 128 /* bytes */
#define SAVED 208

	.text
	.hidden gate_stubs
	.globl gate_stubs
	.balign 16
gate_stubs:
	.set n, 0
	.rept GATE_STUBS
	.balign 16
	endbr64
	movl	$n, %r11d
	jmp	enter
	.set n, n + 1
	.endr

	.type enter, @function
enter:
	.cfi_startproc
	movq	gate_mine@gottpoff(%rip), %r10
	movq	%fs:(%r10), %r10
	testq	%r10, %r10
	jz	first
	cmpl	$0, (%r10)
	jne	nested
	pushq	%rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq	%rsp, %rbp
	.cfi_def_cfa_register %rbp
	movl	$1, (%r10)		/* and only then look: gate_close() does it the other way round */
	cmpl	$0, gate_closed(%rip)
	jne	back_off
call:
	subq	$STACK_WORDS, %rsp
	.irp at, 0, 16, 32, 48, 64, 80, 96, 112
	movups	16 + \at(%rbp), %xmm8
	movaps	%xmm8, \at(%rsp)
	.endr
	leaq	gate_target(%rip), %r10
	call	*(%r10, %r11, 8)
	movq	gate_mine@gottpoff(%rip), %r10
	movq	%fs:(%r10), %r10
	movl	$0, (%r10)
	cmpl	$0, gate_closed(%rip)
	jne	last
	leave
	.cfi_remember_state
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_restore_state

	/* Somebody waits for this thread to have left. */
last:
	subq	$64, %rsp
	movq	%rax, (%rsp)
	movq	%rdx, 8(%rsp)
	movaps	%xmm0, 16(%rsp)
	movaps	%xmm1, 32(%rsp)
	call	gate_left
	movq	(%rsp), %rax
	movq	8(%rsp), %rdx
	movaps	16(%rsp), %xmm0
	movaps	32(%rsp), %xmm1
	leave
	.cfi_remember_state
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_restore_state

	/* Closed. (gate_wait() comes back inside.) */
back_off:
	movl	$0, (%r10)
wait:
	subq	$SAVED, %rsp
	movq	%rdi, (%rsp)
	movq	%rsi, 8(%rsp)
	movq	%rdx, 16(%rsp)
	movq	%rcx, 24(%rsp)
	movq	%r8, 32(%rsp)
	movq	%r9, 40(%rsp)
	movq	%rax, 48(%rsp)
	movq	%r11, 56(%rsp)
	.irp x, 0, 1, 2, 3, 4, 5, 6, 7
	movaps	%xmm\x, 64 + 16 * \x(%rsp)
	.endr
	call	gate_wait
	movq	(%rsp), %rdi
	movq	8(%rsp), %rsi
	movq	16(%rsp), %rdx
	movq	24(%rsp), %rcx
	movq	32(%rsp), %r8
	movq	40(%rsp), %r9
	movq	48(%rsp), %rax
	movq	56(%rsp), %r11
	.irp x, 0, 1, 2, 3, 4, 5, 6, 7
	movaps	64 + 16 * \x(%rsp), %xmm\x
	.endr
	addq	$SAVED, %rsp
	jmp	call

	/* This thread's first call. */
first:
	.cfi_def_cfa %rsp, 8
	.cfi_restore %rbp
	pushq	%rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq	%rsp, %rbp
	.cfi_def_cfa_register %rbp
	jmp	wait
	.cfi_endproc

	/* A call out of the driver, or out of a signal handler in the middle of a call: the gate has been passed. */
nested:
	.cfi_startproc
	leaq	gate_target(%rip), %r10
	jmp	*(%r10, %r11, 8)
	.cfi_endproc
	.size enter, . - enter

	.section .note.GNU-stack, "", @progbits
