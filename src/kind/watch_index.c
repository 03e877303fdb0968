/* SPDX-License-Identifier: Apache-2.0 */
/* Open files in the kernel's order (watch_index.h): kcmp() tells less and greater, so two bisections do it. */
#include "kind/watch_index.h"

#include <string.h>

#include "kern/kcmp.h"

struct holder {
	int32_t pid;
	const FdinfoEntry *fd;
};

struct watch_index {
	struct holder *v;
	size_t n;
};

static int insert(struct watch_index *x, struct holder h)
{
	size_t lo = 0, hi = x->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int order = kcmp_order(h.pid, x->v[mid].pid, KCMP_WHAT_FILE, (int)h.fd->fd, (int)x->v[mid].fd->fd);

		if (order <= 0) /* failed, or known by another descriptor */
			return order;
		if (order == 1)
			hi = mid;
		else
			lo = mid + 1;
	}
	memmove(&x->v[lo + 1], &x->v[lo], (x->n++ - lo) * sizeof(*x->v));
	x->v[lo] = h;
	return 0;
}

int watch_index_new(struct dumping *d, struct watch_index **ret)
{
	struct watch_index *x = arena_alloc(d->a, sizeof(*x));
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < d->ntasks; i++)
		n += d->tasks[i].t->nfds;
	x->v = arena_alloc(d->a, (n + 1) * sizeof(*x->v));
	for (size_t i = 0; i < d->ntasks; i++)
		for (size_t k = 0; !err && k < d->tasks[i].t->nfds; k++)
			err = insert(x, (struct holder){ d->tasks[i].pid, d->tasks[i].t->fds[k] });
	if (!err)
		*ret = x;
	return err;
}

int watch_index_find(const struct watch_index *x, int32_t ep_pid, int epfd, uint32_t tfd, uint32_t nth,
		     uint32_t *ret_id)
{
	size_t lo = 0, hi = x->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int order = kcmp_epoll_order(x->v[mid].pid, (int)x->v[mid].fd->fd, ep_pid, epfd, (int)tfd, nth);

		if (order < 0)
			return order;
		if (order == 0) {
			*ret_id = x->v[mid].fd->id;
			return 1;
		}
		if (order == 1)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}
