/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw show for people. What comes from an image (names, paths) goes through
 * safe(): a file may be named so that it paints the reader's terminal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "cli/show.h"

enum { SAFE_LEN = 512, BYTES_LEN = 16, INDENT_MOST = 20, LINE = 100 };

/* Also the control characters U+0080 to U+009F. */
static bool is_control(const unsigned char *s)
{
	return *s < ' ' || *s == 0x7f || (*s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0);
}

/* s with its control characters as \xNN, cut to what buf takes. */
static const char *safe(char buf[static SAFE_LEN], const char *s)
{
	size_t o = 0;

	for (; *s && o < SAFE_LEN - 5; s++) {
		if (is_control((const unsigned char *)s))
			o += (size_t)snprintf(buf + o, SAFE_LEN - o, "\\x%02x", (unsigned char)*s);
		else
			buf[o++] = *s;
	}
	buf[o] = 0;
	return buf;
}

static const char *bytes(char buf[static BYTES_LEN], uint64_t n)
{
	return n ? progress_bytes(buf, BYTES_LEN, n) : "-";
}

static void head_print(const struct show *w)
{
	char path[SAFE_LEN], writer[SAFE_LEN], why[SAFE_LEN], size[BYTES_LEN];

	printf("%s: written by %s, %s; %zu files, %s\n", safe(path, w->dir->path), safe(writer, w->writer), w->written,
	       w->nfiles, bytes(size, w->bytes));
	if (w->refusal)
		printf("Cannot be restored: %s\n", safe(why, w->refusal));
}

static void chain_print(const struct show *w)
{
	uint32_t depth = 1;

	if (w->dir->parent)
		printf("\n%11s  BUILDS UPON\n", "TAKES");
	for (const struct imgdir *d = w->dir->parent; d; d = d->parent) {
		char path[SAFE_LEN], size[BYTES_LEN];

		printf("%11s  %s\n", bytes(size, show_held_by(w->s, depth++)), safe(path, d->path));
	}
}

static void tree_print(const struct show *w, const struct show_row *rows)
{
	printf("\n%8s %8s %8s %8s  %-8s %11s %11s  %s\n", "PID", "GROUP", "SESSION", "THREADS", "STATE", "MAPPED",
	       "IN IMAGE", "NAME");
	for (size_t i = 0; i < w->s->ntasks; i++) {
		const struct snap_task *t = rows[i].t;
		struct show_memory m[SHOW_MEMS] = { 0 };
		unsigned indent = 2 * (rows[i].depth < INDENT_MOST ? rows[i].depth : INDENT_MOST);
		char name[SAFE_LEN], death[32], mapped[BYTES_LEN], image[BYTES_LEN];

		if (t->mm)
			show_memory(w->s, t, m);
		show_death(t, death, sizeof(death));
		printf("%8u %8u %8u %8zu  %-8s %11s %11s", t->pst->pid, t->pst->pgid, t->pst->sid, t->ncores,
		       show_state(t), bytes(mapped, show_mapped(m)), bytes(image, snap_pages_bytes(&t->pages)));
		printf("  %*s%s%s%s%s\n", (int)indent, "", safe(name, snap_comm(t)), *death ? " (" : "", death,
		       *death ? ")" : "");
	}
}

/* In lines of about LINE columns. */
static void threads_print(const struct snap_task *t)
{
	int column = 0;

	for (size_t i = 1; i < t->ncores; i++) {
		const ThreadCoreEntry *th = t->cores[i]->thread_core;
		const char *before = i == 1 ? "  threads    " : column > LINE ? ",\n             " : ", ";
		char name[SAFE_LEN];

		column = column > LINE ? 0 : column;
		column += printf("%s%u %s", before, t->pst->threads[i],
				 safe(name, th && th->comm ? th->comm : snap_comm(t)));
	}
	if (column)
		putchar('\n');
}

static void memory_print(const struct snap *s, const struct snap_task *t)
{
	struct show_memory m[SHOW_MEMS];
	char mapped[BYTES_LEN], image[BYTES_LEN];
	size_t n;

	show_memory(s, t, m);
	printf("\n  %-20s %8s %11s %11s\n", "MEMORY", "MAPPINGS", "MAPPED", "IN IMAGE");
	for (enum show_mem k = 0; k < SHOW_MEMS; k++)
		if (m[k].mappings)
			printf("  %-20s %8zu %11s %11s\n", show_memory_name(k), m[k].mappings,
			       bytes(mapped, m[k].mapped), bytes(image, m[k].image));
	if (show_gpu(t, &n))
		printf("  GPU memory: %s in %zu pieces, in gpu-pages-%u.img\n", bytes(image, show_gpu(t, &n)), n, t->pst->pid);
	if (show_same(m))
		printf("  shared with task %u, copy-on-write: %s\n", t->pages.compared_with, bytes(image, show_same(m)));
}

