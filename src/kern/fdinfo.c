/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of a task (fdinfo.h): the list, the common lines, the links. What the kinds add: fdinfo_kinds.c. */
#include "kern/fdinfo.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "kern/proc.h"
#include "kern/procfile.h"

struct fd_list {
	struct arena *a;
	int *v;
	size_t n;
};

static int take_tfd(void *arg, uint32_t number)
{
	struct fd_list *l = arg;

	if (number > INT_MAX)
		return err_say(EINVAL, "descriptor %u makes no sense", number);
	if (!(l->n & (l->n - 1))) {
		int *more = arena_alloc(l->a, (l->n ? 2 * l->n : 1) * sizeof(*more));

		if (l->n)
			memcpy(more, l->v, l->n * sizeof(*more));
		l->v = more;
	}
	l->v[l->n++] = (int)number;
	return 0;
}

int fdinfo_list(int proc_fd, struct arena *a, int **ret_tfds, size_t *ret_n)
{
	struct fd_list l = { .a = a };
	int r = procfile_numbers(proc_fd, "fd", take_tfd, &l); /* the kernel lists them in ascending order */

	if (r < 0)
		return r;
	*ret_tfds = l.v;
	*ret_n = l.n;
	return 0;
}

/* The value of the line `key` at *p, which must come now; then *p is behind that line. */
static bool common_line(const char **p, const char *key, unsigned int base, uint64_t *ret)
{
	const char *at = *p;
	int64_t negative; /* positions of files like /proc/PID/mem are unsigned, but printed as signed */

	if (!scan_word(&at, key))
		return false;
	if (base == 10 && scan_i64(&at, &negative))
		*ret = (uint64_t)negative;
	else if (!scan_u64(&at, base, ret))
		return false;
	if (*at != '\n')
		return false;
	*p = at + 1;
	return true;
}

int fdinfo_read(int proc_fd, int tfd, struct arena *a, struct fdinfo *ret_info)
{
	uint64_t pos, flags, mnt_id, ino = 0;
	char name[32];
	const char *p;
	int r;
	AUTO_PROCFILE(file);

	snprintf(name, sizeof(name), "fdinfo/%d", tfd);
	r = procfile_read(&file, proc_fd, 0, name);
	if (r < 0)
		return r;
	p = file.text;
	if (!common_line(&p, "pos:", 10, &pos) || !common_line(&p, "flags:", 8, &flags) ||
	    !common_line(&p, "mnt_id:", 10, &mnt_id) || flags > UINT32_MAX || mnt_id > UINT32_MAX)
		return err_say(EINVAL, "%s makes no sense", name);
	common_line(&p, "ino:", 10, &ino);
	*ret_info = (struct fdinfo){
		.tfd = tfd, .cloexec = flags & O_CLOEXEC, .flags = (uint32_t)flags & ~(uint32_t)O_CLOEXEC,
		.pos = pos, .mnt_id = (uint32_t)mnt_id, .ino = ino,
		.rest = *p ? arena_strdup(a, p) : "",
	};
	return 0;
}

int fdinfo_link(int proc_fd, int tfd, struct arena *a, char **ret_target)
{
	char name[32];

	snprintf(name, sizeof(name), "fd/%d", tfd);
	return proc_link(proc_fd, name, a, ret_target);
}

const char *fdinfo_next(const char **cursor, const char *key)
{
	while (**cursor) {
		const char *at = *cursor;

		*cursor = scan_line(at);
		if (scan_word(&at, key)) {
			scan_blanks(&at);
			return at;
		}
	}
	return NULL;
}
