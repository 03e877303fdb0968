/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing credentials without losing, half-way, the right to change the rest.
 *
 * The order:
 *   groups, group IDs       while CAP_SETGID is there
 *   user IDs                with SECBIT_NO_SETUID_FIXUP set, or the kernel would take
 *                           the capabilities away with user 0
 *   bounding set            CAP_SETPCAP
 *   ambient capabilities    each must be permitted and inheritable first
 *   securebits              CAP_SETPCAP; may forbid all of the above from here on
 *   no_new_privs
 *   permitted, effective, inheritable: last, this is what takes the rights away
 *
 * Only what differs is emitted: most trees run with thaw's own credentials, and a
 * thread's program must stay short when there are a thousand of them.
 */
#include "kind/creds_change.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REAL, EFFECTIVE, SAVED, FSID };

int creds_own(struct arena *a, struct creds *ret)
{
	struct proc_status s;
	int securebits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0), fd = proc_open(getpid()), r;

	if (fd < 0)
		return fd;
	r = proc_status_read(fd, 0, a, &s);
	close(fd);
	if (r < 0)
		return r;
	*ret = (struct creds){ .groups = s.groups, .ngroups = s.n_groups, .no_new_privs = s.no_new_privs };
	memcpy(ret->uid, s.uid, sizeof(ret->uid));
	memcpy(ret->gid, s.gid, sizeof(ret->gid));
	memcpy(ret->cap, s.cap, sizeof(ret->cap));
	ret->securebits = securebits < 0 ? 0 : (uint32_t)securebits;
	return 0;
}

static uint64_t caps_of(const uint32_t *v, size_t n)
{
	return (n > 0 ? v[0] : 0) | (n > 1 ? (uint64_t)v[1] << 32 : 0);
}

int creds_of_entry(const CredsEntry *e, struct creds *ret)
{
	*ret = (struct creds){
		.uid = { e->uid, e->euid, e->suid, e->fsuid },
		.gid = { e->gid, e->egid, e->sgid, e->fsgid },
		.groups = e->groups,
		.ngroups = e->n_groups,
		.securebits = e->secbits,
		.no_new_privs = e->has_no_new_privs && e->no_new_privs,
		.cap = {
			[PROC_CAP_INH] = caps_of(e->cap_inh, e->n_cap_inh),
			[PROC_CAP_PRM] = caps_of(e->cap_prm, e->n_cap_prm),
			[PROC_CAP_EFF] = caps_of(e->cap_eff, e->n_cap_eff),
			[PROC_CAP_BND] = caps_of(e->cap_bnd, e->n_cap_bnd),
			[PROC_CAP_AMB] = caps_of(e->cap_amb, e->n_cap_amb),
		},
	};
	if (e->n_groups > 65536)
		return err_say(EINVAL, "the image has %zu supplementary groups", e->n_groups);
	return 0;
}

int creds_check(const struct creds *own, const struct creds *want)
{
	uint64_t held = want->cap[PROC_CAP_PRM] | want->cap[PROC_CAP_EFF] | want->cap[PROC_CAP_AMB];
	uint64_t missing = held & ~own->cap[PROC_CAP_PRM];

	if (missing)
		return err_say(EPERM, "it holds capabilities 0x%" PRIx64 " that thaw does not hold and cannot give", missing);
	missing = want->cap[PROC_CAP_INH] & ~(own->cap[PROC_CAP_INH] | own->cap[PROC_CAP_BND]);
	if (missing)
		return err_say(EPERM, "its inheritable capabilities 0x%" PRIx64 " are not in thaw's bounding set", missing);
	if (own->no_new_privs && !want->no_new_privs)
		return err_say(EPERM, "thaw itself runs with no_new_privs, which it cannot take back for others");
	return 0;
}

static bool same_groups(const struct creds *a, const struct creds *b)
{
	return a->ngroups == b->ngroups &&
	       (!a->ngroups || !memcmp(a->groups, b->groups, a->ngroups * sizeof(*a->groups)));
}

static void emit_groups(const struct creds *now, const struct creds *want, struct prog *p)
{
	if (!same_groups(now, want)) {
		prog_label(p, "set %zu supplementary groups", want->ngroups);
		prog_sys(p, SYS_setgroups, want->ngroups,
			 want->ngroups ? prog_data(p->space, want->groups, want->ngroups * sizeof(*want->groups)) : 0);
	}
	if (memcmp(now->gid, want->gid, sizeof(want->gid)) == 0)
		return;
	prog_label(p, "set group ID %u", want->gid[EFFECTIVE]);
	prog_sys(p, SYS_setresgid, want->gid[REAL], want->gid[EFFECTIVE], want->gid[SAVED]);
	if (want->gid[FSID] != want->gid[EFFECTIVE])
		prog_sys(p, SYS_setfsgid, want->gid[FSID]);
}

