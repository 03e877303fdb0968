/* SPDX-License-Identifier: Apache-2.0 */
/* Extended registers: of a thread that computes, and of one that waits in a system call with all of them in use. */
#include <linux/futex.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "subject.h"

enum { X87_CW = 0x0e7f, MXCSR = 0x7fa0 };

/* In the order of the code below. */
struct regs {
	uint8_t ymm[16][32];
	uint8_t zmm[16][64]; /* 16 to 31 */
	uint64_t k[8];
	uint32_t mxcsr;
	uint16_t fcw, pad;
	uint8_t st[10], pad2[6];
} __attribute__((aligned(64)));

static struct regs in, out[2];
static volatile int ready[2], go, avx, avx512;

#define EACH16(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define EACH8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define LOAD_X(n) " movdqu 32*" #n "(%[in]), %%xmm" #n "\n"
#define STORE_X(n) " movdqu %%xmm" #n ", 32*" #n "(%[out])\n"
#define LOAD_Y(n) " vmovdqu 32*" #n "(%[in]), %%ymm" #n "\n"
#define STORE_Y(n) " vmovdqu %%ymm" #n ", 32*" #n "(%[out])\n"
#define LOAD_K(n) " kmovq 1536+8*" #n "(%[in]), %%k" #n "\n"
#define STORE_K(n) " kmovq %%k" #n ", 1536+8*" #n "(%[out])\n"
#define ZMM(X) X(16, 0) X(17, 1) X(18, 2) X(19, 3) X(20, 4) X(21, 5) X(22, 6) X(23, 7) X(24, 8) X(25, 9) X(26, 10) \
	X(27, 11) X(28, 12) X(29, 13) X(30, 14) X(31, 15)
#define LOAD_ZMM(r, n) " vmovdqu64 512+64*" #n "(%[in]), %%zmm" #r "\n"
#define STORE_ZMM(r, n) " vmovdqu64 %%zmm" #r ", 512+64*" #n "(%[out])\n"

#define LOAD \
	" ldmxcsr 1600(%[in])\n fninit\n fldcw 1604(%[in])\n fldt 1608(%[in])\n" EACH16(LOAD_X) \
	" cmpl $0, %[avx]\n je 1f\n" EACH16(LOAD_Y) " cmpl $0, %[avx512]\n je 1f\n" ZMM(LOAD_ZMM) EACH8(LOAD_K) "1:\n"
#define STORE \
	" stmxcsr 1600(%[out])\n fnstcw 1604(%[out])\n fstpt 1608(%[out])\n fninit\n" EACH16(STORE_X) \
	" cmpl $0, %[avx]\n je 3f\n" EACH16(STORE_Y) " cmpl $0, %[avx512]\n je 3f\n" ZMM(STORE_ZMM) EACH8(STORE_K) \
	"3: movl $0x1f80, 1600(%[in])\n ldmxcsr 1600(%[in])\n"
_Static_assert(offsetof(struct regs, k) == 1536 && offsetof(struct regs, mxcsr) == 1600 &&
	       offsetof(struct regs, st) == 1608, "the offsets in the code");

static void *spins(void *arg)
{
	struct regs mine = in;

	(void)arg;
	__asm__ volatile(LOAD "movl $1, %[ready]\n2: pause\n cmpl $0, %[go]\n je 2b\n" STORE
			 : [ready] "=m"(ready[0]), [go] "+m"(go)
			 : [in] "r"(&mine), [out] "r"(&out[0]), [avx] "m"(avx), [avx512] "m"(avx512)
			 : "memory", "cc");
	return NULL;
}

static void *waits(void *arg)
{
	struct regs mine = in;

	(void)arg;
	__asm__ volatile(LOAD "movl $1, %[ready]\n"
			 "2: mov $202, %%eax\n mov %[gop], %%rdi\n xor %%esi, %%esi\n xor %%edx, %%edx\n xor %%r10d, %%r10d\n"
			 " syscall\n cmpl $0, (%[gop])\n je 2b\n" STORE
			 : [ready] "=m"(ready[1])
			 : [in] "r"(&mine), [out] "r"(&out[1]), [avx] "m"(avx), [avx512] "m"(avx512), [gop] "r"(&go)
			 : "rax", "rcx", "rdx", "rdi", "rsi", "r10", "r11", "memory", "cc");
	return NULL;
}

static void check(const struct regs *o, const char *who)
{
	for (int i = 0; i < 16; i++)
		CHECK(!memcmp(o->ymm[i], in.ymm[i], avx ? 32 : 16), "%s: ymm%d", who, i);
	for (int i = 0; avx512 && i < 16; i++)
		CHECK(!memcmp(o->zmm[i], in.zmm[i], 64), "%s: zmm%d", who, i + 16);
	for (int i = 0; avx512 && i < 8; i++)
		CHECK(o->k[i] == in.k[i], "%s: k%d", who, i);
	CHECK(o->mxcsr == MXCSR, "%s: mxcsr %x", who, o->mxcsr);
	CHECK(o->fcw == X87_CW, "%s: x87 control word %x", who, o->fcw);
	CHECK(!memcmp(o->st, in.st, 10), "%s: x87 stack", who);
}

int main(void)
{
	pthread_t th[2];

	for (size_t i = 0; i < offsetof(struct regs, mxcsr); i++)
		((uint8_t *)&in)[i] = (uint8_t)(i * 13 + (i >> 8) + 1);
	in.mxcsr = MXCSR;
	in.fcw = X87_CW;
	memcpy(in.st, "\x35\xc2\x68\x21\xa2\xda\x0f\xc9\x00\x40", 10); /* pi */
	avx = __builtin_cpu_supports("avx") != 0;
	avx512 = __builtin_cpu_supports("avx512bw") != 0;
	CHECK(!pthread_create(&th[0], NULL, spins, NULL) && !pthread_create(&th[1], NULL, waits, NULL),
	      "create threads");
	while (!ready[0] || !ready[1])
		usleep(1000);

	subject_ready();

	go = 1;
	for (int i = 0; i < 2; i++) {
		while (pthread_tryjoin_np(th[i], NULL))
			syscall(202, &go, FUTEX_WAKE, 100, NULL, NULL, 0);
		check(&out[i], i ? "in a system call" : "computing");
	}
	return 0;
}
