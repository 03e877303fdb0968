/* SPDX-License-Identifier: Apache-2.0 */
/* Words for users (gpu_words.h). */
#include "gpu/gpu_words.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

char *gpu_uuid_text(const uint8_t uuid[GPU_UUID_LEN], char text[GPU_UUID_TEXT])
{
	size_t len = (size_t)snprintf(text, GPU_UUID_TEXT, "GPU-");

	for (size_t i = 0; i < GPU_UUID_LEN; i++)
		len += (size_t)snprintf(text + len, GPU_UUID_TEXT - len, "%s%02x",
					i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
	return text;
}

static int digit(char c)
{
	if (!isxdigit((unsigned char)c))
		return -1;
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* One UUID at *p, which steps behind it. */
static bool uuid_scan(const char **p, uint8_t ret[GPU_UUID_LEN])
{
	const char *s = *p;

	if (!strncmp(s, "GPU-", 4))
		s += 4;
	for (size_t i = 0; i < GPU_UUID_LEN; i++) {
		s += *s == '-' && i;
		if (digit(s[0]) < 0 || digit(s[1]) < 0)
			return false;
		ret[i] = (uint8_t)((unsigned)digit(s[0]) * 16 + (unsigned)digit(s[1]));
		s += 2;
	}
	*p = s;
	return true;
}

static int twice_check(const struct gpu_map *m, const struct gpu_pair *p)
{
	char text[GPU_UUID_TEXT];

	for (size_t i = 0; i < m->n; i++) {
		if (!memcmp(m->pair[i].from, p->from, GPU_UUID_LEN))
			return err_say(EINVAL, "the map of GPUs replaces %s twice", gpu_uuid_text(p->from, text));
		if (!memcmp(m->pair[i].to, p->to, GPU_UUID_LEN))
			return err_say(EINVAL, "the map of GPUs uses %s twice", gpu_uuid_text(p->to, text));
	}
	return 0;
}

int gpu_map_parse(const char *text, struct gpu_map *ret)
{
	const char *p = text;
	struct gpu_map m;
	int r = 0;

	for (m.n = 0; m.n < GPU_MOST && r >= 0; m.n++) {
		struct gpu_pair *pair = &m.pair[m.n];

		if (!uuid_scan(&p, pair->from) || *p++ != '=' || !uuid_scan(&p, pair->to) || (*p && *p != ','))
			return err_say(EINVAL, "the map of GPUs '%s' is not OLD-UUID=NEW-UUID,... (nvidia-smi -L lists UUIDs)", text);
		r = twice_check(&m, pair);
		if (*p++ == 0) {
			m.n++;
			break;
		}
	}
	if (r >= 0 && p[-1])
		return err_say(EINVAL, "the map of GPUs names more than %d GPUs", GPU_MOST);
	if (r >= 0)
		*ret = m;
	return r;
}

const char *gpu_step_name(enum gpu_step step)
{
	static const char *const name[] = { "lock", "checkpoint", "restore", "unlock" };

	return name[step];
}

const char *gpu_state_name(enum gpu_state state)
{
	static const char *const name[] = { "running", "locked", "checkpointed", "failed", "checkpointing",
					    "restoring", "none" };

	return name[state];
}
