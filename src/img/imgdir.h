/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image directory and the directories that it builds upon.
 *
 * A directory holds a snapshot exactly when it has an inventory.img. So a dump
 * removes an old inventory first and writes the new one last, by rename: killed
 * at any moment, it leaves no directory that looks restorable.
 *
 *   imgdir_begin() ... imgdir_write_each(), imgdir_create() ... imgdir_commit() or imgdir_abort()
 *
 * One thread uses an imgdir, and may have others help it. All memory is the arena's; imgdir_close() closes
 * the descriptors.
 */
#ifndef IMG_IMGDIR_H
#define IMG_IMGDIR_H

#include <stdbool.h>

#include "base/crew.h"
#include "img/img.h"

struct imgdir {
	int dirfd;
	const char *path;      /* as the user gave it, for sentences */
	struct imgdir *parent; /* what pages marked PE_PARENT are read from; NULL: none */
	struct arena *a;
	char **written; /* names of the files of a dump under way */
	size_t n_written;
	bool linked; /* its link to the parent is of this dump */
};

/* Opens path (relative to atfd) and, along its `parent` symbolic links, all that it builds upon. */
int imgdir_open(int atfd, const char *path, struct arena *a, struct imgdir **ret) must_check;
void imgdir_close(struct imgdir *d);
/* How many directories there are: 1 without a parent. */
size_t imgdir_depth(const struct imgdir *d);
/* The one that many steps up the chain. */
const struct imgdir *imgdir_at(const struct imgdir *d, size_t depth);

/* One file in the directory that has a name of ours. */
struct imgdir_file {
	const struct img_type *type;
	uint64_t num;
	uint64_t len;
};

/* All images in it, by type in the order of images.tbl, then by number. */
int imgdir_list(const struct imgdir *d, struct arena *a, struct imgdir_file **ret, size_t *ret_n) must_check;

/*
 * Makes the directory, if need be, and begins a dump into it that builds upon the images in prev (relative to path;
 * NULL: none). What is refused (no such images, a ring) is refused before anything is lost.
 */
int imgdir_make(const char *path, const char *prev, struct arena *a, struct imgdir **ret) must_check;
/* From here on the directory is not restorable. */
int imgdir_begin(struct imgdir *d) must_check;
/* A file that is to be written. */
struct imgdir_order {
	enum img_id id;
	uint64_t num;
	const struct img_msg *v;
	size_t n;
};
/* Writes n of them, by several hands if they are many: a dump of a thousand threads is as many files. */
int imgdir_write_each(struct imgdir *d, const struct imgdir_order *v, size_t n) must_check;
/* The same, but it goes on beside what the caller does next, until crew_finish(). The messages must not change. */
struct crew *imgdir_write_begin(struct imgdir *d, const struct imgdir_order *v, size_t n);
/* As img_create(). This file, too, is remembered for imgdir_abort(). */
int imgdir_create(struct imgdir *d, enum img_id id, uint64_t num) must_check;
/* Makes it a snapshot: the inventory appears, complete. */
int imgdir_commit(struct imgdir *d, const InventoryEntry *inventory) must_check;
/* Removes every file written since imgdir_begin(). No trail: the failure that leads here has one. */
void imgdir_abort(struct imgdir *d);

#endif
