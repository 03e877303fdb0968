/* SPDX-License-Identifier: Apache-2.0 */
/* What kern/proc.h reads of tasks, on children of our own; no root. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "child.h"
#include "kern/proc.h"

static int setup(void **state)
{
	*state = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

static void nasty_name(void *arg, int ready)
{
	prctl(PR_SET_NAME, arg);
	child_ready(ready);
}

static void names_cannot_fool_stat(void **state)
{
	static const char *const names[] = { ") Z 1 1 1 1", "a\nb) R 7", "(((", "))))", "" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		pid_t pid = child_start(nasty_name, (void *)(uintptr_t)names[i]);
		int fd = proc_open(pid);
		char comm[PROC_COMM_LEN];
		struct proc_stat s;

		assert_true(fd >= 0);
		assert_int_equal(proc_stat_read(fd, 0, &s), 0);
		assert_string_equal(s.comm, names[i]);
		assert_int_equal(s.pid, pid);
		assert_int_equal(s.ppid, getpid());
		assert_int_equal(s.session, getsid(0));
		assert_int_equal(s.num_threads, 1);
		assert_true(s.state == 'S' || s.state == 'R');
		assert_true(s.start_stack_va && s.arg_start_va < s.arg_end_va);
		assert_int_equal(s.exit_code, 0);
		assert_int_equal(proc_comm_read(fd, pid, comm), 0);
		assert_string_equal(comm, names[i]);
		child_end(pid);
		assert_true(proc_stat_read(fd, 0, &s) < 0);
		close(fd);
	}
}

static void zombie(void *arg, int ready)
{
	child_ready(ready);
	_exit((int)(intptr_t)arg);
}

static void zombies_tell_their_exit_code(void **state)
{
	pid_t pid = child_start(zombie, (void *)42);
	int fd = proc_open(pid);
	struct proc_status st;
	struct proc_stat s;
	siginfo_t si;

	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	assert_int_equal(proc_stat_read(fd, 0, &s), 0);
	assert_int_equal(s.state, 'Z');
	assert_int_equal(s.exit_code, 42 << 8);
	assert_int_equal(proc_status_read(fd, 0, *state, &st), 0);
	assert_int_equal(st.state, 'Z');
	assert_false(st.has_umask);
	close(fd);
	child_end(pid);
}

static void busy_status(void *arg, int ready)
{
	sigset_t set;

	(void)arg;
	umask(0123);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR2);
	kill(getpid(), SIGRTMIN);
	child_ready(ready);
}

#define SIGBIT(s) (UINT64_C(1) << ((s) - 1))

static void status_has_it_all(void **state)
{
	pid_t pid = child_start(busy_status, NULL);
	int fd = proc_open(pid), n = getgroups(0, NULL);
	struct proc_status s;

	assert_int_equal(proc_status_read(fd, pid, *state, &s), 0);
	assert_int_equal(s.pid, pid);
	assert_int_equal(s.tgid, pid);
	assert_int_equal(s.ppid, getpid());
	assert_int_equal(s.tracer_pid, 0);
	assert_int_equal(s.uid[1], geteuid());
	assert_int_equal(s.gid[3], getegid());
	assert_int_equal(s.n_groups, n);
	assert_true(s.nspid.n >= 1);
	assert_int_equal(s.nspid.id[0], pid);
	assert_int_equal(s.nssid.id[0], getsid(0));
	assert_int_equal(s.threads, 1);
	assert_true(s.has_umask);
	assert_int_equal(s.umask, 0123);
	assert_true(s.no_new_privs);
	assert_int_equal(s.seccomp, prctl(PR_GET_SECCOMP));
	assert_true(s.sig_ign & SIGBIT(SIGUSR1));
	assert_true((s.sig_blk & SIGBIT(SIGUSR2)) && (s.sig_blk & SIGBIT(SIGRTMIN)));
	assert_true(s.sig_pnd & SIGBIT(SIGUSR2));
	assert_true(s.shd_pnd & SIGBIT(SIGRTMIN));
	assert_true(s.cap[PROC_CAP_BND] != 0);
	close(fd);
	child_end(pid);
}

static void family(void *arg, int ready)
{
	(void)arg;
	for (int i = 0; i < 9; i++)
		child_thread(child_idle, NULL);
	for (int i = 0; i < 5; i++)
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(ready); /* the reader wants to see one byte from one writer */
			child_wait();
		}
	child_ready(ready);
}