static void emit_securebits(uint32_t *now, uint32_t want, struct prog *p)
{
	if (*now == want)
		return;
	prog_label(p, "set securebits 0x%x", want);
	prog_sys(p, SYS_prctl, PR_SET_SECUREBITS, want);
	*now = want;
}

static void emit_users(const struct creds *now, const struct creds *want, uint32_t *securebits, struct prog *p)
{
	if (memcmp(now->uid, want->uid, sizeof(want->uid)) == 0)
		return;
	/* without the right to set it there are no capabilities to lose that matter */
	if (now->cap[PROC_CAP_EFF] & 1u << CAP_SETPCAP)
		emit_securebits(securebits, *securebits | SECBIT_NO_SETUID_FIXUP, p);
	prog_label(p, "set user ID %u", want->uid[EFFECTIVE]);
	prog_sys(p, SYS_setresuid, want->uid[REAL], want->uid[EFFECTIVE], want->uid[SAVED]);
	if (want->uid[FSID] != want->uid[EFFECTIVE])
		prog_sys(p, SYS_setfsuid, want->uid[FSID]);
}

static void emit_bounding(const struct creds *now, const struct creds *want, struct prog *p)
{
	uint64_t drop = now->cap[PROC_CAP_BND] & ~want->cap[PROC_CAP_BND];

	prog_label(p, "reduce the bounding set");
	for (uint64_t cap = 0; drop; cap++, drop >>= 1)
		if (drop & 1)
			prog_sys(p, SYS_prctl, PR_CAPBSET_DROP, cap);
}

static void emit_capset(uint64_t inh, uint64_t prm, uint64_t eff, struct prog *p)
{
	const struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{ (uint32_t)eff, (uint32_t)prm, (uint32_t)inh },
		{ (uint32_t)(eff >> 32), (uint32_t)(prm >> 32), (uint32_t)(inh >> 32) },
	};

	prog_label(p, "set capabilities");
	prog_sys(p, SYS_capset, prog_data(p->space, &head, sizeof(head)), prog_data(p->space, data, sizeof(data)));
}

static void emit_ambient(const struct creds *now, const struct creds *want, struct prog *p)
{
	uint64_t raise = want->cap[PROC_CAP_AMB], prm = now->cap[PROC_CAP_PRM];

	if (now->cap[PROC_CAP_AMB] == raise)
		return;
	if (raise)
		emit_capset(want->cap[PROC_CAP_INH], prm, prm, p);
	prog_label(p, "set ambient capabilities");
	prog_sys(p, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (uint64_t cap = 0; raise; cap++, raise >>= 1)
		if (raise & 1)
			prog_sys(p, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

static bool same_caps(const struct creds *a, const struct creds *b)
{
	return a->cap[PROC_CAP_INH] == b->cap[PROC_CAP_INH] && a->cap[PROC_CAP_PRM] == b->cap[PROC_CAP_PRM] &&
	       a->cap[PROC_CAP_EFF] == b->cap[PROC_CAP_EFF] && a->cap[PROC_CAP_AMB] == b->cap[PROC_CAP_AMB];
}

static bool same_creds(const struct creds *a, const struct creds *b)
{
	return !memcmp(a->uid, b->uid, sizeof(a->uid)) && !memcmp(a->gid, b->gid, sizeof(a->gid)) &&
	       same_groups(a, b) && same_caps(a, b) && !(a->cap[PROC_CAP_BND] & ~b->cap[PROC_CAP_BND]) &&
	       a->securebits == b->securebits && a->no_new_privs == b->no_new_privs;
}

bool creds_emit(const struct creds *own, const struct creds *want, struct prog *p)
{
	uint32_t securebits = own->securebits;

	if (same_creds(own, want))
		return false;
	emit_groups(own, want, p);
	emit_users(own, want, &securebits, p);
	emit_bounding(own, want, p);
	emit_ambient(own, want, p);
	emit_securebits(&securebits, want->securebits, p);
	if (want->no_new_privs && !own->no_new_privs) {
		prog_label(p, "set no_new_privs");
		prog_sys(p, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	}
	/* always when user IDs may have taken some away */
	if (!same_caps(own, want) || memcmp(own->uid, want->uid, sizeof(own->uid)) != 0)
		emit_capset(want->cap[PROC_CAP_INH], want->cap[PROC_CAP_PRM], want->cap[PROC_CAP_EFF], p);
	return true;
}
