/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tasks may have to do with a GPU. Every dump asks this, so it must be cheap: one look for two words in the
 * text of /proc/PID/maps, and descriptors only where that says so. The driver is not asked here.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "dump/gpu_dump.h"

static const char DEVICES[] = "/dev/nvidia";

static void add_fd(struct arena *a, struct gpu_traces *t, int fd)
{
	if (!(t->n_fds & (t->n_fds - 1))) {
		int *more = arena_alloc(a, (t->n_fds ? 2 * t->n_fds : 1) * sizeof(*more));

		if (t->n_fds)
			memcpy(more, t->fds, t->n_fds * sizeof(*more));
		t->fds = more;
	}
	t->fds[t->n_fds++] = fd;
}

/* Opened with O_PATH, which the link's permissions tell: it can be neither read nor written. */
static bool is_name(int dirfd, const char *fd)
{
	struct stat st;

	return !fstatat(dirfd, fd, &st, AT_SYMLINK_NOFOLLOW) && !(st.st_mode & (S_IRUSR | S_IWUSR));
}

static int look_at_descriptors(struct arena *a, int proc_fd, struct gpu_traces *t)
{
	int fd = openat(proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	char link[64], end;
	unsigned minor;

	if (!dir)
		return err_set(errno, "list its descriptors");
	while ((e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

		link[n < 0 ? 0 : n] = 0;
		if (strncmp(link, DEVICES, sizeof(DEVICES) - 1) != 0 || is_name(dirfd(dir), e->d_name))
			continue;
		t->dev = true;
		add_fd(a, t, (int)strtol(e->d_name, NULL, 10));
		if (sscanf(link, "/dev/nvidia%u%c", &minor, &end) == 1 && minor < 64)
			t->minors |= UINT64_C(1) << minor;
	}
	return 0;
}

int gpu_find_traces(struct arena *a, const struct seize_task *t, struct gpu_traces *ret)
{
	auto_free char *text = NULL;
	ssize_t n;

	*ret = (struct gpu_traces){ 0 };
	if (t->state == SEIZE_ZOMBIE)
		return 0;
	n = io_slurp(t->proc_fd, "maps", &text);
	if (n < 0)
		return err_set((int)-n, "read its mappings");
	ret->lib = strstr(text, "/libcuda.so") != NULL;
	ret->dev = strstr(text, DEVICES) != NULL;
	return ret->lib ? look_at_descriptors(a, t->proc_fd, ret) : 0;
}

struct seize_task *gpu_find_task(const struct seize *s, pid_t pid)
{
	for (size_t i = 0; i < s->n_tasks; i++)
		if (s->tasks[i]->pid == pid)
			return s->tasks[i];
	return NULL;
}
