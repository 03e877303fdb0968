/* SPDX-License-Identifier: Apache-2.0 */
/* How many CPUs this process may use: its affinity, and the quota of the control groups it is in. */
#ifndef KERN_CPUS_H
#define KERN_CPUS_H

/* At least 1; what cannot be found out does not limit. */
unsigned cpus_usable(void);
/*
 * The quota, in CPUs, rounded up; 0: none. rootfd: where the control groups are mounted (/sys/fs/cgroup). own: what
 * /proc/self/cgroup says.
 */
unsigned cpus_quota(int rootfd, const char *own);

#endif
