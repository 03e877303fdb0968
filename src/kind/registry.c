/* SPDX-License-Identifier: Apache-2.0 */
/* All kinds. A row here is what hooks a kind into dump, restore and show. */
#include "kind/registry.h"

/*
 * The first that matches a descriptor dumps it. finish() runs in this order, too: unix sockets
 * come first, because what is in flight in them becomes known only there.
 */
const struct kind_fd *const kind_fds[] = {
	&kind_fd_unix,
	&kind_fd_eventfd,
	&kind_fd_timerfd,
	&kind_fd_signalfd,
	&kind_fd_epoll,
	&kind_fd_memfd,
	&kind_fd_pipe,
	&kind_fd_fifo,
	&kind_fd_inet,
	&kind_fd_netlink,
	&kind_fd_sk_other,
	&kind_fd_tty,
	&kind_fd_reg,
	NULL,
};

const struct kind_mem *const kind_mems[] = {
	&kind_mem_vdso,
	&kind_mem_shmem,
	&kind_mem_anon,
	&kind_mem_file,
	NULL,
};

/*
 * The order is that of restore: the thread row first, since its check() says that what the others read is there;
 * identity before chroot hides /proc; pending signals before timers that add to them; limits when nothing grows
 * any more; credentials last.
 */
const struct kind_task *const kind_tasks[] = {
	&kind_task_thread,
	&kind_task_mm,
	&kind_task_identity,
	&kind_task_fs,
	&kind_task_file_locks,
	&kind_task_signal,
	&kind_task_cpu,
	&kind_task_timer,
	&kind_task_rlimit,
	&kind_task_sched,
	&kind_task_creds,
	NULL,
};

const struct kind_fd *kind_fd_of(FdTypes type)
{
	for (size_t i = 0; kind_fds[i]; i++)
		if (kind_fds[i]->type == type)
			return kind_fds[i];
	return NULL;
}

const struct kind_mem *kind_mem_of(const VmaEntry *v)
{
	for (size_t i = 0; kind_mems[i]; i++)
		if (kind_mems[i]->owns(v))
			return kind_mems[i];
	return NULL;
}
