/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arch/x86_64/sigframe.h: a child takes its registers from a frame and reports
 * what it then has, so the kernel's own reading of the frame is what is tested.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "arch/x86_64/regs.h"
#include "arch/x86_64/sigframe.h"
#include "child.h"

/* What the child finds, in the order in which the code below stores it. */
struct found {
	uint64_t gpr[16]; /* ax bx cx dx si di bp sp r8..r15 */
	uint64_t flags;
	uint32_t mxcsr;
	uint16_t fcw, pad;
	uint8_t ymm[16][32];
	uint8_t zmm31[64];
	uint64_t k1;
	uint64_t sigmask;
	stack_t stack;
};

enum { SPACE = 1 << 20, STACK = 65536, MASK = 0x1234, FLAGS = 0x246 | 1 };

extern struct found landed;
extern int landed_avx, landed_avx512;
void landing(void);
void report(void);
_Noreturn void leave_by(uint64_t frame_va);
struct found landed;
int landed_avx, landed_avx512;

#define STORE_YMM(n) " vmovdqu %ymm" #n ", landed+144+32*" #n "(%rip)\n"
__asm__(".text\n"
	"leave_by: lea 8(%rdi), %rsp\n mov $15, %eax\n syscall\n ud2\n"
	"landing:\n"
	" mov %rax, landed+0(%rip)\n mov %rbx, landed+8(%rip)\n mov %rcx, landed+16(%rip)\n mov %rdx, landed+24(%rip)\n"
	" mov %rsi, landed+32(%rip)\n mov %rdi, landed+40(%rip)\n mov %rbp, landed+48(%rip)\n mov %rsp, landed+56(%rip)\n"
	" mov %r8, landed+64(%rip)\n mov %r9, landed+72(%rip)\n mov %r10, landed+80(%rip)\n mov %r11, landed+88(%rip)\n"
	" mov %r12, landed+96(%rip)\n mov %r13, landed+104(%rip)\n mov %r14, landed+112(%rip)\n mov %r15, landed+120(%rip)\n"
	" pushfq\n popq landed+128(%rip)\n"
	" stmxcsr landed+136(%rip)\n fnstcw landed+140(%rip)\n"
	" cmpl $0, landed_avx(%rip)\n je 1f\n"
	STORE_YMM(0) STORE_YMM(1) STORE_YMM(2) STORE_YMM(3) STORE_YMM(4) STORE_YMM(5) STORE_YMM(6) STORE_YMM(7)
	STORE_YMM(8) STORE_YMM(9) STORE_YMM(10) STORE_YMM(11) STORE_YMM(12) STORE_YMM(13) STORE_YMM(14) STORE_YMM(15)
	" cmpl $0, landed_avx512(%rip)\n je 1f\n"
	" vmovdqu64 %zmm31, landed+656(%rip)\n kmovw %k1, %eax\n mov %rax, landed+720(%rip)\n"
	"1: fninit\n and $-16, %rsp\n call report\n ud2\n");
_Static_assert(offsetof(struct found, ymm) == 144 && offsetof(struct found, zmm31) == 656 &&
	       offsetof(struct found, k1) == 720, "the offsets in the code");

struct box {
	struct arena *a;
	struct prog_space space;
	struct xsave_layout l;
	uint8_t *stack;
	int pipe[2];
};

static int report_fd;

/* Runs on the stack that the frame gave. */
void report(void)
{
	uint64_t mask = 0;

	syscall(14 /* rt_sigprocmask */, SIG_SETMASK, NULL, &mask, 8);
	landed.sigmask = mask;
	sigaltstack(NULL, &landed.stack);
	/* no libc on the way out: ASan does not know this stack */
	syscall(231 /* exit_group */, write(report_fd, &landed, sizeof(landed)) == sizeof(landed) ? 0 : 1);
}

