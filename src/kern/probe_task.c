/* SPDX-License-Identifier: Apache-2.0 */
/* Probes of privileges and process calls (probe.h). */
#include <cpuid.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kern/probe.h"

/* Newer than the headers thaw builds with (Debian 12: Linux 6.1). */
enum { TIMER_RESTORE_IDS = 77, TIMER_RESTORE_IDS_GET = 2 };
enum { MAP_VDSO_64 = 0x2003, RSEQ_UNREGISTERED = 0 };

static uint64_t caps_effective(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &head, data) < 0)
		return 0;
	return (uint64_t)data[1].effective << 32 | data[0].effective;
}

int probe_cap_any(uint64_t wanted, char *note)
{
	(void)note;
	return caps_effective() & wanted ? 0 : -EPERM;
}

int probe_cap_all(uint64_t wanted, char *note)
{
	(void)note;
	return (caps_effective() & wanted) == wanted ? 0 : -EPERM;
}

/* Asks for a PID that is taken, our own: EEXIST comes after the check for the right to ask, and no process is made. */
int probe_clone3_set_tid(uint64_t arg, char *note)
{
	pid_t taken = getpid();
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&taken, .set_tid_size = 1 };
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	(void)arg;
	(void)note;
	if (pid == 0)
		_exit(0);
	return pid > 0 || errno == EEXIST ? 0 : -errno;
}

int probe_pidfd_open(uint64_t arg, char *note)
{
	auto_close int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	(void)arg;
	(void)note;
	return fd < 0 ? -errno : 0;
}

int probe_pidfd_getfd(uint64_t arg, char *note)
{
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	auto_close int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, pidfd, 0);

	(void)arg;
	(void)note;
	return fd < 0 ? -errno : 0;
}

int probe_kcmp_file(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0) < 0 ? -errno : 0;
}

int probe_proc_children(uint64_t arg, char *note)
{
	auto_close int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);

	(void)arg;
	(void)note;
	return fd < 0 ? -errno : 0;
}

int probe_prctl_tid_address(uint64_t arg, char *note)
{
	int *address;

	(void)arg;
	(void)note;
	return prctl(PR_GET_TID_ADDRESS, &address, 0, 0, 0) < 0 ? -errno : 0;
}

int probe_prctl_set_mm(uint64_t arg, char *note)
{
	unsigned size;

	(void)arg;
	(void)note;
	return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) < 0 ? -errno : 0;
}

/* A process that has a vDSO gets no second one: EEXIST, where a kernel without the call says EINVAL. */
int probe_map_vdso(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	if (syscall(SYS_arch_prctl, MAP_VDSO_64, 0) >= 0 || errno == EEXIST)
		return 0;
	return -errno;
}

/* Flags that do not exist are refused with EINVAL, and ENOSYS says that the call does not exist. */
int probe_rseq_call(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	if (syscall(SYS_rseq, NULL, 0, ~RSEQ_UNREGISTERED, 0) < 0 && errno == ENOSYS)
		return -ENOSYS;
	return 0;
}

int probe_prctl_timer_ids(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return prctl(TIMER_RESTORE_IDS, TIMER_RESTORE_IDS_GET, 0, 0, 0) < 0 ? -errno : 0;
}

int probe_timerfd_ticks(uint64_t arg, char *note)
{
	auto_close int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t ticks = 1;

	(void)arg;
	(void)note;
	return fd < 0 || ioctl(fd, _IOW('T', 0, uint64_t), &ticks) < 0 ? -errno : 0;
}

int probe_ns_time(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return access("/proc/self/ns/time_for_children", F_OK) < 0 ? -errno : 0;
}

static uint64_t xcr0_read(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

/* Names the state components that the kernel switched on in XCR0, and how large a frame with all of them is. */
int probe_xsave_states(uint64_t arg, char *note)
{
	static const struct { uint64_t mask; const char *name; } state[] = {
		{ 1 << 0, "x87" }, { 1 << 1, "SSE" }, { 1 << 2, "AVX" }, { 3 << 3, "MPX" }, { 7 << 5, "AVX-512" },
		{ 1 << 9, "PKRU" }, { 3 << 17, "AMX" }, { 1 << 19, "APX" },
	};
	unsigned a, b, c, d;
	uint64_t on;
	size_t len = 0;

	(void)arg;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return -ENODEV;
	on = xcr0_read();
	for (size_t i = 0; i < ARRAY_LEN(state); i++)
		if ((on & state[i].mask) == state[i].mask)
			len += (size_t)snprintf(note + len, FEATURE_NOTE_LEN - len, "%s ", state[i].name);
	if (__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
		snprintf(note + len, FEATURE_NOTE_LEN - len, "(%u bytes)", b);
	return 0;
}
