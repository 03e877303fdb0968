/* SPDX-License-Identifier: Apache-2.0 */
/* The rows that registry.c lists, one per kind's file. */
#ifndef KIND_REGISTRY_H
#define KIND_REGISTRY_H

#include "kind/kind.h"

extern const struct kind_fd kind_fd_epoll, kind_fd_eventfd, kind_fd_fifo, kind_fd_inet, kind_fd_memfd, kind_fd_netlink,
	kind_fd_pipe, kind_fd_reg, kind_fd_signalfd, kind_fd_sk_other, kind_fd_timerfd, kind_fd_tty, kind_fd_unix;

extern const struct kind_mem kind_mem_anon, kind_mem_file, kind_mem_shmem, kind_mem_vdso;

extern const struct kind_task kind_task_cpu, kind_task_creds, kind_task_file_locks, kind_task_fs, kind_task_identity,
	kind_task_mm, kind_task_rlimit, kind_task_sched, kind_task_signal, kind_task_thread, kind_task_timer;

#endif
