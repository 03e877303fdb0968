/* SPDX-License-Identifier: Apache-2.0 */
/* Where an open file is to be found again. */
#ifndef KIND_FILE_PLACE_H
#define KIND_FILE_PLACE_H

#include <sys/stat.h>

#include "base/arena.h"
#include "kind/kind.h"

enum file_state {
	FILE_HERE,    /* its name leads to it */
	FILE_GONE,    /* no name leads to it any more */
	FILE_RENAMED, /* its name is gone, but it has another one somewhere */
};

struct file_place {
	const char *name; /* absolute; where it is, or was */
	enum file_state state;
};

/* Dump. Refuses by name what is not to be seen from here: hidden under a mount, in another mount namespace. */
int file_place_find(struct dumping *d, const struct fd_facts *f, struct file_place *ret) must_check;

/* The directory part of path, "/" for "/x". */
char *file_place_dir(struct arena *a, const char *path);
/* "regular file", "directory", ... */
const char *file_place_type(mode_t mode);

#endif
