/* SPDX-License-Identifier: Apache-2.0 */
/* kcmp(2) and sets of open file descriptions (kcmp.h). */
#include "kern/kcmp.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uthash.h>

int kcmp_order(pid_t pid1, pid_t pid2, enum kcmp_what what, int fd1, int fd2)
{
	long r = syscall(SYS_kcmp, pid1, pid2, what, fd1, fd2);

	if (r < 0)
		return err_set(errno, "kcmp %d %d", pid1, pid2);
	return (int)r;
}

int kcmp_same(pid_t pid1, pid_t pid2, enum kcmp_what what)
{
	int r = pid1 == pid2 ? 0 : kcmp_order(pid1, pid2, what, 0, 0);

	return r < 0 ? r : r == 0;
}

int kcmp_epoll_order(pid_t pid, int fd, pid_t ep_pid, int epfd, int tfd, uint32_t toff)
{
	struct { uint32_t efd, tfd, toff; } slot = { (uint32_t)epfd, (uint32_t)tfd, toff };
	long r = syscall(SYS_kcmp, pid, ep_pid, KCMP_WHAT_EPOLL_TFD, fd, &slot);

	if (r < 0)
		return err_set(errno, "kcmp of epoll %d's %d", epfd, tfd);
	return (int)r;
}

int kcmp_epoll(pid_t pid, int fd, pid_t ep_pid, int epfd, int tfd, uint32_t toff)
{
	int r = kcmp_epoll_order(pid, fd, ep_pid, epfd, tfd, toff);

	return r < 0 ? r : r == 0;
}

/* What one description was first seen as, and its number. */
struct item {
	pid_t pid;
	int tfd;
	uint32_t id;
};

struct bucket_key {
	uint64_t dev, ino, mnt_id;
};

struct bucket { /* descriptions of one file, sorted by the kernel's order */
	struct bucket_key key;
	struct item *item;
	size_t n, cap;
	UT_hash_handle hh;
};

struct kcmp_set {
	struct arena *a;
	struct bucket *buckets;
	uint32_t last_id;
};

void kcmp_set_free(struct kcmp_set *set)
{
	if (set)
		HASH_CLEAR(hh, set->buckets);
}

struct kcmp_set *kcmp_set_new(struct arena *a)
{
	struct kcmp_set *set = arena_alloc(a, sizeof(*set));

	set->a = a;
	return set;
}

static struct bucket *bucket_get(struct kcmp_set *set, const struct kcmp_file *f)
{
	struct bucket_key key = { f->dev, f->ino, f->mnt_id };
	struct bucket *b;

	/* the analyzer does not see that uthash's walk over the key stays inside of it */
	HASH_FIND(hh, set->buckets, &key, sizeof(key), b); // NOLINT(clang-analyzer-core.UndefinedBinaryOperatorResult)
	if (!b) {
		b = arena_alloc(set->a, sizeof(*b));
		b->key = key;
		HASH_ADD(hh, set->buckets, key, sizeof(key), b);
	}
	return b;
}

static void bucket_insert(struct kcmp_set *set, struct bucket *b, size_t at, struct item it)
{
	if (b->n == b->cap) {
		size_t cap = b->cap ? 2 * b->cap : 1;
		struct item *more = arena_alloc(set->a, cap * sizeof(*more));

		if (b->n)
			memcpy(more, b->item, b->n * sizeof(*more));
		b->item = more;
		b->cap = cap;
	}
	memmove(&b->item[at + 1], &b->item[at], (b->n - at) * sizeof(*b->item));
	b->item[at] = it;
	b->n++;
}

int kcmp_set_add(struct kcmp_set *set, const struct kcmp_file *f, uint32_t *ret_id, bool *ret_new)
{
	struct bucket *b = bucket_get(set, f);
	size_t lo = 0, hi = b->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct item *it = &b->item[mid];
		int r = kcmp_order(f->pid, it->pid, KCMP_WHAT_FILE, f->tfd, it->tfd);

		if (r < 0)
			return r;
		if (r == 0) {
			*ret_id = it->id;
			*ret_new = false;
			return 0;
		}
		if (r == 1)
			hi = mid;
		else if (r == 2)
			lo = mid + 1;
		else
			return err_say(EINVAL, "kcmp cannot order descriptors");
	}
	bucket_insert(set, b, lo, (struct item){ f->pid, f->tfd, ++set->last_id });
	*ret_id = set->last_id;
	*ret_new = true;
	return 0;
}
