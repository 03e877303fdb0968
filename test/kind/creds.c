/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of threads that went different ways, and a child with a parent-death signal. */
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "subject.h"

struct creds {
	unsigned uid[3], gid[3], groups[8];
	int ngroups, fsuid, fsgid, securebits, no_new_privs;
	struct __user_cap_data_struct cap[2];
	unsigned long long bounding, ambient;
};

static pthread_barrier_t before, after;

/* As the thread has them: libc would ask or change all threads. */
static struct creds creds(void)
{
	struct creds c = { 0 };
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };

	syscall(SYS_getresuid, &c.uid[0], &c.uid[1], &c.uid[2]);
	syscall(SYS_getresgid, &c.gid[0], &c.gid[1], &c.gid[2]);
	c.fsuid = (int)syscall(SYS_setfsuid, -1);
	c.fsgid = (int)syscall(SYS_setfsgid, -1);
	c.ngroups = (int)syscall(SYS_getgroups, 8, c.groups);
	c.securebits = prctl(PR_GET_SECUREBITS);
	c.no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	CHECK(!syscall(SYS_capget, &h, c.cap), "capget");
	for (unsigned i = 0; i < 64; i++) {
		c.bounding |= (unsigned long long)(prctl(PR_CAPBSET_READ, i) == 1) << i;
		c.ambient |= (unsigned long long)(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1) << i;
	}
	return c;
}

static void capset(unsigned eff, unsigned prm, unsigned inh)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { { eff, prm, inh } };

	CHECK(!syscall(SYS_capset, &h, d), "capset");
}

static void become_user(void)
{
	unsigned groups[3] = { 5, 3, 77777 };

	CHECK(!syscall(SYS_setgroups, 3, groups), "setgroups");
	CHECK(!syscall(SYS_setresgid, 1000, 1001, 1002), "setresgid");
	syscall(SYS_setfsgid, 1000);
	CHECK(!syscall(SYS_setresuid, 2000, 2001, 2002), "setresuid");
}

static void fs_user(void)
{
	syscall(SYS_setfsuid, 4242);
	syscall(SYS_setfsgid, 4243);
}

static void few_caps(void)
{
	unsigned kill_net = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;

	CHECK(!prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT), "drop from the bounding set");
	CHECK(!prctl(PR_CAPBSET_DROP, CAP_SYS_TIME), "drop from the bounding set");
	capset(~0u & ~(1u << CAP_SYS_RESOURCE), ~0u & ~(1u << CAP_SYS_RESOURCE), kill_net);
	CHECK(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), "raise an ambient capability");
	CHECK(!prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_KEEP_CAPS_LOCKED), "securebits");
	capset(1u << CAP_KILL, kill_net, kill_net);
}

static void user_with_caps(void)
{
	CHECK(!prctl(PR_SET_KEEPCAPS, 1), "keep capabilities");
	CHECK(!syscall(SYS_setresuid, 3000, 3000, 3000), "setresuid");
	CHECK(!prctl(PR_SET_KEEPCAPS, 0), "keep capabilities");
	capset(1u << CAP_NET_RAW, 1u << CAP_NET_RAW | 1u << CAP_CHOWN, 0);
}

static void no_new_privs(void)
{
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

static void nothing(void)
{
}

static void (*const ways[])(void) = { become_user, fs_user, few_caps, user_with_caps, no_new_privs, nothing };
enum { THREADS = sizeof(ways) / sizeof(*ways) };

static void *thread(void *arg)
{
	size_t i = (size_t)arg;
	struct creds was, is;

	ways[i]();
	was = creds();
	pthread_barrier_wait(&before);
	pthread_barrier_wait(&after);
	is = creds();
	CHECK(!memcmp(&was, &is, sizeof(is)), "the credentials of thread %zu", i);
	return NULL;
}

/* Waits for a byte, and tells by its exit code. */
static pid_t child_start(int *ret_pipe)
{
	int p[2];
	pid_t pid;

	CHECK(!pipe(p), "pipe");
	pid = fork();
	if (!pid) {
		int sig = 0;
		char c;

		close(p[1]);
		CHECK(!setresgid(6, 6, 6) && !setresuid(6, 6, 6), "become somebody");
		CHECK(!prctl(PR_SET_PDEATHSIG, SIGKILL), "parent-death signal");
		(void)!read(p[0], &c, 1);
		prctl(PR_GET_PDEATHSIG, &sig);
		_exit(sig != SIGKILL ? 2 : getuid() != 6 ? 3 : prctl(PR_GET_DUMPABLE) ? 4 : 0);
	}
	close(p[0]);
	*ret_pipe = p[1];
	return pid;
}

int main(void)
{
	pthread_t th[THREADS];
	int status, fd;
	pid_t child = child_start(&fd);

	pthread_barrier_init(&before, NULL, THREADS + 1);
	pthread_barrier_init(&after, NULL, THREADS + 1);
	for (size_t i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&th[i], NULL, thread, (void *)i), "create a thread");
	pthread_barrier_wait(&before);
	CHECK(!prctl(PR_SET_DUMPABLE, 1), "dumpable");

	subject_ready();

	CHECK(prctl(PR_GET_DUMPABLE) == 1, "dumpable: %d", prctl(PR_GET_DUMPABLE));
	pthread_barrier_wait(&after);
	for (size_t i = 0; i < THREADS; i++)
		CHECK(!pthread_join(th[i], NULL), "join");
	CHECK(write(fd, "", 1) == 1, "tell the child");
	CHECK(waitpid(child, &status, 0) == child && !status, "the child: status %x", (unsigned)status);
	return 0;
}
