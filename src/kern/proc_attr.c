/* SPDX-License-Identifier: Apache-2.0 */
/* What a task carries besides stat and status: one small file of /proc each (proc.h). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "kern/proc.h"
#include "kern/procfile.h"

int proc_auxv(int proc_fd, struct arena *a, uint64_t **ret_words, size_t *ret_n)
{
	int r;
	AUTO_PROCFILE(file);

	r = procfile_read(&file, proc_fd, 0, "auxv");
	if (r < 0)
		return r;
	*ret_n = file.len / (2 * sizeof(uint64_t)) * 2;
	*ret_words = arena_memdup(a, file.text, *ret_n * sizeof(uint64_t));
	return 0;
}

int proc_oom_score_adj(int proc_fd, int *ret_adj)
{
	const char *p;
	int r;
	AUTO_PROCFILE(file);

	r = procfile_read(&file, proc_fd, 0, "oom_score_adj");
	if (r < 0)
		return r;
	p = file.text;
	return scan_int(&p, ret_adj) ? 0 : err_say(EINVAL, "oom_score_adj is no number");
}

int proc_loginuid(int proc_fd, uint32_t *ret_uid)
{
	const char *p;
	int r;
	AUTO_PROCFILE(file);

	/* without audit there is no such file; a task that is gone must still fail */
	if (faccessat(proc_fd, "loginuid", F_OK, 0) < 0 && errno == ENOENT && !faccessat(proc_fd, "stat", F_OK, 0)) {
		*ret_uid = UINT32_MAX;
		return 0;
	}
	r = procfile_read(&file, proc_fd, 0, "loginuid");
	if (r < 0)
		return r;
	p = file.text;
	return scan_u32(&p, 10, ret_uid) ? 0 : err_say(EINVAL, "loginuid is no number");
}

static int read_hex(int proc_fd, const char *name, uint32_t *ret)
{
	const char *p;
	int r;
	AUTO_PROCFILE(file);

	r = procfile_read(&file, proc_fd, 0, name);
	if (r < 0)
		return r;
	p = file.text;
	return scan_u32(&p, 16, ret) ? 0 : err_say(EINVAL, "%s is no number", name);
}

int proc_personality(int proc_fd, uint32_t *ret_personality)
{
	return read_hex(proc_fd, "personality", ret_personality);
}

int proc_coredump_filter(int proc_fd, uint32_t *ret_filter)
{
	return read_hex(proc_fd, "coredump_filter", ret_filter);
}

static bool scan_notify(const char **p, struct proc_timer *t)
{
	if (scan_word(p, "signal/"))
		t->notify = SIGEV_SIGNAL;
	else if (scan_word(p, "none/"))
		t->notify = SIGEV_NONE;
	else if (scan_word(p, "thread/"))
		t->notify = SIGEV_THREAD;
	else
		return false;
	/* SIGEV_THREAD_ID is a bit on top of SIGEV_SIGNAL (0) in the kernel */
	if (scan_word(p, "tid."))
		t->notify |= SIGEV_THREAD_ID;
	else if (!scan_word(p, "pid."))
		return false;
	return scan_int(p, &t->tid);
}

static bool scan_timer(const char **p, struct proc_timer *t)
{
	if (!scan_word(p, "ID:") || !scan_int(p, &t->id))
		return false;
	*p = scan_line(*p);
	if (!scan_word(p, "signal:") || !scan_int(p, &t->signo) || !scan_word(p, "/") || !scan_u64(p, 16, &t->sival))
		return false;
	*p = scan_line(*p);
	if (!scan_word(p, "notify:") || !scan_notify(p, t))
		return false;
	*p = scan_line(*p);
	if (!scan_word(p, "ClockID:") || !scan_int(p, &t->clockid))
		return false;
	*p = scan_line(*p);
	return true;
}

int proc_timers(int proc_fd, struct arena *a, struct proc_timer **ret_timers, size_t *ret_n)
{
	size_t lines = 0, n = 0;
	struct proc_timer *t;
	const char *p;
	int r;
	AUTO_PROCFILE(file);

	r = procfile_read(&file, proc_fd, 0, "timers");
	if (r < 0)
		return r;
	for (p = file.text; *p; p = scan_line(p))
		lines++;
	t = arena_alloc(a, (lines / 4 + 1) * sizeof(*t));
	for (p = file.text; *p; n++)
		if (n > lines / 4 || !scan_timer(&p, &t[n]))
			return err_say(EINVAL, "timers: timer %zu makes no sense", n);
	*ret_timers = t;
	*ret_n = n;
	return 0;
}

const char *const proc_ns_names[PROC_NSES] = {
	[PROC_NS_CGROUP] = "cgroup", [PROC_NS_IPC] = "ipc",   [PROC_NS_MNT] = "mnt",
	[PROC_NS_NET] = "net",       [PROC_NS_PID] = "pid",   [PROC_NS_PID_CHILDREN] = "pid_for_children",
	[PROC_NS_TIME] = "time",     [PROC_NS_TIME_CHILDREN] = "time_for_children",
	[PROC_NS_USER] = "user",     [PROC_NS_UTS] = "uts",
};

int proc_namespaces(int proc_fd, pid_t tid, uint64_t ret_ino[PROC_NSES])
{
	for (int i = 0; i < PROC_NSES; i++) {
		char path[64], target[64];
		const char *p = target;
		ssize_t n;

		snprintf(path, sizeof(path), tid ? "task/%2$d/ns/%1$s" : "ns/%s", proc_ns_names[i], tid);
		n = readlinkat(proc_fd, path, target, sizeof(target) - 1);
		ret_ino[i] = 0;
		if (n < 0 && errno == ENOENT && i != PROC_NS_MNT)
			continue;
		if (n < 0)
			return err_set(errno, "readlink %s", path);
		target[n] = 0;
		p = strchr(target, '[');
		p = p ? p + 1 : target;
		if (!scan_u64(&p, 10, &ret_ino[i]))
			return err_say(EINVAL, "%s: \"%s\" makes no sense", path, target);
	}
	return 0;
}
