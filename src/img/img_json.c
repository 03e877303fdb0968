/* SPDX-License-Identifier: Apache-2.0 */
/* Walks protobuf-c's own descriptions of the messages (img_json.h): a new field needs nothing here. */
#include "img/img_json.h"

#include <string.h>

#include "base/cleanup.h"

/* Longer payloads (the contents of files) are counted, not shown. */
enum { PAYLOAD_SHOWN = 64 * 1024 };

static struct json_object *base64(const uint8_t *p, size_t len)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t out_len = (len + 2) / 3 * 4;
	auto_free char *out = malloc(out_len + 1);

	if (!out)
		return NULL;
	for (size_t i = 0, o = 0; i < len; i += 3, o += 4) {
		uint32_t v = (uint32_t)p[i] << 16;

		v |= i + 1 < len ? (uint32_t)p[i + 1] << 8 : 0;
		v |= i + 2 < len ? p[i + 2] : 0;
		out[o] = digit[v >> 18];
		out[o + 1] = digit[v >> 12 & 63];
		out[o + 2] = (char)(i + 1 < len ? digit[v >> 6 & 63] : '=');
		out[o + 3] = (char)(i + 2 < len ? digit[v & 63] : '=');
	}
	return json_object_new_string_len(out, (int)out_len);
}

/* The length of the UTF-8 character at s, 0 when there is none. Overlong forms and surrogates pass. */
static size_t utf8_len(const unsigned char *s)
{
	size_t len = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

struct json_object *img_json_text(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	auto_free char *out = malloc(2 * strlen(s) + 1);
	size_t o = 0;

	if (!out)
		return NULL;
	while (*p) {
		size_t len = utf8_len(p);

		if (!len) {
			out[o++] = (char)(0xc0 | *p >> 6);
			out[o++] = (char)(0x80 | (*p++ & 0x3f));
		}
		for (; len; len--)
			out[o++] = (char)*p++;
	}
	return json_object_new_string_len(out, (int)o);
}

static struct json_object *enum_name(const ProtobufCEnumDescriptor *desc, int v)
{
	const ProtobufCEnumValue *e = protobuf_c_enum_descriptor_get_value(desc, v);

	return e ? json_object_new_string(e->name) : json_object_new_int(v);
}

/* One value, which p points to. */
static struct json_object *value(const ProtobufCFieldDescriptor *f, const void *p)
{
	const ProtobufCBinaryData *b = p;

	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_object_new_int(*(const int32_t *)p);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_object_new_int64(*(const int64_t *)p);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_object_new_int64(*(const uint32_t *)p);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_object_new_uint64(*(const uint64_t *)p);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_object_new_double((double)*(const float *)p);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_object_new_double(*(const double *)p);
	case PROTOBUF_C_TYPE_BOOL:
		return json_object_new_boolean(*(const protobuf_c_boolean *)p);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_name(f->descriptor, *(const int *)p);
	case PROTOBUF_C_TYPE_STRING:
		return img_json_text(*(char *const *)p);
	case PROTOBUF_C_TYPE_BYTES:
		return base64(b->data, b->len);
	case PROTOBUF_C_TYPE_MESSAGE:
		return img_to_json(*(ProtobufCMessage *const *)p);
	}
	return NULL;
}

static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 4;
	}
}

static struct json_object *values(const ProtobufCFieldDescriptor *f, const void *p, size_t n)
{
	struct json_object *list = json_object_new_array();
	const char *at = *(char *const *)p;

	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, value(f, at + i * value_size(f->type)));
	return list;
}

static int is_present(const ProtobufCFieldDescriptor *f, const void *p, const void *quantifier)
{
	if (f->label == PROTOBUF_C_LABEL_REQUIRED)
		return (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE) || *(void *const *)p;
	if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(void *const *)p && *(void *const *)p != f->default_value;
	return *(const protobuf_c_boolean *)quantifier;
}

struct json_object *img_to_json(const ProtobufCMessage *msg)
{
	struct json_object *out = json_object_new_object();

	for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
		const char *p = (const char *)msg + f->offset, *quantifier = (const char *)msg + f->quantifier_offset;

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			if (*(const size_t *)quantifier)
				json_object_object_add(out, f->name, values(f, p, *(const size_t *)quantifier));
		} else if (is_present(f, p, quantifier)) {
			json_object_object_add(out, f->name, value(f, p));
		}
	}
	if (msg->n_unknown_fields)
		json_object_object_add(out, "_unknown", json_object_new_int64(msg->n_unknown_fields));
	return out;
}

static struct json_object *entry_to_json(const struct img_msg *m)
{
	struct json_object *entry = img_to_json(m->msg);

	if (m->payload && m->payload_len <= PAYLOAD_SHOWN)
		json_object_object_add(entry, "_payload", base64(m->payload, m->payload_len));
	else if (m->payload_len)
		json_object_object_add(entry, "_payload_len", json_object_new_uint64(m->payload_len));
	return entry;
}

struct json_object *img_msgs_to_json(const struct img_type *t, const struct img_msgs *all)
{
	struct json_object *out = json_object_new_object(), *list = json_object_new_array();
	size_t name_len = strcspn(t->pattern, "%");

	if (t->pattern[name_len])
		name_len--; /* the dash before the number */
	for (size_t i = 0; i < all->n; i++)
		json_object_array_add(list, entry_to_json(&all->v[i]));
	json_object_object_add(out, "image", json_object_new_string_len(t->pattern, (int)name_len));
	json_object_object_add(out, "entries", list);
	return out;
}