static void threads_and_children_are_listed(void **state)
{
	pid_t pid = child_start(family, NULL), *tids, *kids = NULL;
	int fd = proc_open(pid);
	size_t n, n_kids = 0;
	struct proc_stat s;

	assert_int_equal(proc_threads(fd, *state, &tids, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(tids[0], pid);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(proc_stat_read(fd, tids[i], &s), 0);
		assert_int_equal(s.pid, tids[i]);
		assert_int_equal(proc_children(fd, tids[i], *state, &kids, &n_kids), 0);
	}
	assert_int_equal(n_kids, 5);
	n_kids = 0;
	kids = NULL;
	assert_int_equal(proc_offspring(fd, pid, tids, n, *state, &kids, &n_kids), 0);
	assert_int_equal(n_kids, 5);
	for (size_t i = 0; i < n_kids; i++)
		kill(kids[i], SIGKILL);
	close(fd);
	child_end(pid);
}

/* Many threads: the way by a scan of /proc is taken, and finds the same. */
static void crowd(void *arg, int ready)
{
	for (int i = 0; i < 600; i++)
		child_thread(child_idle, NULL);
	family(arg, ready);
}

static void a_crowd_has_the_same_children(void **state)
{
	pid_t pid = child_start(crowd, NULL), *tids, *a = NULL, *b = NULL;
	size_t n, n_a = 0, n_b = 0;
	int fd = proc_open(pid);

	assert_int_equal(proc_threads(fd, *state, &tids, &n), 0);
	assert_int_equal(n, 610);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(proc_children(fd, tids[i], *state, &a, &n_a), 0);
	assert_int_equal(proc_offspring(fd, pid, tids, n, *state, &b, &n_b), 0);
	assert_int_equal(n_a, 5);
	assert_int_equal(n_b, 5);
	for (size_t i = 0; i < n_a; i++) {
		assert_int_equal(a[i], b[i]);
		kill(a[i], SIGKILL);
	}
	close(fd);
	child_end(pid);
}

static void with_timers(void *arg, int ready)
{
	struct sigevent sev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3 };
	struct itimerspec in_an_hour = { .it_value.tv_sec = 3600 };
	timer_t t;

	(void)arg;
	sev.sigev_value.sival_ptr = (void *)0x1234abcd;
	timer_create(CLOCK_MONOTONIC, &sev, &t);
	timer_settime(t, 0, &in_an_hour, NULL);
	sev = (struct sigevent){ .sigev_notify = SIGEV_NONE };
	timer_create(CLOCK_REALTIME, &sev, &t);
	sev = (struct sigevent){ .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	sev._sigev_un._tid = gettid();
	timer_create(CLOCK_BOOTTIME, &sev, &t);
	child_ready(ready);
}

static void timers_are_told(void **state)
{
	pid_t pid = child_start(with_timers, NULL);
	int fd = proc_open(pid), seen = 0;
	struct proc_timer *t;
	size_t n;

	assert_int_equal(proc_timers(fd, *state, &t, &n), 0);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++) {
		if (t[i].clockid == CLOCK_MONOTONIC) {
			assert_int_equal(t[i].signo, SIGRTMIN + 3);
			assert_int_equal(t[i].sival, 0x1234abcd);
			assert_int_equal(t[i].notify, SIGEV_SIGNAL);
			seen |= 1;
		} else if (t[i].clockid == CLOCK_REALTIME) {
			assert_int_equal(t[i].notify, SIGEV_NONE);
			seen |= 2;
		} else if (t[i].clockid == CLOCK_BOOTTIME) {
			assert_int_equal(t[i].notify, SIGEV_THREAD_ID);
			assert_int_equal(t[i].tid, pid);
			seen |= 4;
		}
	}
	assert_int_equal(seen, 7);
	close(fd);
	child_end(pid);
}

static void small_files_are_read(void **state)
{
	uint64_t *auxv, ns[PROC_NSES], page = 0;
	uint32_t personality, uid;
	int fd = proc_open(getpid()), adj, exe;
	struct stat a, b;
	char *link;
	size_t n;

	assert_int_equal(proc_auxv(fd, *state, &auxv, &n), 0);
	for (size_t i = 0; i + 1 < n; i += 2)
		if (auxv[i] == AT_PAGESZ)
			page = auxv[i + 1];
	assert_int_equal(page, 4096);
	assert_int_equal(auxv[n - 2], AT_NULL);
	assert_int_equal(proc_oom_score_adj(fd, &adj), 0);
	assert_int_equal(proc_loginuid(fd, &uid), 0);
	assert_int_equal(proc_personality(fd, &personality), 0);
	assert_int_equal(proc_link(fd, "cwd", *state, &link), 0);
	assert_int_equal(stat(link, &a), 0);
	assert_int_equal(stat(".", &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	exe = proc_link_open(fd, "exe", O_PATH);
	assert_true(exe >= 0);
	close(exe);
	assert_int_equal(proc_namespaces(fd, 0, ns), 0);
	assert_int_equal(stat("/proc/self/ns/net", &a), 0);
	assert_int_equal(ns[PROC_NS_NET], a.st_ino);
	assert_int_equal(proc_namespaces(fd, gettid(), ns), 0);
	assert_int_equal(ns[PROC_NS_NET], a.st_ino);
	close(fd);
}

static void the_dead_are_gone(void **state)
{
	pid_t pid = child_start(nasty_name, "x"), *tids;
	int fd = proc_open(pid), r;
	struct proc_status s;
	size_t n;

	child_end(pid);
	r = proc_status_read(fd, 0, *state, &s);
	assert_true(r == -ESRCH || r == -ENOENT);
	r = proc_threads(fd, *state, &tids, &n);
	assert_true(r == -ESRCH || r == -ENOENT);
	assert_int_equal(proc_open(pid), -ENOENT);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_cannot_fool_stat, setup, teardown),
		cmocka_unit_test_setup_teardown(zombies_tell_their_exit_code, setup, teardown),
		cmocka_unit_test_setup_teardown(status_has_it_all, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_and_children_are_listed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_crowd_has_the_same_children, setup, teardown),
		cmocka_unit_test_setup_teardown(timers_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(small_files_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(the_dead_are_gone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
