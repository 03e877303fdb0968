/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One image of every type, every field of it set: written and read again it is
 * the same; cut off at every byte or with a bit wrong in any byte it is read or refused
 * with a sentence, and nothing else happens (run under ASan and UBSan).
 *
 * The messages are filled by walking protobuf-c's descriptions, so a new field
 * or type is covered without a line here.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "img/img_json.h"

enum { NESTED_MAX = 3 };

static ProtobufCMessage *message_full(struct arena *a, const ProtobufCMessageDescriptor *desc, int depth);

/* Small numbers: some of them are lengths of payloads. */
static void value_fill(struct arena *a, const ProtobufCFieldDescriptor *f, void *p, int depth)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)p = arena_printf(a, "text %u", f->id);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		*(ProtobufCBinaryData *)p = (ProtobufCBinaryData){ 5, arena_memdup(a, "\0\1\xff" "ab", 5) };
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)p = message_full(a, f->descriptor, depth + 1);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		*(int *)p = ((const ProtobufCEnumDescriptor *)f->descriptor)->values[0].value;
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)p = 1;
		break;
	default:
		*(uint32_t *)p = strcmp(f->name, "flags") == 0 ? 4 : f->id + 1;
	}
}

static void repeated_fill(struct arena *a, const ProtobufCFieldDescriptor *f, char *msg, int depth)
{
	enum { N = 2, VALUE_LEN_MAX = sizeof(ProtobufCBinaryData) };
	int wide = f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE ||
		    f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_FIXED64;
	size_t step = f->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData) : wide ? 8 : 4;
	char *values = arena_alloc(a, N * VALUE_LEN_MAX);

	for (size_t i = 0; i < N; i++)
		value_fill(a, f, values + i * step, depth);
	*(char **)(msg + f->offset) = values;
	*(size_t *)(msg + f->quantifier_offset) = N;
}

static ProtobufCMessage *message_full(struct arena *a, const ProtobufCMessageDescriptor *desc, int depth)
{
	char *msg = arena_alloc(a, desc->sizeof_message);

	desc->message_init((ProtobufCMessage *)msg);
	for (unsigned i = 0; i < desc->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &desc->fields[i];

		if (f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REQUIRED && depth >= NESTED_MAX)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			repeated_fill(a, f, msg, depth);
			continue;
		}
		value_fill(a, f, msg + f->offset, depth);
		if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
		    f->type != PROTOBUF_C_TYPE_MESSAGE)
			*(protobuf_c_boolean *)(msg + f->quantifier_offset) = 1;
	}
	return (ProtobufCMessage *)msg;
}

static void entry_add(struct arena *a, const struct img_type *t, const ProtobufCMessageDescriptor *desc,
		      struct img_msg *v, size_t *n)
{
	struct img_msg *m = &v[(*n)++];
	uint8_t *payload;

	m->msg = message_full(a, desc, 0);
	m->payload_len = img_payload_len(t, m->msg);
	payload = arena_alloc(a, m->payload_len);
	memset(payload, 'p', m->payload_len);
	m->payload = m->payload_len ? payload : NULL;
}

/* Entries as the type's kind wants them. */
static size_t entries_full(struct arena *a, const struct img_type *t, struct img_msg v[static 8])
{
	size_t n = 0;

	if (t->kind == IMG_KIND_PAGEMAP)
		entry_add(a, t, &pagemap_head__descriptor, v, &n);
	entry_add(a, t, t->desc, v, &n);
	if (t->kind == IMG_KIND_GHOST)
		entry_add(a, t, &ghost_chunk_entry__descriptor, v, &n);
	else if (t->kind == IMG_KIND_IPC_MSG)
		for (uint32_t i = 0; i < ((IpcMsgEntry *)v[0].msg)->qnum; i++)
			entry_add(a, t, &ipc_msg__descriptor, v, &n);
	else if (t->kind != IMG_KIND_ONE && t->kind != IMG_KIND_TCP)
		entry_add(a, t, t->desc, v, &n);
	return n;
}

/* The file of this type with these entries, as bytes. */
static uint8_t *bytes_of(int dirfd, struct arena *a, const struct img_type *t, const struct img_msg *v, size_t n,
			 size_t *ret_len)
{
	char name[IMG_NAME_LEN];
	auto_close int fd = -1;
	uint8_t *buf;
	struct stat st;

	if (img_write_all(dirfd, t->id, 1, v, n) < 0)
		fail_msg("%s", err_text());
	fd = img_open(dirfd, t->id, 1);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	buf = arena_alloc(a, (size_t)st.st_size);
	assert_int_equal(io_pread(fd, buf, (size_t)st.st_size, 0), st.st_size);
	unlinkat(dirfd, img_name(name, t->id, 1), 0);
	*ret_len = (size_t)st.st_size;
	return buf;
}

/* A copy of exactly len bytes, so that ASan sees a read behind its end. What is read can also be shown and packed. */
static void parse_any(const struct img_type *t, const uint8_t *bytes, size_t len)
{
	auto_free uint8_t *copy = malloc(len ? len : 1);
	struct arena *a = arena_new();
	struct img_msgs all;

	memcpy(copy, bytes, len);
	err_clear();
	if (img_parse(t, "it", copy, len, a, &all) < 0) {
		assert_true(strncmp(err_text(), "it: ", 4) == 0);
	} else {
		json_object_put(img_msgs_to_json(t, &all));
		for (size_t i = 0; i < all.n; i++)
			assert_true(protobuf_c_message_get_packed_size(all.v[i].msg) < 10 * len + 1000);
	}
	arena_free(a);
}

static void damage_all(const struct img_type *t, uint8_t *bytes, size_t len)
{
	for (size_t cut = 0; cut < len; cut++)
		parse_any(t, bytes, cut);
	for (size_t i = 0; i < len; i++) {
		uint8_t was = bytes[i];

		bytes[i] = (uint8_t)(was ^ 1 << i % 8);
		parse_any(t, bytes, len);
		bytes[i] = 0xff;
		parse_any(t, bytes, len);
		bytes[i] = was;
	}
}

static void test_type(const struct img_type *t, int dirfd)
{
	struct arena *a = arena_new();
	struct img_msg v[8] = { 0 };
	struct img_msgs all;
	size_t n = entries_full(a, t, v), len, again_len;
	uint8_t *bytes = bytes_of(dirfd, a, t, v, n, &len), *again;

	if (img_parse(t, t->pattern, bytes, len, a, &all) < 0)
		fail_msg("%s", err_text());
	assert_int_equal(all.n, n);
	again = bytes_of(dirfd, a, t, all.v, all.n, &again_len);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, bytes, len);
	damage_all(t, bytes, len);
	arena_free(a);
}

static void test_all_types(void **state)
{
	char path[] = "/tmp/thaw-img-damage-XXXXXX";
	auto_close int dirfd = open(mkdtemp(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	for (size_t id = 0; id < IMG_COUNT; id++)
		if (img_type((enum img_id)id)->desc)
			test_type(img_type((enum img_id)id), dirfd);
	rmdir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_all_types) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
