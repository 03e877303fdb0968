/* SPDX-License-Identifier: Apache-2.0 */
/* File locks (locks.h): "1: POSIX  ADVISORY  WRITE 1234 fe:00:10954825 5 14" behind "lock:". */
#include "kern/locks.h"

#include "base/cleanup.h"
#include "kern/procfile.h"

struct word {
	const char *text;
	int value;
};

static const struct word kinds[] = {
	{ "POSIX", LOCK_KIND_POSIX }, { "FLOCK", LOCK_KIND_FLOCK }, { "OFDLCK", LOCK_KIND_OFD },
	{ "LEASE", LOCK_KIND_LEASE }, { "DELEG", LOCK_KIND_DELEG },
};

/* The word before the access; breaking leases are the only ones that matter. */
static const struct word states[] = {
	{ "ADVISORY", 0 }, { "MANDATORY", 0 }, { "*NOINODE*", 0 }, { "MSNFS", 0 },
	{ "ACTIVE", 0 }, { "BREAKER", 0 }, { "BREAKING", 1 },
};

static const struct word accesses[] = {
	{ "READ", LOCK_ACCESS_READ }, { "WRITE", LOCK_ACCESS_WRITE }, { "UNLCK", LOCK_ACCESS_UNLOCK },
	{ "RW", LOCK_ACCESS_WRITE }, { "NONE", LOCK_ACCESS_UNLOCK },
};

static bool scan_one_of(const char **p, const struct word *words, size_t n, int *ret)
{
	for (size_t i = 0; i < n; i++)
		if (scan_word(p, words[i].text)) {
			*ret = words[i].value;
			return true;
		}
	return false;
}

static bool scan_range(const char **p, struct file_lock *l)
{
	if (!scan_u64(p, 10, &l->start))
		return false;
	l->end = INT64_MAX;
	return scan_word(p, "EOF") || scan_u64(p, 10, &l->end);
}

static bool scan_lock(const char *p, struct file_lock *l)
{
	int kind, state, access;
	uint32_t number;

	if (!scan_u32(&p, 10, &number) || !scan_word(&p, ":") || !scan_one_of(&p, kinds, ARRAY_LEN(kinds), &kind) ||
	    !scan_one_of(&p, states, ARRAY_LEN(states), &state) ||
	    !scan_one_of(&p, accesses, ARRAY_LEN(accesses), &access) || !scan_int(&p, &l->pid))
		return false;
	l->kind = (enum lock_kind)kind;
	l->breaking = state;
	l->access = (enum lock_access)access;
	if (!scan_u32(&p, 16, &l->dev_major) || !scan_word(&p, ":") || !scan_u32(&p, 16, &l->dev_minor) ||
	    !scan_word(&p, ":") || !scan_u64(&p, 10, &l->ino))
		return false;
	return scan_range(&p, l);
}

int locks_next(const char **cursor, struct file_lock *ret_lock)
{
	const char *p = fdinfo_next(cursor, "lock:");
	struct file_lock l = { 0 };

	if (!p)
		return 0;
	if (!scan_lock(p, &l))
		return err_say(EINVAL, "a lock line of fdinfo makes no sense");
	*ret_lock = l;
	return 1;
}
