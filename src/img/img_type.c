/* SPDX-License-Identifier: Apache-2.0 */
/* The table of image types (proto/images.tbl) and the names of their files. */
#include "img/img_type.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct img_type types[] = {
#define IMG(id_, name, magic_, message, kind_)                                                     \
	[IMG_##id_] = { .id = IMG_##id_, .kind = IMG_KIND_##kind_, .pattern = name, .magic = magic_, \
			.desc = &message##__descriptor },
#define IMG_RAW(id_, name) [IMG_##id_] = { .id = IMG_##id_, .kind = IMG_KIND_RAW, .pattern = name },
#include "../../proto/images.tbl"
#undef IMG
#undef IMG_RAW
};

const struct img_type *img_type(enum img_id id)
{
	return &types[id];
}

const struct img_type *img_type_by_magic(uint32_t magic)
{
	for (size_t i = 0; i < IMG_COUNT; i++)
		if (types[i].desc && types[i].magic == magic)
			return &types[i];
	return NULL;
}

uint32_t img_head_magic(enum img_id id)
{
	switch (id) {
	case IMG_INVENTORY:
		return 0;
	case IMG_STATS_DUMP:
	case IMG_STATS_RESTORE:
	case IMG_IRMAP_CACHE:
		return IMG_MAGIC_SERVICE;
	default:
		return types[id].desc ? IMG_MAGIC_COMMON : 0;
	}
}

const char *img_name(char name[static IMG_NAME_LEN], enum img_id id, uint64_t num)
{
	const char *pat = types[id].pattern, *at = strchr(pat, '%');
	/* statistics are no part of a snapshot: their files go without the suffix */
	const char *suffix = id == IMG_STATS_DUMP || id == IMG_STATS_RESTORE ? "" : ".img";

	if (!at)
		snprintf(name, IMG_NAME_LEN, "%s%s", pat, suffix);
	else if (at[1] == 'x')
		snprintf(name, IMG_NAME_LEN, "%.*s%lx%s.img", (int)(at - pat), pat, num, at + 2);
	else
		snprintf(name, IMG_NAME_LEN, "%.*s%lu%s.img", (int)(at - pat), pat, num, at + 2);
	return name;
}

/* The number that the name must have if it is of this type at all; the caller compares the names. */
static uint64_t number_in(const struct img_type *t, const char *file)
{
	const char *at = strchr(t->pattern, '%');
	size_t prefix_len = at ? (size_t)(at - t->pattern) : 0;

	if (!at || strncmp(file, t->pattern, prefix_len) != 0)
		return 0;
	return strtoull(file + prefix_len, NULL, at[1] == 'x' ? 16 : 10);
}

const struct img_type *img_type_by_file(const char *file, uint64_t *ret_num)
{
	char name[IMG_NAME_LEN];

	for (size_t i = 0; i < IMG_COUNT; i++) {
		uint64_t num = number_in(&types[i], file);

		if (strcmp(img_name(name, types[i].id, num), file) == 0) {
			*ret_num = num;
			return &types[i];
		}
	}
	return NULL;
}
