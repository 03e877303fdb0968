/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/status (proc.h): one row per line that we want, in the kernel's order,
 * so that finding the row of a line is one comparison as a rule. Lines that are
 * unknown or missing (older and newer kernels, zombies) are passed over; a known
 * line that makes no sense is an error.
 */
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "kern/proc.h"
#include "kern/procfile.h"

struct status_row {
	const char *key; /* with its colon */
	bool (*take)(const char *p, void *field, struct arena *a);
	size_t field;
};

static bool take_letter(const char *p, void *field, struct arena *a)
{
	(void)a;
	scan_blanks(&p);
	*(char *)field = *p;
	return *p && *p != '\n';
}

static bool take_dec(const char *p, void *field, struct arena *a)
{
	(void)a;
	return scan_int(&p, field);
}

static bool take_kb(const char *p, void *field, struct arena *a)
{
	(void)a;
	return scan_u64(&p, 10, field);
}

static bool take_hex(const char *p, void *field, struct arena *a)
{
	(void)a;
	return scan_u64(&p, 16, field);
}

static bool take_bool(const char *p, void *field, struct arena *a)
{
	int v;

	(void)a;
	if (!scan_int(&p, &v))
		return false;
	*(bool *)field = v != 0;
	return true;
}

static bool take_ids4(const char *p, void *field, struct arena *a)
{
	uint32_t *id = field;

	(void)a;
	return scan_u32(&p, 10, &id[0]) && scan_u32(&p, 10, &id[1]) && scan_u32(&p, 10, &id[2]) &&
	       scan_u32(&p, 10, &id[3]);
}

static bool take_ns_ids(const char *p, void *field, struct arena *a)
{
	struct proc_ids *ids = field;

	(void)a;
	for (ids->n = 0; ids->n < PROC_NS_LEVELS && scan_int(&p, &ids->id[ids->n]);)
		ids->n++;
	return ids->n > 0;
}

static bool take_umask(const char *p, void *field, struct arena *a)
{
	struct proc_status *s = field;

	(void)a;
	s->has_umask = scan_u32(&p, 8, &s->umask);
	return s->has_umask;
}

static bool take_groups(const char *p, void *field, struct arena *a)
{
	struct proc_status *s = field;
	const char *at = p;
	uint32_t gid;
	size_t n = 0;

	while (scan_u32(&at, 10, &gid))
		n++;
	s->groups = arena_alloc(a, n * sizeof(gid));
	for (s->n_groups = 0; s->n_groups < n && scan_u32(&p, 10, &s->groups[s->n_groups]);)
		s->n_groups++;
	scan_blanks(&p);
	return *p == '\n';
}

/* "shstk wrss ", or nothing; kernels without shadow stacks have no such line. */
static bool take_features(const char *p, void *field, struct arena *a)
{
	(void)a;
	*(bool *)field = scan_word(&p, "shstk");
	return true;
}

#define ROW(key, take, field) { key ":", take, offsetof(struct proc_status, field) }

static const struct status_row rows[] = {
	{ "Umask:", take_umask, 0 },
	ROW("State", take_letter, state),
	ROW("Tgid", take_dec, tgid),
	ROW("Pid", take_dec, pid),
	ROW("PPid", take_dec, ppid),
	ROW("TracerPid", take_dec, tracer_pid),
	ROW("Uid", take_ids4, uid),
	ROW("Gid", take_ids4, gid),
	{ "Groups:", take_groups, 0 },
	ROW("NStgid", take_ns_ids, nstgid),
	ROW("NSpid", take_ns_ids, nspid),
	ROW("NSpgid", take_ns_ids, nspgid),
	ROW("NSsid", take_ns_ids, nssid),
	ROW("VmLck", take_kb, vm_lck_kb),
	ROW("VmRSS", take_kb, vm_rss_kb),
	ROW("THP_enabled", take_dec, thp_enabled),
	ROW("Threads", take_dec, threads),
	ROW("SigPnd", take_hex, sig_pnd),
	ROW("ShdPnd", take_hex, shd_pnd),
	ROW("SigBlk", take_hex, sig_blk),
	ROW("SigIgn", take_hex, sig_ign),
	ROW("SigCgt", take_hex, sig_cgt),
	ROW("CapInh", take_hex, cap[PROC_CAP_INH]),
	ROW("CapPrm", take_hex, cap[PROC_CAP_PRM]),
	ROW("CapEff", take_hex, cap[PROC_CAP_EFF]),
	ROW("CapBnd", take_hex, cap[PROC_CAP_BND]),
	ROW("CapAmb", take_hex, cap[PROC_CAP_AMB]),
	ROW("NoNewPrivs", take_bool, no_new_privs),
	ROW("Seccomp", take_dec, seccomp),
	ROW("Seccomp_filters", take_dec, seccomp_filters),
	ROW("x86_Thread_features", take_features, shadow_stack),
};

/* The row of this line, *next being where to look first and, after a hit, where the following line's may be. */
static const struct status_row *row_find(const char *line, size_t *next)
{
	for (size_t tried = 0; tried < ARRAY_LEN(rows); tried++) {
		const struct status_row *row = &rows[(*next + tried) % ARRAY_LEN(rows)];

		/* nearly every line that is not the next row is one that no row wants */
		if (row->key[0] != line[0] || strncmp(line, row->key, strlen(row->key)) != 0)
			continue;
		*next = (size_t)(row - rows) + 1;
		return row;
	}
	return NULL;
}

int proc_status_read(int proc_fd, pid_t tid, struct arena *a, struct proc_status *ret_status)
{
	struct proc_status s = { .thp_enabled = -1 };
	size_t next = 0;
	int r;
	AUTO_PROCFILE(file);

	r = procfile_read(&file, proc_fd, tid, "status");
	if (r < 0)
		return r;
	for (const char *p = file.text; *p; p = scan_line(p)) {
		const struct status_row *row = row_find(p, &next);

		if (row && !row->take(p + strlen(row->key), (char *)&s + row->field, a))
			return err_say(EINVAL, "status: the line \"%s\" makes no sense", row->key);
	}
	if (!s.pid || !s.tgid || !s.state)
		return err_say(EINVAL, "status: no Pid, Tgid or State");
	*ret_status = s;
	return 0;
}
