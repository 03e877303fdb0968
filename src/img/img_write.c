/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages -> files (img.h).
 *
 * A file is replaced, never overwritten: its old name is unlinked and the new
 * one made with O_EXCL, so a symbolic link that waits in the directory leads
 * nowhere and whoever still reads the old file keeps its bytes. Images hold
 * the memory of processes: nobody but the owner may read them.
 */
#include <endian.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "img/img_type.h"

enum { BUF_LEN = 16 * 1024 };

struct out {
	int fd;
	const char *name;
	const struct img_type *type;
	size_t used;
	uint8_t *buf; /* BUF_LEN bytes on the caller's stack */
};

static int out_flush(struct out *o)
{
	int r = io_write(o->fd, o->buf, o->used);

	o->used = 0;
	return r < 0 ? err_set(-r, "%s: write", o->name) : 0;
}

static int out_put(struct out *o, const void *p, size_t len)
{
	int r = o->used + len > BUF_LEN ? out_flush(o) : 0;

	if (r < 0)
		return r;
	if (len > BUF_LEN) {
		r = io_write(o->fd, p, len);
		return r < 0 ? err_set(-r, "%s: write", o->name) : 0;
	}
	if (len)
		memcpy(o->buf + o->used, p, len);
	o->used += len;
	return 0;
}

static int out_word(struct out *o, uint32_t v)
{
	v = htole32(v);
	return out_put(o, &v, sizeof(v));
}

static int out_message(struct out *o, const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	auto_free uint8_t *packed = NULL;
	uint8_t *at;
	int r;

	if (len > UINT32_MAX)
		return err_say(EFBIG, "%s: a message of %zu bytes does not fit an image", o->name, len);
	r = out_word(o, (uint32_t)len);
	if (r >= 0 && o->used + len > BUF_LEN)
		r = out_flush(o);
	if (r < 0)
		return r;
	if (len <= BUF_LEN) {
		at = o->buf + o->used;
		o->used += protobuf_c_message_pack(msg, at);
		return 0;
	}
	packed = malloc(len);
	if (!packed)
		return err_set(ENOMEM, "%s: %zu bytes", o->name, len);
	return out_put(o, packed, protobuf_c_message_pack(msg, packed));
}

/* Payloads may lack only their padding: anything else would make the file unreadable from here on. */
static int out_payload(struct out *o, const struct img_msg *m)
{
	static const uint8_t padding[8];
	uint64_t want = img_payload_len(o->type, m->msg);
	int r;

	if (m->msg->descriptor == &ghost_file_entry__descriptor && !want)
		want = m->payload_len;
	if (m->payload_len > want || want - m->payload_len >= sizeof(padding) || (m->payload_len && !m->payload))
		return err_say(EINVAL, "%s: a %s announces %lu bytes of data, %zu are given", o->name,
			       m->msg->descriptor->name, want, m->payload_len);
	r = out_put(o, m->payload, m->payload_len);
	return r < 0 ? r : out_put(o, padding, want - m->payload_len);
}

static int out_head(struct out *o)
{
	uint32_t head = img_head_magic(o->type->id);
	int r = head ? out_word(o, head) : 0;

	if (r < 0 || !o->type->desc)
		return r;
	return out_word(o, o->type->magic);
}

static int out_open(struct out *o, int dirfd)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;

	o->fd = openat(dirfd, o->name, flags, 0600);
	if (o->fd < 0 && errno == EEXIST) {
		if (unlinkat(dirfd, o->name, 0) < 0 && errno != ENOENT)
			return err_set(errno, "%s: replace", o->name);
		o->fd = openat(dirfd, o->name, flags, 0600);
	}
	if (o->fd < 0)
		return err_set(errno, "%s: create", o->name);
	return out_head(o);
}

int img_create(int dirfd, enum img_id id, uint64_t num)
{
	char name[IMG_NAME_LEN];
	uint8_t buf[BUF_LEN];
	struct out o = { .fd = -1, .name = img_name(name, id, num), .type = img_type(id), .buf = buf };
	int r = out_open(&o, dirfd);
	auto_close int fd = o.fd;

	if (r >= 0)
		r = out_flush(&o);
	return r < 0 ? r : take_fd(&fd);
}

int img_append(int fd, enum img_id id, uint64_t num, const ProtobufCMessage *msg)
{
	char name[IMG_NAME_LEN];
	uint8_t buf[BUF_LEN];
	struct out o = { .fd = fd, .name = img_name(name, id, num), .type = img_type(id), .buf = buf };
	int r = out_message(&o, msg);

	return r < 0 ? r : out_flush(&o);
}

static int closes(int fd, const char *name)
{
	int r = io_flush(fd);

	return r < 0 ? err_set(-r, "%s: write", name) : 0;
}

int img_finish(int fd, enum img_id id, uint64_t num)
{
	char name[IMG_NAME_LEN];

	return closes(fd, img_name(name, id, num));
}

static int file_write(int dirfd, const char *name, enum img_id id, const struct img_msg *v, size_t n)
{
	uint8_t buf[BUF_LEN];
	struct out o = { .fd = -1, .name = name, .type = img_type(id), .buf = buf };
	int r = out_open(&o, dirfd);
	auto_close int fd = o.fd;

	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = out_message(&o, v[i].msg);
		if (r >= 0)
			r = out_payload(&o, &v[i]);
	}
	if (r >= 0)
		r = out_flush(&o);
	return r < 0 ? r : closes(fd, name);
}

int img_write_all(int dirfd, enum img_id id, uint64_t num, const struct img_msg *v, size_t n)
{
	char name[IMG_NAME_LEN];

	return file_write(dirfd, img_name(name, id, num), id, v, n);
}

int img_write_as(int dirfd, const char *name, enum img_id id, const ProtobufCMessage *msg)
{
	struct img_msg m = { .msg = (ProtobufCMessage *)msg };

	return file_write(dirfd, name, id, &m, 1);
}

int img_write_one(int dirfd, enum img_id id, uint64_t num, const ProtobufCMessage *msg)
{
	char name[IMG_NAME_LEN];

	return img_write_as(dirfd, img_name(name, id, num), id, msg);
}
