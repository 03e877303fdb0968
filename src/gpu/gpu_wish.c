/* SPDX-License-Identifier: Apache-2.0 */
/* The words behind --gpu-keep (gpu_wish.h). */
#include "gpu/gpu_wish.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int bad(const char *text)
{
	return err_say(EINVAL, "--gpu-keep: '%s' is not SIZE,SECONDS (a number of bytes, or with K, M or G; then 1 to %d seconds)",
		       text, GPU_WISH_SECONDS_MOST);
}

/* A number and perhaps its unit at *p, which steps behind them. */
static bool size_scan(const char **p, uint64_t *ret)
{
	static const char unit[] = "KMG";
	char *end;
	unsigned long long n;
	int shift = 0;

	if (!isdigit((unsigned char)**p))
		return false;
	errno = 0;
	n = strtoull(*p, &end, 10);
	if (*end && strchr(unit, toupper((unsigned char)*end)))
		shift = 10 * (int)(strchr(unit, toupper((unsigned char)*end++)) - unit + 1);
	*p = end;
	*ret = (uint64_t)n << shift;
	return !errno && n && n <= (uint64_t)INT64_MAX >> shift;
}

static int text_parse(const char *text, struct gpu_wish *ret)
{
	const char *p = text;
	long seconds;
	char *end;

	if (*p != ',' && !size_scan(&p, &ret->bytes))
		return bad(text);
	if (!*p)
		return 0;
	if (*p++ != ',' || !isdigit((unsigned char)*p))
		return bad(text);
	errno = 0;
	seconds = strtol(p, &end, 10);
	if (errno || *end || seconds < 1 || seconds > GPU_WISH_SECONDS_MOST)
		return bad(text);
	ret->seconds = (uint32_t)seconds;
	return 0;
}

int gpu_wish_parse(const struct opt_list *given, struct gpu_wish *ret)
{
	*ret = (struct gpu_wish){ .seconds = given->any || given->n ? GPU_WISH_SECONDS : 0 };
	return given->n ? text_parse(given->item[given->n - 1], ret) : 0;
}
