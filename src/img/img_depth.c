/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refuses bytes that would make protobuf-c recurse without end.
 *
 * Its unpack has no limit of its own, and cgroup_dir_entry nests itself: two
 * bytes a level, so a file of a few kilobytes could use up the stack. Only
 * nesting is looked at here; bytes that are no protobuf at all are left to
 * the real decoder.
 */
#include "img/img_type.h"

enum { DEPTH_MAX = 64, WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LEN = 2, WIRE_32 = 5 };

struct cursor {
	const uint8_t *p, *end;
};

static int varint_take(struct cursor *c, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && c->p < c->end; shift += 7) {
		uint8_t b = *c->p++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*ret = v;
			return 1;
		}
	}
	return 0;
}

/* Steps over one value; for a length-delimited one *ret_len is its length and c stands at its first byte. */
static int value_skip(struct cursor *c, unsigned wire, uint64_t *ret_len)
{
	uint64_t len;

	*ret_len = 0;
	switch (wire) {
	case WIRE_VARINT:
		return varint_take(c, &len);
	case WIRE_LEN:
		return varint_take(c, ret_len) && *ret_len <= (uint64_t)(c->end - c->p);
	case WIRE_64:
	case WIRE_32:
		len = wire == WIRE_64 ? 8 : 4;
		if (len > (uint64_t)(c->end - c->p))
			return 0;
		c->p += len;
		return 1;
	default:
		return 0;
	}
}

static int too_deep(const ProtobufCMessageDescriptor *desc, const uint8_t *p, size_t size, unsigned depth)
{
	struct cursor c = { p, p + size };
	const ProtobufCFieldDescriptor *f;
	uint64_t tag, len;

	if (depth > DEPTH_MAX)
		return 1;
	while (c.p < c.end) {
		if (!varint_take(&c, &tag) || !value_skip(&c, tag & 7, &len))
			return 0;
		f = len ? protobuf_c_message_descriptor_get_field(desc, (unsigned)(tag >> 3)) : NULL;
		if (f && f->type == PROTOBUF_C_TYPE_MESSAGE && too_deep(f->descriptor, c.p, len, depth + 1))
			return 1;
		c.p += len;
	}
	return 0;
}

int img_too_deep(const ProtobufCMessageDescriptor *desc, const uint8_t *p, size_t len)
{
	return too_deep(desc, p, len, 0);
}
