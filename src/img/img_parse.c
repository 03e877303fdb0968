/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes -> messages. The bytes come from anywhere: every length is compared with
 * what is left before it is used, and every refusal says file, entry and offset.
 *
 * A source is a whole file in memory, or a descriptor for types whose payload
 * may be large (ghost files): then payloads are skipped, not read.
 */
#include "img/img_parse.h"

#include <endian.h>
#include <string.h>

#include "base/io.h"
#include "img/img_pagemap.h"
#include "img/img_type.h"

struct parser {
	const struct img_type *type;
	const struct img_src *src;
	struct arena *a;
	struct img_msgs out;
	size_t room;      /* of out.v */
	uint64_t off;     /* of the next byte */
	uint64_t sub_left; /* ipc_msg entries that still belong to the last queue */
	struct img_pagemap_room runs; /* for entries of page maps */
};

static uint64_t bytes_left(const struct parser *p)
{
	return p->src->len - p->off;
}

/* The next len bytes, which the caller has checked to be there; NULL with a trail when they cannot be read. */
static const uint8_t *bytes_take(struct parser *p, size_t len)
{
	const uint8_t *at;
	uint8_t *copy;
	ssize_t r;

	if (p->src->buf) {
		at = p->src->buf + p->off;
	} else {
		copy = arena_alloc(p->a, len);
		r = io_pread(p->src->fd, copy, len, p->off);
		if (r < 0 || (size_t)r < len) {
			err_set(r < 0 ? (int)-r : EIO, "%s: read at offset %lu", p->src->name, p->off);
			return NULL;
		}
		at = copy;
	}
	p->off += len;
	return at;
}

static int word_take(struct parser *p, uint32_t *ret)
{
	const uint8_t *at = bytes_take(p, sizeof(*ret));

	if (!at)
		return -EIO;
	memcpy(ret, at, sizeof(*ret));
	*ret = le32toh(*ret);
	return 0;
}

static int magic_expect(struct parser *p, uint32_t want)
{
	const struct img_type *other;
	uint64_t at = p->off;
	uint32_t found;
	int r;

	if (bytes_left(p) < sizeof(found))
		return err_say(EINVAL, "%s: is cut short: its magic needs 4 bytes at offset %lu, %lu are left",
			       p->src->name, at, bytes_left(p));
	r = word_take(p, &found);
	if (r < 0 || found == want)
		return r;
	other = img_type_by_magic(found);
	return err_say(EINVAL, "%s: has magic 0x%08x%s%s%s at offset %lu, expected 0x%08x", p->src->name, found,
		       other ? " (that of " : "", other ? other->pattern : "", other ? ".img)" : "", at, want);
}

static int magic_check(struct parser *p)
{
	uint32_t head = img_head_magic(p->type->id);
	int r = head ? magic_expect(p, head) : 0;

	return r < 0 ? r : magic_expect(p, p->type->magic);
}

/* Which message comes next. */
static const ProtobufCMessageDescriptor *next_desc(const struct parser *p)
{
	switch (p->type->kind) {
	case IMG_KIND_PAGEMAP:
		return p->out.n ? &pagemap_entry__descriptor : &pagemap_head__descriptor;
	case IMG_KIND_GHOST:
		return p->out.n ? &ghost_chunk_entry__descriptor : &ghost_file_entry__descriptor;
	case IMG_KIND_IPC_MSG:
		return p->sub_left ? &ipc_msg__descriptor : &ipc_msg_entry__descriptor;
	default:
		return p->type->desc;
	}
}

static void sub_count(struct parser *p, const ProtobufCMessage *msg)
{
	if (p->sub_left)
		p->sub_left--;
	else if (msg->descriptor == &ipc_msg_entry__descriptor)
		p->sub_left = ((const IpcMsgEntry *)msg)->qnum;
}

static struct img_msg *entry_add(struct parser *p)
{
	if (p->out.n == p->room) {
		struct img_msg *more;

		p->room = p->room ? 2 * p->room : 4;
		more = arena_alloc(p->a, p->room * sizeof(*more));
		if (p->out.n)
			memcpy(more, p->out.v, p->out.n * sizeof(*more));
		p->out.v = more;
	}
	return &p->out.v[p->out.n++];
}

static int is_ghost_tail(const ProtobufCMessage *msg)
{
	const GhostFileEntry *g = (const GhostFileEntry *)msg;

	return msg->descriptor == &ghost_file_entry__descriptor && !(g->has_chunks && g->chunks);
}

static int payload_take(struct parser *p, struct img_msg *m, uint64_t entry_off)
{
	uint64_t len = is_ghost_tail(m->msg) ? bytes_left(p) : img_payload_len(p->type, m->msg);

	if (len > bytes_left(p))
		return err_say(EINVAL, "%s: entry %zu at offset %lu is cut short (%lu bytes of data belong to it, "
			       "%lu are left)", p->src->name, p->out.n - 1, entry_off, len, bytes_left(p));
	m->payload_off = p->off;
	m->payload_len = len;
	if (p->src->buf && len)
		m->payload = p->src->buf + p->off;
	p->off += len;
	return 0;
}

