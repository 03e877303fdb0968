/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The assembler (asm.h). A program grows in pieces of PIECE records; the last
 * record of a piece jumps to the next one, so programs of many tasks can grow
 * side by side in one space.
 */
#include "prog/asm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/text.h"

enum { PIECE = 32, LINE = 64 };

static size_t labels_len(const struct prog_space *s)
{
	return s->len / LINE * sizeof(char *);
}

int prog_space_init(struct prog_space *s, struct arena *a, void *map, uint64_t base_va, size_t len)
{
	*s = (struct prog_space){ .a = a, .map = map, .base_va = base_va, .len = len };
	/* a sparse table: only the pages that hold labels ever exist */
	s->labels = mmap(NULL, labels_len(s), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->labels == MAP_FAILED) {
		s->labels = NULL;
		return err_set(errno, "map the label table");
	}
	return 0;
}

void prog_space_done(struct prog_space *s)
{
	if (s->labels)
		munmap(s->labels, labels_len(s));
	s->labels = NULL;
}

struct prog_space prog_space_part(const struct prog_space *s, struct arena *a, size_t at, size_t len)
{
	return (struct prog_space){ .a = a, .map = s->map + at, .base_va = s->base_va + at, .len = len,
				    .labels = s->labels + at / LINE };
}

void *prog_alloc(struct prog_space *s, size_t len, uint64_t *ret_va)
{
	size_t at = s->used, want = (len + LINE - 1) & ~(size_t)(LINE - 1);

	if (want > s->len || at > s->len - want) {
		/* Overflow is reported once, by prog_space_full(); until then writes go to memory nobody runs. */
		s->used = s->len + 1;
		if (ret_va)
			*ret_va = 0;
		return arena_alloc(s->a, len);
	}
	s->used += want;
	if (ret_va)
		*ret_va = s->base_va + at;
	return s->map + at;
}

uint64_t prog_data(struct prog_space *s, const void *data, size_t len)
{
	uint64_t va;
	void *p = prog_alloc(s, len, &va);

	memcpy(p, data, len);
	return va;
}

uint64_t prog_va(const struct prog_space *s, const void *local)
{
	return s->base_va + (uint64_t)((const uint8_t *)local - s->map);
}

int prog_space_full(const struct prog_space *s)
{
	if (s->used <= s->len)
		return 0;
	return err_say(ENOSPC, "the program of this process tree does not fit into %zu MiB", s->len >> 20);
}

static struct prog_rec *piece(struct prog_space *s, uint64_t *ret_va)
{
	return prog_alloc(s, PIECE * sizeof(struct prog_rec), ret_va);
}

struct prog prog_begin(struct prog_space *s)
{
	struct prog p = { .space = s, .left = PIECE - 1, .label = "start" };

	p.next = piece(s, &p.start_va);
	return p;
}

void prog_label(struct prog *p, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!strchr(fmt, '%')) { /* literals live for ever */
		p->label = fmt;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->label = arena_strdup(p->space->a, text);
}

static struct prog_rec *append(struct prog *p)
{
	struct prog_space *s = p->space;

	if (!p->left) {
		uint64_t va;
		struct prog_rec *more = piece(s, &va);

		*p->next = (struct prog_rec){ .op = OP_JUMP, .arg = { va } };
		p->next = more;
		p->left = PIECE - 1;
	}
	p->left--;
	if (s->used <= s->len)
		s->labels[(size_t)((uint8_t *)p->next - s->map) / LINE] = p->label;
	return p->next++;
}

struct prog_rec *prog_op(struct prog *p, enum prog_op op, const uint64_t arg[6])
{
	struct prog_rec *rec = append(p);

	*rec = (struct prog_rec){ .op = (uint16_t)op };
	memcpy(rec->arg, arg, sizeof(rec->arg));
	return rec;
}

struct prog_rec *prog_call(struct prog *p, unsigned flags, long nr, const uint64_t arg[6])
{
	struct prog_rec *rec = prog_op(p, OP_SYSCALL, arg);

