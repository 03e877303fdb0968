/* SPDX-License-Identifier: Apache-2.0 */
/* The ledge (ledge.h). Only what a system call changes is put back, by instructions that leave the flags alone. */
#include "arch/x86_64/ledge.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>

#include "arch/x86_64/regs.h"
#include "base/cleanup.h"
#include "base/io.h"

enum { VDSO_LEN_MAX = 1 << 16, ALIGN = 16 };

struct writer {
	uint8_t *at;
};

static void put(struct writer *w, const char *bytes, size_t len)
{
	memcpy(w->at, bytes, len);
	w->at += len;
}

#define PUT(w, bytes) put((w), (bytes), sizeof(bytes) - 1)

static void put_u32(struct writer *w, uint32_t v)
{
	memcpy(w->at, &v, sizeof(v));
	w->at += sizeof(v);
}

static void put_u64(struct writer *w, uint64_t v)
{
	memcpy(w->at, &v, sizeof(v));
	w->at += sizeof(v);
}

static void make_code(uint8_t code[LEDGE_LEN], const struct user_regs_struct *home, uint64_t mask, bool opens)
{
	const struct {
		char mov[3]; /* movabs $imm64, %reg */
		uint64_t value;
	} reg[] = {
		{ "\x48\xbf", home->rdi }, { "\x48\xbe", home->rsi }, { "\x48\xba", home->rdx },
		{ "\x49\xba", home->r10 }, { "\x49\xb8", home->r8 },  { "\x49\xb9", home->r9 },
		{ "\x48\xb9", home->rcx }, { "\x49\xbb", home->r11 }, { "\x48\xb8", home->rax },
	};
	struct writer w = { code };

	PUT(&w, "\x0f\x05"); /* syscall: the tracer's */
	if (opens) {
		PUT(&w, "\x89\xc7\xb8"); /* mov %eax, %edi; mov $close, %eax */
		put_u32(&w, SYS_close);
		PUT(&w, "\x0f\x05");
	}
	PUT(&w, "\xb8");     /* mov $rt_sigprocmask, %eax */
	put_u32(&w, SYS_rt_sigprocmask);
	PUT(&w, "\xbf"); /* mov $SIG_SETMASK, %edi */
	put_u32(&w, SIG_SETMASK);
	PUT(&w, "\x48\x8d\x35"); /* lea mask(%rip), %rsi */
	put_u32(&w, (uint32_t)(code + LEDGE_LEN - sizeof(mask) - (w.at + sizeof(uint32_t))));
	PUT(&w, "\xba\0\0\0\0");	  /* mov $0, %edx */
	PUT(&w, "\x41\xba\x08\0\0\0"); /* mov $8, %r10d */
	PUT(&w, "\x0f\x05");
	for (size_t i = 0; i < sizeof(reg) / sizeof(*reg); i++) {
		put(&w, reg[i].mov, 2);
		put_u64(&w, reg[i].value);
	}
	PUT(&w, "\xff\x25\0\0\0\0"); /* jmp *0(%rip) */
	put_u64(&w, home->rip);
	memcpy(code + LEDGE_LEN - sizeof(mask), &mask, sizeof(mask));
}

/*
 * The last room for it among the zeros at the end, or 0: there is none. One may be left from a tracer that was
 * killed.
 */
static uint64_t find_room(const uint8_t *vdso, uint64_t len)
{
	static const uint8_t zeros[LEDGE_LEN];

	for (uint64_t at = (len - LEDGE_LEN) & ~(uint64_t)(ALIGN - 1); at > len / 2; at -= ALIGN)
		if (!memcmp(vdso + at, zeros, LEDGE_LEN))
			return at;
	return 0;
}

static int put_code(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, const struct user_regs_struct *home,
		    uint64_t mask, bool opens, struct ledge *ret)
{
	auto_close int fd = openat(proc_fd, "mem", O_RDWR | O_CLOEXEC);
	uint8_t vdso[VDSO_LEN_MAX], code[LEDGE_LEN] = { 0 };
	struct user_regs_struct again = *home;
	const uint8_t *call;
	uint64_t at;
	ssize_t n;

	if (fd < 0)
		return err_set(errno, "open its memory");
	if (vdso_len < 4096 || vdso_len > sizeof(vdso))
		return err_say(ENOTSUP, "it has no vdso");
	n = io_pread(fd, vdso, vdso_len, vdso_va);
	if (n != (ssize_t)vdso_len)
		return err_set(n < 0 ? (int)-n : EIO, "read its vdso");
	at = find_room(vdso, vdso_len);
	/* only the kernel can act on its codes for an interrupted call, and it will not see them again */
	regs_restart(&again);
	make_code(code, &again, mask, opens);
	if (at && io_pwrite(fd, code, sizeof(code), vdso_va + at) >= 0) {
		*ret = (struct ledge){ .call_va = vdso_va + at, .mem_fd = take_fd(&fd) };
		return 0;
	}
	/* the slow path of clock_gettime has one */
	call = memmem(vdso, vdso_len, "\x0f\x05", 2);
	if (!call)
		return err_say(ENOTSUP, "its vdso has no system call instruction");
	*ret = (struct ledge){ .call_va = vdso_va + (uint64_t)(call - vdso), .mem_fd = -1 };
	return 0;
}

int ledge_put(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, const struct user_regs_struct *home, uint64_t mask,
	      struct ledge *ret)
{
	return put_code(proc_fd, vdso_va, vdso_len, home, mask, false, ret);
}

int ledge_put_opening(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, const struct user_regs_struct *home,
		      uint64_t mask, struct ledge *ret)
{
	return put_code(proc_fd, vdso_va, vdso_len, home, mask, true, ret);
}

void ledge_take(struct ledge *l)
{
	static const uint8_t zeros[LEDGE_LEN];

	if (!l->call_va || l->mem_fd < 0)
		return;
	(void)!io_pwrite(l->mem_fd, zeros, sizeof(zeros), l->call_va);
	close(l->mem_fd);
	l->mem_fd = -1;
}