static int setup(void **state)
{
	struct box *b = calloc(1, sizeof(*b));
	void *map = mmap(NULL, SPACE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	b->a = arena_new();
	b->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (prog_space_init(&b->space, b->a, map, (uint64_t)map, SPACE) < 0 || xsave_layout_read(&b->l) < 0 ||
	    pipe(b->pipe) < 0)
		return -1;
	landed_avx = (b->l.features & 4) != 0;
	landed_avx512 = (b->l.features & 0xe0) == 0xe0;
	report_fd = b->pipe[1];
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct box *b = *state;

	munmap(b->space.map, SPACE);
	munmap(b->stack, STACK);
	prog_space_done(&b->space);
	close(b->pipe[0]);
	close(b->pipe[1]);
	arena_free(b->a);
	free(b);
	return 0;
}

static struct user_regs_struct some_regs(const struct box *b)
{
	return (struct user_regs_struct){
		.rax = 0xa1a2, .rbx = 2, .rcx = 0xc0ffee, .rdx = 4, .rsi = 5, .rdi = 6, .rbp = 0x1234567812345678,
		.rsp = (uint64_t)b->stack + STACK - 64 - 8, .r8 = 8, .r9 = 9, .r10 = 10, .r11 = 0x1111111111111111,
		.r12 = 12, .r13 = 13, .r14 = 14, .r15 = ~0ull, .rip = (uint64_t)landing, .cs = 0x33, .ss = 0x2b,
		.eflags = FLAGS,
		.orig_rax = (uint64_t)-1,
	};
}

static size_t some_xsave(const struct box *b, uint8_t *raw)
{
	const uint16_t fcw = 0x027f;
	const uint32_t mxcsr = 0x9fc0;
	uint64_t bv = 3 | (landed_avx ? 4 : 0) | (landed_avx512 ? 0xe0 : 0);

	memcpy(raw, &fcw, 2);
	memcpy(raw + 24, &mxcsr, 4);
	for (int i = 0; i < 256; i++) {
		raw[160 + i] = (uint8_t)(i + 1);
		if (landed_avx)
			raw[b->l.comp[2].off + (uint32_t)i] = (uint8_t)(200 - i);
	}
	for (uint32_t i = 0; landed_avx512 && i < 64; i++)
		raw[b->l.comp[7].off + 15 * 64 + i] = (uint8_t)(i ^ 0x55);
	if (landed_avx512)
		raw[b->l.comp[5].off + 8] = 0x5a;
	memcpy(raw + 512, &bv, 8);
	return xsave_len(&b->l, b->l.features);
}

static struct found land(struct box *b, uint64_t frame_va)
{
	struct found f = { 0 };
	pid_t pid = fork();
	int status;

	if (!pid) {
		stack_t s = { .ss_sp = b->stack, .ss_size = 16384 };

		sigaltstack(&s, NULL);
		leave_by(frame_va);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(read(b->pipe[0], &f, sizeof(f)), sizeof(f));
	return f;
}

static void all_are_there(const struct found *f, const struct user_regs_struct *r)
{
	const uint64_t want[16] = { r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rbp, r->rsp,
				    r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };

	assert_memory_equal(f->gpr, want, sizeof(want));
	assert_int_equal(f->flags, FLAGS);
	assert_int_equal(f->mxcsr, 0x9fc0);
	assert_int_equal(f->fcw, 0x027f);
	assert_int_equal(f->sigmask, MASK);
	for (int i = 0; landed_avx && i < 256; i++) {
		assert_int_equal(f->ymm[i / 16][i % 16], (uint8_t)(i + 1));
		assert_int_equal(f->ymm[i / 16][16 + i % 16], (uint8_t)(200 - i));
	}
	for (int i = 0; landed_avx512 && i < 64; i++)
		assert_int_equal(f->zmm31[i], (uint8_t)(i ^ 0x55));
	if (landed_avx512)
		assert_int_equal(f->k1, 0x5a);
}

static void a_restored_thread_has_all(void **state)
{
	struct box *b = *state;
	static uint8_t raw[16384];
	struct user_regs_struct regs = some_regs(b);
	CoreEntry core = CORE_ENTRY__INIT;
	ThreadCoreEntry th = THREAD_CORE_ENTRY__INIT;
	ThreadSasEntry sas = THREAD_SAS_ENTRY__INIT;
	struct found f;

	regs_dump(b->a, 0, &regs, &core);
	assert_int_equal(xsave_dump(&b->l, b->a, raw, some_xsave(b, raw), &core), 0);
	core.thread_core = &th;
	th.has_blk_sigset = true;
	th.blk_sigset = MASK;
	th.sas = &sas;
	sas.ss_sp = (uint64_t)b->stack + 4096;
	sas.ss_size = 20000;
	f = land(b, sigframe_build(&b->space, &b->l, &core));
	all_are_there(&f, &regs);
	assert_ptr_equal(f.stack.ss_sp, b->stack + 4096);
	assert_int_equal(f.stack.ss_size, 20000);
	sas.ss_flags = SS_DISABLE;
	f = land(b, sigframe_build(&b->space, &b->l, &core));
	assert_int_equal(f.stack.ss_flags, SS_DISABLE);
}

static void a_parked_thread_goes_back(void **state)
{
	struct box *b = *state;
	static uint8_t raw[16384];
	struct user_regs_struct regs = some_regs(b);
	size_t len = some_xsave(b, raw);
	struct found f = land(b, sigframe_from_ptrace(&b->space, &b->l, &regs, raw, len, MASK));

	all_are_there(&f, &regs);
	/* its alternate stack is as it was */
	assert_ptr_equal(f.stack.ss_sp, b->stack);
	assert_int_equal(f.stack.ss_size, 16384);

	/* in a call: it starts again, two bytes earlier */
	regs.orig_rax = 34;
	regs.rax = (uint64_t)-514;
	regs.rip += 2;
	f = land(b, sigframe_from_ptrace(&b->space, &b->l, &regs, raw, len, MASK));
	regs.rax = 34;
	all_are_there(&f, &regs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_restored_thread_has_all, setup, teardown),
		cmocka_unit_test_setup_teardown(a_parked_thread_goes_back, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