	rec->nr = (uint16_t)nr;
	rec->flags = (uint16_t)flags;
	return rec;
}

void prog_ref(const struct prog *p, struct prog_rec *rec, unsigned i, const struct prog_rec *of)
{
	rec->ref |= (uint16_t)(1u << i);
	rec->arg[i] = prog_va(p->space, of);
}

const char *prog_label_of(const struct prog_space *s, uint64_t rec_va)
{
	const struct prog_rec *rec;
	const char *label;

	if (rec_va < s->base_va || rec_va - s->base_va >= s->len || (rec_va - s->base_va) % LINE)
		return "?";
	label = s->labels[(rec_va - s->base_va) / LINE] ?: "?";
	if (label[0] != '@')
		return label;
	rec = (const struct prog_rec *)(s->map + (rec_va - s->base_va));
	return arena_printf(s->a, "%s %" PRIx64 "-%" PRIx64, label + 1, rec->arg[0], rec->arg[0] + rec->arg[1]);
}

int prog_results(const struct prog_space *s, uint64_t start_va)
{
	uint64_t va = start_va;

	while (va >= s->base_va && va - s->base_va + sizeof(struct prog_rec) <= s->len) {
		const struct prog_rec *r = (const struct prog_rec *)(s->map + (va - s->base_va));

		if (r->op == OP_NONE || r->op == OP_PARK)
			break;
		if (r->op == OP_SYSCALL && !(r->flags & PROG_MAY_FAIL) && r->ret < 0 && r->ret >= -4095)
			return err_set((int)-r->ret, "%s", prog_label_of(s, va));
		va = r->op == OP_JUMP ? r->arg[0] : va + sizeof(*r);
	}
	return 0;
}

static const char *const op_name[] = {
	[OP_EXIT] = "exit",	  [OP_SYSCALL] = "syscall", [OP_COPY] = "copy",	    [OP_BARRIER] = "barrier",
	[OP_FORK] = "fork",	  [OP_REAP] = "reap",	    [OP_ZOMBIE] = "zombie", [OP_THREADS] = "threads",
	[OP_FILL] = "fill",	  [OP_ADVISE] = "advise",   [OP_COMMIT] = "commit",
	[OP_SIGRETURN] = "sigreturn",
	[OP_PARK] = "park",	  [OP_TILES] = "tiles",	  [OP_JUMP] = "jump",
	[OP_SEGMENTS] = "segments",
};

static void print_rec(const struct prog_space *s, const struct prog_rec *r, uint64_t va, int indent)
{
	char label[256];

	printf("%*s%06" PRIx64 "  %-9s", indent, "", va - s->base_va,
	       r->op < sizeof(op_name) / sizeof(*op_name) ? op_name[r->op] : "?");
	if (r->op == OP_SYSCALL)
		printf(" %3u", r->nr);
	for (int i = 0, last = 5; i <= last; i++) {
		while (last >= i && !r->arg[last])
			last--;
		if (i <= last)
			printf(" %s0x%" PRIx64, r->ref & (1u << i) ? "@" : "", r->arg[i]);
	}
	snprintf(label, sizeof(label), "%s", prog_label_of(s, va));
	printf("  ; %s\n", text_tame(label));
}

void prog_print(const struct prog_space *s, uint64_t start_va, int indent)
{
	uint64_t va = start_va;

	while (va >= s->base_va && va - s->base_va + sizeof(struct prog_rec) <= s->len) {
		const struct prog_rec *r = (const struct prog_rec *)(s->map + (va - s->base_va));

		if (r->op == OP_JUMP) {
			va = r->arg[0];
			continue;
		}
		print_rec(s, r, va, indent);
		if (r->op == OP_FORK) {
			const struct pie_fork *f = (const struct pie_fork *)(s->map + (r->arg[0] - s->base_va));

			printf("%*s  task %d:\n", indent, "", f->pid);
			prog_print(s, f->start_va, indent + 4);
		}
		if (r->op == OP_EXIT || r->op == OP_SIGRETURN || r->op == OP_PARK || !r->op)
			return;
		va += sizeof(*r);
	}
}