static void descriptors_print(const struct snap *s, const struct snap_task *t)
{
	char what[SAFE_LEN], line[SAFE_LEN];

	if (t->nfds)
		printf("\n  %6s  %-16s %s\n", "FD", "TYPE", "WHAT");
	for (size_t i = 0; i < t->nfds; i++) {
		const FileEntry *e = snap_file(s, t->fds[i]->id);

		printf("  %6u  %-16s %s%s\n", t->fds[i]->fd, show_type(e), safe(line, show_file(e, what, sizeof(what))),
		       t->fds[i]->flags & 1 ? "  (close on exec)" : "");
	}
}

static void task_print(const struct snap *s, const struct snap_task *t)
{
	char text[SAFE_LEN];

	printf("\ntask %u (%s)\n", t->pst->pid, safe(text, snap_comm(t)));
	printf("  program    %s\n", safe(text, show_path(s, t->mm->exe_file_id)));
	printf("  directory  %s", safe(text, show_path(s, t->fs->cwd_id)));
	printf(", root %s\n", safe(text, show_path(s, t->fs->root_id)));
	threads_print(t);
	memory_print(s, t);
	descriptors_print(s, t);
}

static void shmem_print(const struct snap *s)
{
	char size[BYTES_LEN], image[BYTES_LEN], text[SAFE_LEN];

	if (s->nshmem)
		printf("\nSHARED MEMORY %20s %11s  %s\n", "SIZE", "IN IMAGE", "NAME");
	for (size_t i = 0; i < s->nshmem; i++) {
		const struct snap_shmem *o = s->shmem[i];
		uint64_t len;
		const char *name = show_shmem(s, o, &len);

		printf("%-22" PRIu64 " %11s %11s  %s\n", o->shmid, bytes(size, len),
		       bytes(image, snap_pages_bytes(&o->pages)), safe(text, name));
	}
}

/* One line a type: a thousand threads have a thousand core files. */
static void files_print(const struct show *w)
{
	printf("\n%-24s %7s %11s\n", "FILES", "COUNT", "SIZE");
	for (size_t i = 0, k; i < w->nfiles; i = k) {
		const char *pattern = w->files[i].type->pattern, *num = strchr(pattern, '%');
		char name[IMG_NAME_LEN], size[BYTES_LEN];
		uint64_t len = 0;

		for (k = i; k < w->nfiles && w->files[k].type == w->files[i].type; k++)
			len += w->files[k].len;
		if (num && k - i > 1)
			snprintf(name, sizeof(name), "%.*s*%s.img", (int)(num - pattern), pattern, num + 2);
		else
			img_name(name, w->files[i].type->id, w->files[i].num);
		printf("%-24s %7zu %11s\n", name, k - i, bytes(size, len));
	}
}

static void totals_print(const struct snap *s)
{
	size_t threads = 0, zombies = 0, fds = 0;
	uint64_t own = 0, shared = 0;
	char a[BYTES_LEN], b[BYTES_LEN];

	for (size_t i = 0; i < s->ntasks; i++) {
		zombies += s->tasks[i]->zombie;
		threads += s->tasks[i]->zombie ? 0 : s->tasks[i]->ncores;
		fds += s->tasks[i]->nfds;
		own += snap_pages_bytes(&s->tasks[i]->pages);
	}
	for (size_t i = 0; i < s->nshmem; i++)
		shared += snap_pages_bytes(&s->shmem[i]->pages);
	printf("tasks %zu", s->ntasks);
	if (zombies)
		printf(" (dead: %zu)", zombies);
	printf(", threads %zu, descriptors %zu, open files %zu, private memory %s, shared memory %s\n", threads, fds,
	       s->list[IMG_FILES].n, bytes(a, own), bytes(b, shared));
}

void show_text(const struct show *w)
{
	const struct show_row *rows = show_tree(w->s);

	head_print(w);
	totals_print(w->s);
	chain_print(w);
	tree_print(w, rows);
	for (size_t i = 0; i < w->s->ntasks; i++)
		if (!rows[i].t->zombie)
			task_print(w->s, rows[i].t);
	shmem_print(w->s);
	files_print(w);
}
