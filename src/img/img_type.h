/* SPDX-License-Identifier: Apache-2.0 */
/* What reading and writing images share and nobody else needs. */
#ifndef IMG_IMG_TYPE_H
#define IMG_IMG_TYPE_H

#include "img/img.h"

/* The first word of an image: of the snapshot, and of files beside it. The inventory has its own magic alone. */
#define IMG_MAGIC_COMMON  0x54564319U
#define IMG_MAGIC_SERVICE 0x55105940U

/* The word in front of the type's own magic, 0 for none. */
uint32_t img_head_magic(enum img_id id);

/* Whether nested messages go deeper than anyone means: protobuf-c recurses, so this is asked first. */
int img_too_deep(const ProtobufCMessageDescriptor *desc, const uint8_t *p, size_t len);

/* Writes an image of one message under a name that is not its own. */
int img_write_as(int dirfd, const char *name, enum img_id id, const ProtobufCMessage *msg) must_check;

#endif
