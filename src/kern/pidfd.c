/* SPDX-License-Identifier: Apache-2.0 */
/* pidfds (pidfd.h). Raw system calls: glibc has them only since 2.36. */
#include "kern/pidfd.h"

#include <sys/syscall.h>
#include <unistd.h>

int pidfd_for(pid_t pid)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return err_set(errno, "pidfd_open %d", pid);
	return (int)fd;
}

int pidfd_fetch(int pidfd, int tfd)
{
	long fd = syscall(SYS_pidfd_getfd, pidfd, tfd, 0);

	if (fd < 0)
		return err_set(errno, "pidfd_getfd %d", tfd);
	return (int)fd;
}
