/* SPDX-License-Identifier: Apache-2.0 */
/* The ledge (ledge.h). Only what a system call changes is put back, by instructions that leave the flags alone. */
#include "arch/x86_64/ledge.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "arch/x86_64/regs.h"
#include "base/cleanup.h"
#include "base/io.h"

enum { VDSO_LEN_MAX = 1 << 16, ALIGN = 16, STACK_LEN_MAX = 16 << 20 };

/* Where its parts begin. The mask is last, the mark before it. */
enum {
	UNDO_AT = 2,
	MASK_CALL_AT = 26,
	HOME_AT = 56,             /* from here on there are only moves, and a jump */
	MOVE_LEN = 10, MOVES = 9, /* movabs $imm64, %reg */
	JUMP_AT = HOME_AT + MOVES * MOVE_LEN,
	TARGET_AT = JUMP_AT + 6,
	MARK_AT = LEDGE_LEN - 16,
	MASK_AT = LEDGE_LEN - 8,
};
_Static_assert(TARGET_AT + 8 <= MARK_AT, "the parts of a ledge fit");

static const char mark[8] = "thaw way";

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

/* What the call gave is in rax. */
static void put_undo(struct writer *w, const struct ledge_way *way)
{
	if (way->undo == LEDGE_KEEP)
		return;
	PUT(w, "\x48\x89\xc7"); /* mov %rax, %rdi */
	if (way->undo == LEDGE_UNMAP) {
		PUT(w, "\x48\xbe"); /* movabs $len, %rsi */
		put_u64(w, way->len);
	}
	PUT(w, "\xb8"); /* mov $number, %eax */
	put_u32(w, way->undo == LEDGE_UNMAP ? SYS_munmap : SYS_close);
	PUT(w, "\x0f\x05");
}

static void put_mask_call(struct writer *w, const uint8_t *code)
{
	PUT(w, "\xb8"); /* mov $rt_sigprocmask, %eax */
	put_u32(w, SYS_rt_sigprocmask);
	PUT(w, "\xbf"); /* mov $SIG_SETMASK, %edi */
	put_u32(w, SIG_SETMASK);
	PUT(w, "\x48\x8d\x35"); /* lea mask(%rip), %rsi */
	put_u32(w, (uint32_t)(code + MASK_AT - (w->at + sizeof(uint32_t))));
	PUT(w, "\xba\0\0\0\0");	   /* mov $0, %edx */
	PUT(w, "\x41\xba\x08\0\0\0"); /* mov $8, %r10d */
	PUT(w, "\x0f\x05");
}

static void make_code(uint8_t code[LEDGE_LEN], const struct user_regs_struct *home, const struct ledge_way *way)
{
	const struct {
		char mov[3];
		uint64_t value;
	} reg[MOVES] = {
		{ "\x48\xbf", home->rdi }, { "\x48\xbe", home->rsi }, { "\x48\xba", home->rdx },
		{ "\x49\xba", home->r10 }, { "\x49\xb8", home->r8 },  { "\x49\xb9", home->r9 },
		{ "\x48\xb9", home->rcx }, { "\x49\xbb", home->r11 }, { "\x48\xb8", home->rax },
	};
	struct writer w = { code };

	PUT(&w, "\x0f\x05"); /* syscall: the tracer's */
	put_undo(&w, way);
	memset(w.at, 0x90, (size_t)(code + MASK_CALL_AT - w.at)); /* nop */
	w.at = code + MASK_CALL_AT;
	put_mask_call(&w, code);
	for (size_t i = 0; i < MOVES; i++) {
		put(&w, reg[i].mov, 2);
		put_u64(&w, reg[i].value);
	}
	PUT(&w, "\xff\x25\0\0\0\0"); /* jmp *0(%rip) */
	put_u64(&w, home->rip);
	memcpy(code + MARK_AT, mark, sizeof(mark));
	memcpy(code + MASK_AT, &way->mask, sizeof(way->mask));
}

static uint64_t value_at(const uint8_t *code, size_t at)
{
	uint64_t v;

	memcpy(&v, code + at, sizeof(v));
	return v;
}

