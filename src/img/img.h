/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: bytes <-> messages, one file at a time.
 *
 * A file is its magic (one or two little-endian words), then entries: a 32-bit
 * length, that many bytes of one protobuf message, and for some types a payload
 * whose length the message tells. This layer knows files and messages, not
 * what they mean; which types exist is in proto/images.tbl.
 *
 * Images are untrusted: whatever the bytes are, reading ends with messages or
 * with one sentence that names the file, the entry and its offset. Fields that
 * are not in our .proto files survive reading and writing.
 *
 * Everything that is read lives in the caller's arena.
 */
#ifndef IMG_IMG_H
#define IMG_IMG_H

#include "base/arena.h"
#include "img/messages.h"

enum img_id {
#define IMG(id, name, magic, message, kind) IMG_##id,
#define IMG_RAW(id, name) IMG_##id,
#include "../../proto/images.tbl"
#undef IMG
#undef IMG_RAW
	IMG_COUNT
};

/* What follows the magic. */
enum img_kind {
	IMG_KIND_RAW,     /* no magic, no messages */
	IMG_KIND_ONE,     /* exactly one message */
	IMG_KIND_MANY,    /* messages */
	IMG_KIND_PAGEMAP, /* one pagemap_head, then messages */
	IMG_KIND_GHOST,   /* one message; the contents, or ghost_chunk_entry messages with `len` bytes each */
	IMG_KIND_PIPE,    /* messages with `bytes` bytes each */
	IMG_KIND_PACKET,  /* messages with `length` bytes each */
	IMG_KIND_TCP,     /* one message, then both queues */
	IMG_KIND_BPFMAP,  /* messages, each with its keys and its values */
	IMG_KIND_IPC_SHM, /* messages with the segment's bytes, padded to 4 */
	IMG_KIND_IPC_MSG, /* messages, each with `qnum` ipc_msg with `msize` bytes, padded to 8 */
	IMG_KIND_IPC_SEM, /* messages with the values, padded to 8 */
};

struct img_type {
	enum img_id id;
	enum img_kind kind;
	const char *pattern; /* "core-%u" */
	uint32_t magic;
	const ProtobufCMessageDescriptor *desc; /* NULL: raw */
};

/* One entry. payload is NULL where it is left in the file (ghost files): read it from payload_off. */
struct img_msg {
	ProtobufCMessage *msg;
	const uint8_t *payload;
	size_t payload_len;
	uint64_t payload_off;
};

struct img_msgs {
	struct img_msg *v;
	size_t n;
};

enum { IMG_NAME_LEN = 64 };

const struct img_type *img_type(enum img_id id);
/* By the name of a file in an image directory; NULL when it is none of ours. */
const struct img_type *img_type_by_file(const char *file, uint64_t *ret_num);
/* The row that has this magic, NULL if none. */
const struct img_type *img_type_by_magic(uint32_t magic);
/* Writes the file's name ("core-12.img"), returns name. num counts only where the pattern has a number. */
const char *img_name(char name[static IMG_NAME_LEN], enum img_id id, uint64_t num);

/*
 * Reads a file. A missing one is -ENOENT with a trail: the caller knows whether
 * it matters. Also refused (ENOTSUP): a pagemap whose entries have flags or
 * fields that we do not know, because they may change what the page bytes mean.
 */
int img_read_all(int dirfd, enum img_id id, uint64_t num, struct arena *a, struct img_msgs *ret) must_check;
/* The same for a file with one message: ret_msg is the address of a pointer of the message's type. */
int img_read_one(int dirfd, enum img_id id, uint64_t num, struct arena *a, void *ret_msg) must_check;
/* From memory, name is for sentences. payloads point into buf. */
int img_parse(const struct img_type *t, const char *name, const void *buf, size_t len, struct arena *a,
	      struct img_msgs *ret) must_check;
/* Opens a file for reading as it is (pages, ghost contents). Returns the descriptor. */
int img_open(int dirfd, enum img_id id, uint64_t num) must_check;

/* Replaces the file by one with these entries. A payload that the message announces must be there. */
int img_write_all(int dirfd, enum img_id id, uint64_t num, const struct img_msg *v, size_t n) must_check;
int img_write_one(int dirfd, enum img_id id, uint64_t num, const ProtobufCMessage *msg) must_check;
/* Replaces the file by an empty one (its magic is written). Returns the descriptor, open for writing. */
int img_create(int dirfd, enum img_id id, uint64_t num) must_check;
/* Appends an entry without payload to a file from img_create(); the caller's payload goes behind it. */
int img_append(int fd, enum img_id id, uint64_t num, const ProtobufCMessage *msg) must_check;
/* When all is written to such a file, before it is closed: whether that went well (io_flush()). */
int img_finish(int fd, enum img_id id, uint64_t num) must_check;

/* How many bytes follow msg in a file of this type; what a ghost file without chunks holds is not known (0). */
uint64_t img_payload_len(const struct img_type *t, const ProtobufCMessage *msg);

/* pagemap_entry.flags (wire format). */
enum page_flags { PE_PARENT = 1 << 0, PE_LAZY = 1 << 1, PE_PRESENT = 1 << 2 };

/* The length of a run: up to 4.1.1 in one field, since 4.2 in another. */
static inline uint64_t pagemap_pages(const PagemapEntry *e)
{
	return e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
}

static inline uint32_t pagemap_flags(const PagemapEntry *e)
{
	if (e->has_flags)
		return e->flags;
	return e->has_in_parent && e->in_parent ? PE_PARENT : PE_PRESENT;
}

#endif
