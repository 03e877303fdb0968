/* SPDX-License-Identifier: Apache-2.0 */
/* Why a task cannot be seized (seize_refuse.h). */
#include "kern/seize_refuse.h"

#include "base/cleanup.h"
#include "kern/proc.h"

static int refuse_traced(pid_t tracer, const char *comm, pid_t pid)
{
	char name[PROC_COMM_LEN] = "?";
	auto_close int fd = proc_open(tracer);

	if (fd < 0 || proc_comm_read(fd, 0, name) < 0)
		name[0] = '?';
	return err_say(EBUSY, "task %d (%s) is traced by task %d (%s)", pid, comm, tracer, name);
}

int seize_explain(int proc_fd, pid_t pid, pid_t tid, int seize_error, const struct tracers *crew, struct arena *a,
		  uint8_t *ret_hand)
{
	struct proc_status status;
	struct proc_stat stat;
	int r = proc_stat_read(proc_fd, tid, &stat), hand;

	if (is_gone(r) || (!r && (stat.state == 'Z' || stat.state == 'X')))
		return 0;
	if (r < 0)
		return r;
	if (stat.flags & PROC_KTHREAD)
		return err_say(EINVAL, "task %d (%s) is a kernel thread", pid, stat.comm);
	r = proc_status_read(proc_fd, tid, a, &status);
	if (r < 0)
		return is_gone(r) ? 0 : r;
	hand = tracers_find(crew, status.tracer_pid);
	if (hand >= 0) {
		*ret_hand = (uint8_t)hand;
		return 1;
	}
	if (status.tracer_pid)
		return refuse_traced(status.tracer_pid, stat.comm, pid);
	return err_set(-seize_error, "task %d (%s): stop thread %d by ptrace", pid, stat.comm, tid);
}

int seize_check_root(pid_t root)
{
	pid_t pid = getpid();

	while (pid > 0 && pid != root) {
		struct proc_stat stat;
		auto_close int fd = proc_open(pid);
		int r = fd < 0 ? fd : proc_stat_read(fd, 0, &stat);

		if (r < 0)
			return is_gone(r) ? 0 : r;
		pid = stat.ppid;
	}
	if (pid != root)
		return 0;
	return err_say(EINVAL, "task %d is thaw itself or one of its ancestors, which cannot be stopped from inside",
		       root);
}

int seize_late(pid_t tid, uint64_t timeout_ns)
{
	unsigned int ms = (unsigned int)(timeout_ns / 1000000);
	struct proc_stat stat;
	auto_close int fd = proc_open(tid); /* works for threads, too */
	int r = fd < 0 ? fd : proc_stat_read(fd, tid, &stat);

	if (r < 0)
		return err_say(ETIMEDOUT, "thread %d did not stop within %u ms", tid, ms);
	return err_say(ETIMEDOUT, "task %d (%s) did not stop within %u ms: it is in state %c%s", tid, stat.comm, ms,
		       stat.state, stat.state == 'D' ? ", waiting inside the kernel" : "");
}
