/* SPDX-License-Identifier: Apache-2.0 */
/* The small text files of /proc (procfile.h). */
#include "kern/procfile.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

/*
 * A file of records ends a read early when the next record does not fit into its
 * page. Ours are shorter than RECORD_MAX, or the file is one record: with more room
 * than that left over, the file has ended, and the read that would say so is spared.
 */
enum { RECORD_MAX = 512 };

static ssize_t read_small(int fd, char *buf, size_t cap)
{
	ssize_t n, rest;

	do
		n = read(fd, buf, cap);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n + RECORD_MAX < cap)
		return n;
	rest = io_read(fd, buf + n, cap - (size_t)n);
	return rest < 0 ? rest : n + rest;
}

int procfile_read(struct procfile *f, int proc_fd, pid_t tid, const char *name)
{
	char path[64];
	auto_close int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), tid ? "task/%2$d/%1$s" : "%s", name, tid);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(errno, "open %s", path);
	n = read_small(fd, f->room, sizeof(f->room) - 1);
	if (n < 0)
		return err_set((int)-n, "read %s", path);
	f->text = f->room;
	f->len = (size_t)n;
	f->room[n] = 0;
	if (f->len < sizeof(f->room) - 1)
		return 0;
	n = io_slurp(proc_fd, path, &f->heap);
	if (n < 0)
		return (int)n;
	f->text = f->heap;
	f->len = (size_t)n;
	return 0;
}

int procfile_numbers(int proc_fd, const char *dir, int (*take)(void *arg, uint32_t number), void *arg)
{
	auto_close int fd = openat(proc_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(struct dirent64) char buf[32768];
	ssize_t n;

	if (fd < 0)
		return err_set(errno, "open %s", dir);
	while ((n = getdents64(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t off = 0; off < n;) {
			const struct dirent64 *d = (const void *)(buf + off);
			const char *p = d->d_name;
			uint32_t number;
			int r;

			off += d->d_reclen;
			if (!scan_u32(&p, 10, &number) || *p)
				continue;
			r = take(arg, number);
			if (r < 0)
				return r;
		}
	}
	return n < 0 ? err_set(errno, "read %s", dir) : 0;
}

void scan_blanks(const char **p)
{
	while (**p == ' ' || **p == '\t')
		(*p)++;
}

static unsigned int digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned int)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned int)(c - 'A') + 10;
	return UINT_MAX;
}

bool scan_u64(const char **p, unsigned int base, uint64_t *ret)
{
	const char *at = *p, *first;
	uint64_t v = 0;
	unsigned int d;

	scan_blanks(&at);
	for (first = at; (d = digit(*at)) < base; at++) {
		if (v > (UINT64_MAX - d) / base)
			return false;
		v = v * base + d;
	}
	if (at == first)
		return false;
	*p = at;
	*ret = v;
	return true;
}

bool scan_u32(const char **p, unsigned int base, uint32_t *ret)
{
	const char *at = *p;
	uint64_t v;

	if (!scan_u64(&at, base, &v) || v > UINT32_MAX)
		return false;
	*p = at;
	*ret = (uint32_t)v;
	return true;
}

bool scan_i64(const char **p, int64_t *ret)
{
	const char *at = *p;
	uint64_t v;
	bool neg;

	scan_blanks(&at);
	neg = *at == '-';
	at += neg;
	if (digit(*at) >= 10 || !scan_u64(&at, 10, &v) || v > (uint64_t)INT64_MAX + neg)
		return false;
	*p = at;
	*ret = neg ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

bool scan_int(const char **p, int *ret)
{
	const char *at = *p;
	int64_t v;

	if (!scan_i64(&at, &v) || v < INT_MIN || v > INT_MAX)
		return false;
	*p = at;
	*ret = (int)v;
	return true;
}

bool scan_word(const char **p, const char *word)
{
	const char *at = *p;
	size_t len = strlen(word);

	scan_blanks(&at);
	if (strncmp(at, word, len) != 0)
		return false;
	*p = at + len;
	return true;
}

const char *scan_line(const char *p)
{
	const char *nl = strchr(p, '\n');

	return nl ? nl + 1 : p + strlen(p);
}