/* New kinds of pages (compressed ones, say) would come as flags or fields, and make ours read wrong bytes. */
static int pagemap_check(const struct parser *p, const ProtobufCMessage *msg, uint64_t entry_off)
{
	const PagemapEntry *e = (const PagemapEntry *)msg;
	uint32_t unknown;

	if (msg->descriptor != &pagemap_entry__descriptor)
		return 0;
	unknown = e->flags & ~(uint32_t)(PE_PARENT | PE_LAZY | PE_PRESENT);
	if (unknown)
		return err_say(ENOTSUP, "%s: entry %zu at offset %lu: pages with flags 0x%x (compressed?) are not supported yet",
			       p->src->name, p->out.n - 1, entry_off, unknown);
	if (msg->n_unknown_fields)
		return err_say(ENOTSUP, "%s: entry %zu at offset %lu: pages with field %u (compressed?) are not supported yet",
			       p->src->name, p->out.n - 1, entry_off, msg->unknown_fields[0].tag);
	return 0;
}

static int message_take(struct parser *p, uint32_t len, uint64_t entry_off, ProtobufCMessage **ret)
{
	const ProtobufCMessageDescriptor *desc = next_desc(p);
	const uint8_t *at = bytes_take(p, len);
	PagemapEntry *run;

	if (!at)
		return -EIO;
	run = desc == &pagemap_entry__descriptor ? img_pagemap_take(&p->runs, p->a, at, len) : NULL;
	if (run) {
		*ret = &run->base;
		return 0;
	}
	if (img_too_deep(desc, at, len))
		return err_say(EINVAL, "%s: entry %zu at offset %lu is nested too deeply", p->src->name, p->out.n, entry_off);
	*ret = protobuf_c_message_unpack(desc, arena_pb(p->a), len, at);
	if (!*ret)
		return err_say(EINVAL, "%s: entry %zu at offset %lu is damaged: its %u bytes are not a valid %s", p->src->name,
			       p->out.n, entry_off, len, desc->name);
	return 0;
}

static int entry_take(struct parser *p)
{
	uint64_t entry_off = p->off;
	ProtobufCMessage *msg;
	struct img_msg *m;
	uint32_t len;
	int r;

	if (bytes_left(p) < sizeof(len))
		return err_say(EINVAL, "%s: entry %zu at offset %lu is cut short (its length needs 4 bytes, %lu are left)",
			       p->src->name, p->out.n, entry_off, bytes_left(p));
	r = word_take(p, &len);
	if (r < 0)
		return r;
	if (len > bytes_left(p))
		return err_say(EINVAL, "%s: entry %zu at offset %lu is cut short (says %u bytes, %lu are left)", p->src->name,
			       p->out.n, entry_off, len, bytes_left(p));
	r = message_take(p, len, entry_off, &msg);
	if (r < 0)
		return r;
	sub_count(p, msg);
	m = entry_add(p);
	m->msg = msg;
	r = payload_take(p, m, entry_off);
	return r < 0 ? r : pagemap_check(p, msg, entry_off);
}

/* The number of entries, where the type says something about it. */
static int count_check(const struct parser *p)
{
	enum img_kind kind = p->type->kind;
	int single = kind == IMG_KIND_ONE || kind == IMG_KIND_TCP;

	if (!p->out.n && (single || kind == IMG_KIND_PAGEMAP || kind == IMG_KIND_GHOST))
		return err_say(EINVAL, "%s: has no entry behind its magic", p->src->name);
	if (p->out.n > 1 && single)
		return err_say(EINVAL, "%s: has %zu entries, expected one", p->src->name, p->out.n);
	if (p->sub_left)
		return err_say(EINVAL, "%s: is cut short: %lu messages of its last queue are missing at offset %lu",
			       p->src->name, p->sub_left, p->off);
	return 0;
}

int img_src_parse(const struct img_type *t, const struct img_src *src, struct arena *a, struct img_msgs *ret)
{
	struct parser p = { .type = t, .src = src, .a = a };
	int r;

	if (!t->desc)
		return err_say(EINVAL, "%s: holds raw data, no messages", src->name);
	r = magic_check(&p);
	while (r >= 0 && bytes_left(&p))
		r = entry_take(&p);
	if (r >= 0)
		r = count_check(&p);
	if (r >= 0)
		*ret = p.out;
	return r;
}

int img_parse(const struct img_type *t, const char *name, const void *buf, size_t len, struct arena *a,
	      struct img_msgs *ret)
{
	static const uint8_t nothing[1];
	struct img_src src = { .name = name, .buf = buf ? buf : nothing, .len = buf ? len : 0, .fd = -1 };

	return img_src_parse(t, &src, a, ret);
}
