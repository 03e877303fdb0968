/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledge (ledge.h). The code below runs in the target; it uses no stack of its
 * own (signals may come, the kernel puts their frames where it always does), and writes no memory
 * but eight bytes below the red zone on the way back, for the flags.
 */
#include "dump/ledge.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "arch/x86_64/regs.h"
#include "base/cleanup.h"
#include "base/io.h"

enum { VDSO_MAX = 32768, CHECK_NS = 20000000 };

/* What the code finds behind itself. */
struct ledge_data {
	uint64_t pause[2]; /* struct timespec */
	uint64_t engine;   /* PID */
	uint64_t mask;
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, flags, rip;
};

__asm__(".pushsection .rodata\n"
	".balign 16\n"
	"ledge_code:\n"
	"	syscall\n" /* the engine's call; the engine looks at rax and goes on from here */
	"1:	xor	%edi, %edi\n"
	"	xor	%esi, %esi\n"
	"	lea	ledge_end(%rip), %rdx\n" /* pause */
	"	xor	%r10d, %r10d\n"
	"	mov	$8, %r8d\n"
	"	mov	$271, %eax\n" /* ppoll: it leaves the restart block alone */
	"	syscall\n"
	"	mov	ledge_end + 16(%rip), %edi\n" /* engine */
	"	xor	%esi, %esi\n"
	"	mov	$62, %eax\n" /* kill(engine, 0) */
	"	syscall\n"
	"	cmp	$-3, %rax\n" /* ESRCH: it is gone */
	"	jne	1b\n"
	"	mov	$2, %edi\n" /* SIG_SETMASK */
	"	lea	ledge_end + 24(%rip), %rsi\n"
	"	xor	%edx, %edx\n"
	"	mov	$8, %r10d\n"
	"	mov	$14, %eax\n" /* rt_sigprocmask */
	"	syscall\n"
	"	lea	-128(%rsp), %rsp\n"
	"	push	ledge_end + 152(%rip)\n" /* flags */
	"	popfq\n"
	"	lea	128(%rsp), %rsp\n"
	"	mov	ledge_end + 32(%rip), %r15\n"
	"	mov	ledge_end + 40(%rip), %r14\n"
	"	mov	ledge_end + 48(%rip), %r13\n"
	"	mov	ledge_end + 56(%rip), %r12\n"
	"	mov	ledge_end + 64(%rip), %rbp\n"
	"	mov	ledge_end + 72(%rip), %rbx\n"
	"	mov	ledge_end + 80(%rip), %r11\n"
	"	mov	ledge_end + 88(%rip), %r10\n"
	"	mov	ledge_end + 96(%rip), %r9\n"
	"	mov	ledge_end + 104(%rip), %r8\n"
	"	mov	ledge_end + 112(%rip), %rax\n"
	"	mov	ledge_end + 120(%rip), %rcx\n"
	"	mov	ledge_end + 128(%rip), %rdx\n"
	"	mov	ledge_end + 136(%rip), %rsi\n"
	"	mov	ledge_end + 144(%rip), %rdi\n"
	"	jmp	*ledge_end + 160(%rip)\n"
	"	.balign 8\n"
	"ledge_end:\n"
	".popsection\n");

extern const uint8_t ledge_code[], ledge_end[];

_Static_assert(offsetof(struct ledge_data, flags) == 152 && offsetof(struct ledge_data, rip) == 160,
	       "offsets in the code");

static struct ledge_data data_for(const struct user_regs_struct *live, uint64_t mask)
{
	struct user_regs_struct r = *live;

	regs_restart(&r); /* an interrupted call starts again: nobody else will see to it */
	return (struct ledge_data){
		.pause = { 0, CHECK_NS }, .engine = (uint64_t)getpid(), .mask = mask,
		.r15 = r.r15, .r14 = r.r14, .r13 = r.r13, .r12 = r.r12, .rbp = r.rbp, .rbx = r.rbx,
		.r11 = r.r11, .r10 = r.r10, .r9 = r.r9, .r8 = r.r8,
		.rax = r.rax, .rcx = r.rcx, .rdx = r.rdx, .rsi = r.rsi, .rdi = r.rdi,
		.flags = r.eflags, .rip = r.rip,
	};
}

static const struct map *find_vdso(const struct map *maps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(maps[i].name, "[vdso]") && maps[i].end_va - maps[i].start_va <= VDSO_MAX)
			return &maps[i];
	return NULL;
}

/* Bytes of zeros at the end. */
static size_t unused(const uint8_t *code, size_t len)
{
	size_t n = 0;

	while (n < len && !code[len - 1 - n])
		n++;
	return n;
}

int ledge_put(int proc_fd, const struct map *maps, size_t nmaps, const struct user_regs_struct *regs, uint64_t mask,
	      struct ledge *ret)
{
	const struct map *m = find_vdso(maps, nmaps);
	struct ledge_data data = data_for(regs, mask);
	size_t code_len = (size_t)(ledge_end - ledge_code), want = code_len + sizeof(data), len;
	auto_close int fd = openat(proc_fd, "mem", O_RDWR | O_CLOEXEC);
	uint8_t vdso[VDSO_MAX], bytes[1024];
	const uint8_t *at;
	ssize_t got;

	if (!m || fd < 0)
		return err_say(ENOTSUP, "it has no vdso");
	len = m->end_va - m->start_va;
	got = io_pread(fd, vdso, len, m->start_va);
	if (got != (ssize_t)len)
		return err_set(got < 0 ? (int)-got : EIO, "read its vdso");
	at = memmem(vdso, len, "\x0f\x05", 2);
	if (!at)
		return err_say(ENOTSUP, "it has no vdso with a system call instruction");
	*ret = (struct ledge){ .call_va = m->start_va + (uint64_t)(at - vdso), .mem_fd = -1 };
	memcpy(bytes, ledge_code, code_len);
	memcpy(bytes + code_len, &data, sizeof(data));
	/* 16 bytes off whatever the vdso ends with */
	if (unused(vdso, len) < want + 32)
		return 0;
	if (io_pwrite(fd, bytes, want, (m->end_va - want) & ~UINT64_C(15)) < 0)
		return 0;
	*ret = (struct ledge){ .call_va = (m->end_va - want) & ~UINT64_C(15), .len = want, .mem_fd = take_fd(&fd) };
	return 0;
}

void ledge_take(struct ledge *l)
{
	static const uint8_t zeros[1024];

	if (!l->len)
		return;
	(void)!io_pwrite(l->mem_fd, zeros, l->len, l->call_va);
	close(l->mem_fd);
	*l = (struct ledge){ .mem_fd = -1 };
}
