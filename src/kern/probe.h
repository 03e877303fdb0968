/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probes behind feature.def. Each tries one thing on thaw itself and undoes it.
 * Returns 0 or -errno without a trail; may put its own words into note (FEATURE_NOTE_LEN bytes, empty at the call).
 */
#ifndef KERN_PROBE_H
#define KERN_PROBE_H

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include "base/err.h"
#include "kern/feature.h"

/* arg: as in the row. */
typedef int probe_fn(uint64_t arg, char *note);

/* struct pm_scan_arg and PAGEMAP_SCAN of linux/fs.h, which Debian 12's headers (Linux 6.1) lack. */
struct probe_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, all, any, want;
};
#define PROBE_SCAN_IOCTL _IOWR('f', 16, struct probe_scan)

/* probe_task.c */
probe_fn probe_cap_any, probe_cap_all, probe_clone3_set_tid, probe_pidfd_open, probe_pidfd_getfd, probe_kcmp_file,
	probe_proc_children, probe_prctl_tid_address, probe_prctl_set_mm, probe_map_vdso, probe_rseq_call,
	probe_prctl_timer_ids, probe_timerfd_ticks, probe_ns_time, probe_xsave_states;

/* probe_ptrace.c */
probe_fn probe_ptrace_seize, probe_ptrace_peeksiginfo, probe_ptrace_rseq, probe_ptrace_syscall_info,
	probe_ptrace_seccomp;

/* probe_mem.c */
probe_fn probe_vm_readv, probe_pagemap_scan_ioctl, probe_procmap_query, probe_map_files_open, probe_memfd_make,
	probe_soft_dirty, probe_madvise_page, probe_madvise_known, probe_cachestat_call, probe_mseal_call,
	probe_thp_mode, probe_uring_setup;

/* probe_uffd.c */
probe_fn probe_uffd_open, probe_uffd_move, probe_uffd_wp_async;

/* probe_sock.c */
probe_fn probe_sock_diag_dump, probe_tcp_repair, probe_tun_device;

#endif
