/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model's life, its lists and its look-ups (snap.h).
 *
 * Files are looked up for every descriptor and every mapping of every task, so
 * they have an index; tasks and shared objects are few and looked up rarely.
 */
#include "snap/snap.h"

#include <string.h>

/* The hash table's memory is the arena's: `s` is in scope wherever it is used. */
#define uthash_malloc(len)  arena_alloc(s->a, (len))
#define uthash_free(p, len) ((void)0)
#include <uthash.h>

struct snap_index {
	uint32_t id;
	FileEntry *file;
	UT_hash_handle hh;
};

struct snap *snap_new(void)
{
	struct arena *a = arena_new();
	struct snap *s = arena_alloc(a, sizeof(*s));

	s->a = a;
	return s;
}

void snap_free(struct snap *s)
{
	if (s)
		arena_free(s->a);
}

/* Full exactly when n is 0 or a power of two from 16 on, however the list came to be. */
static void list_grow(struct snap *s, struct img_msgs *l)
{
	struct img_msg *more;

	if (l->n && (l->n < 16 || l->n & (l->n - 1)))
		return;
	more = arena_alloc(s->a, (l->n ? 2 * l->n : 16) * sizeof(*more));
	if (l->n)
		memcpy(more, l->v, l->n * sizeof(*more));
	l->v = more;
}

static void file_index(struct snap *s, FileEntry *e)
{
	struct snap_index *at = arena_alloc(s->a, sizeof(*at));

	at->id = e->id;
	at->file = e;
	HASH_ADD_INT(s->files, id, at);
}

void snap_add_payload(struct snap *s, enum img_id id, ProtobufCMessage *msg, const void *payload, size_t len)
{
	struct img_msgs *l = &s->list[id];

	list_grow(s, l);
	l->v[l->n++] = (struct img_msg){ .msg = msg, .payload = payload, .payload_len = len };
	if (id == IMG_FILES)
		file_index(s, (FileEntry *)msg);
}

void snap_add(struct snap *s, enum img_id id, ProtobufCMessage *msg)
{
	snap_add_payload(s, id, msg, NULL, 0);
}

FileEntry *snap_file(const struct snap *s, uint32_t id)
{
	struct snap_index *at;

	HASH_FIND_INT(s->files, &id, at);
	return at ? at->file : NULL;
}

struct snap_task *snap_task(const struct snap *s, uint32_t pid)
{
	for (size_t i = 0; i < s->ntasks; i++)
		if (s->tasks[i]->pst->pid == pid)
			return s->tasks[i];
	return NULL;
}

struct snap_shmem *snap_shmem(const struct snap *s, uint64_t shmid)
{
	for (size_t i = 0; i < s->nshmem; i++)
		if (s->shmem[i]->shmid == shmid)
			return s->shmem[i];
	return NULL;
}

const char *snap_comm(const struct snap_task *t)
{
	const TaskCoreEntry *tc = t->ncores ? t->cores[0]->tc : NULL;

	if (tc && tc->comm && *tc->comm)
		return tc->comm;
	return t->zombie ? "zombie" : "?";
}

/* Where the kernel puts stack and heap is a matter of chance at each execve(), and stays as it is through fork(). */
bool snap_same_program(const struct snap_task *a, const struct snap_task *b)
{
	return a->mm && b->mm && a->mm->exe_file_id == b->mm->exe_file_id &&
	       a->mm->mm_start_code == b->mm->mm_start_code && a->mm->mm_start_stack == b->mm->mm_start_stack &&
	       a->mm->mm_start_brk == b->mm->mm_start_brk;
}

uint32_t snap_timens(const struct snap *s)
{
	const TaskKobjIdsEntry *outside = s->inventory->root_ids, *root = s->ntasks ? s->tasks[0]->ids : NULL;

	return outside && root && outside->time_ns_id != root->time_ns_id ? root->time_ns_id : 0;
}

uint64_t snap_pages_bytes(const struct snap_pages *p)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < p->nruns; i++)
		if (p->runs[i]->flags & PE_PRESENT)
			pages += p->runs[i]->nr_pages;
	return pages * SNAP_PAGE;
}
