/* SPDX-License-Identifier: Apache-2.0 */
/* One ghost-file image at restore. Used by ghost_open.c. */
#ifndef KIND_GHOST_IMAGE_H
#define KIND_GHOST_IMAGE_H

#include "kind/kind.h"

struct ghost_image {
	struct restoring *r;
	uint32_t id;
	const GhostFileEntry *entry;
	struct img_msgs msgs;
};

int ghost_image_load(struct restoring *r, uint32_t id, struct ghost_image *ret) must_check;
/* Can a file be made of it? */
int ghost_image_check(const struct ghost_image *g) must_check;
/* Contents, owner, mode and times of the file behind fd, which is O_PATH unless it is a regular file. */
int ghost_image_fill(const struct ghost_image *g, int fd) must_check;

#endif