/* What the moves and the jump would do. */
static void take_home(const uint8_t *code, struct user_regs_struct *regs)
{
	__typeof__(&regs->rdi) reg[MOVES] = { &regs->rdi, &regs->rsi, &regs->rdx, &regs->r10, &regs->r8,
					      &regs->r9,  &regs->rcx, &regs->r11, &regs->rax };

	for (size_t i = 0; i < MOVES; i++)
		*reg[i] = value_at(code, HOME_AT + i * MOVE_LEN + 2);
	regs->rip = value_at(code, TARGET_AT);
	regs->orig_rax = UINT64_MAX; /* in no call */
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

/* Returns its descriptor. */
static int read_vdso(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, uint8_t bytes[VDSO_LEN_MAX])
{
	auto_close int fd = openat(proc_fd, "mem", O_RDWR | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return err_set(errno, "open its memory");
	if (vdso_len < 4096 || vdso_len > VDSO_LEN_MAX)
		return err_say(ENOTSUP, "it has no vdso");
	n = io_pread(fd, bytes, vdso_len, vdso_va);
	if (n != (ssize_t)vdso_len)
		return err_set(n < 0 ? (int)-n : EIO, "read its vdso");
	return take_fd(&fd);
}

int ledge_put(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, const struct ledge_way *way, struct ledge *ret)
{
	uint8_t vdso[VDSO_LEN_MAX], code[LEDGE_LEN] = { 0 };
	struct user_regs_struct again = *way->home;
	const uint8_t *call;
	auto_close int fd = read_vdso(proc_fd, vdso_va, vdso_len, vdso);
	uint64_t at;

	if (fd < 0)
		return fd;
	at = find_room(vdso, vdso_len);
	/* only the kernel can act on its codes for an interrupted call, and it will not see them again */
	regs_restart(&again);
	make_code(code, &again, way);
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

void ledge_take(struct ledge *l)
{
	static const uint8_t zeros[LEDGE_LEN];

	if (!l->call_va || l->mem_fd < 0)
		return;
	(void)!io_pwrite(l->mem_fd, zeros, sizeof(zeros), l->call_va);
	close(l->mem_fd);
	l->mem_fd = -1;
}

static bool is_ledge(const uint8_t *code)
{
	return !memcmp(code, "\x0f\x05", 2) && !memcmp(code + MARK_AT, mark, sizeof(mark));
}

int ledge_left(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, struct user_regs_struct *regs)
{
	uint8_t vdso[VDSO_LEN_MAX];
	auto_close int fd = read_vdso(proc_fd, vdso_va, vdso_len, vdso);
	uint64_t ip = regs->rip - vdso_va;

	if (fd < 0)
		return fd;
	for (uint64_t at = 0; at + LEDGE_LEN <= vdso_len; at += ALIGN) {
		if (ip < at || ip >= at + LEDGE_LEN || !is_ledge(vdso + at))
			continue;
		if (ip < at + HOME_AT)
			return 1;
		take_home(vdso + at, regs);
		return 2;
	}
	return 0;
}

/*
 * A signal that came on the ledge, when the mask was home already, has left a frame with an address of it on the stack.
 * A handler that has moved to another stack is known by what it blocks.
 */
static bool may_come_back(int mem_fd, const struct ledge_owner *o, const uint8_t *code, uint64_t va)
{
	uint64_t from = (o->stack_va + 7) & ~UINT64_C(7), home = value_at(code, MASK_AT);
	size_t len = from < o->stack_end_va ? o->stack_end_va - from : 0;
	auto_free uint64_t *word = NULL;
	ssize_t n;

	if (o->mask != home && (o->mask & home) == home)
		return true;
	len = len < STACK_LEN_MAX ? len : STACK_LEN_MAX;
	word = malloc(len + 1);
	n = word ? io_pread(mem_fd, word, len, from) : -ENOMEM;
	for (ssize_t i = 0; i < n / 8; i++)
		if (word[i] - va < LEDGE_LEN)
			return true;
	return n < 0;
}

int ledge_sweep(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, const struct ledge_owner *o, int *ret_stay)
{
	static const uint8_t zeros[LEDGE_LEN];
	uint8_t vdso[VDSO_LEN_MAX];
	auto_close int fd = read_vdso(proc_fd, vdso_va, vdso_len, vdso);
	int n = 0;

	*ret_stay = 0;
	if (fd < 0)
		return fd;
	for (uint64_t at = 0; at + LEDGE_LEN <= vdso_len; at += ALIGN) {
		int err;

		if (!is_ledge(vdso + at))
			continue;
		if (may_come_back(fd, o, vdso + at, vdso_va + at)) {
			++*ret_stay;
			continue;
		}
		err = io_pwrite(fd, zeros, sizeof(zeros), vdso_va + at);
		if (err < 0)
			return err_set(-err, "write to its vdso");
		n++;
	}
	return n;
}
