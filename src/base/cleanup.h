/* SPDX-License-Identifier: Apache-2.0 */
/* Cleanup attributes and their take_: a resource has one owner, and leaving its scope releases it. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define auto_close  __attribute__((cleanup(close_fd)))
#define auto_free   __attribute__((cleanup(free_ptr)))
#define auto_dir    __attribute__((cleanup(close_dir)))
#define auto_file   __attribute__((cleanup(close_file)))

/* Hands the value on and forgets it here. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define take_ptr(p)                        \
	({                                 \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                \
		taken_;                    \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
