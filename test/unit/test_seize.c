/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping process trees (kern/seize.h): trees of our own children; no root. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#include <cmocka.h>

#include "base/trace.h"
#include "child.h"
#include "kern/seize.h"

struct shared { /* between the test and its children */
	atomic_long turns[64];
	atomic_int quit;
};

static struct shared *storm;
static unsigned hands; /* tracers */

static struct shared *shared_new(void)
{
	void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

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

static const struct seize_task *task_of(const struct seize *s, pid_t pid)
{
	for (size_t i = 0; i < s->n_tasks; i++)
		if (s->tasks[i]->pid == pid)
			return s->tasks[i];
	return NULL;
}

static char state_of(pid_t pid)
{
	int fd = proc_open(pid);
	struct proc_stat s = { .state = '?' };

	if (fd >= 0) {
		assert_int_equal(proc_stat_read(fd, 0, &s), 0);
		close(fd);
	}
	return s.state;
}

/* Until the task is in that state; the test's alarm ends it otherwise. */
static void await_state(pid_t pid, char state)
{
	while (state_of(pid) != state)
		usleep(1000);
}

static void *count(void *arg)
{
	atomic_long *n = arg;

	for (;;)
		atomic_fetch_add(n, 1);
	return NULL;
}

/* --- a quiet tree ------------------------------------------------------------------------------- */

static void grow(int depth, int width)
{
	for (int i = 0; i < width && depth; i++)
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			grow(depth - 1, width);
			atomic_fetch_add(&storm->turns[0], 1);
			child_wait();
		}
}

static void family(void *arg, int ready)
{
	(void)arg;
	for (int i = 0; i < 7; i++)
		child_thread(child_idle, NULL);
	if (!fork())
		_exit(3); /* a zombie: nobody waits */
	grow(2, 4);
	while (atomic_load(&storm->turns[0]) < 4 + 16)
		usleep(1000);
	child_ready(ready);
}

static void a_tree_is_stopped_and_let_go(void **state)
{
	size_t zombies = 0;
	struct seize *s;
	pid_t pid;

	storm = shared_new();
	pid = child_start(family, NULL);
	await_state(pid, 'S');
	for (int round = 0; round < 20; round++) {
		assert_int_equal(seize_tree(pid, 0, hands, *state, &s), 0);
		assert_int_equal(s->n_tasks, 1 + 1 + 4 + 16);
		assert_int_equal(s->n_threads, 8 + 4 + 16);
		assert_int_equal(s->tasks[0]->pid, pid);
		assert_int_equal(s->tasks[0]->n_tids, 8);
		assert_int_equal(s->tasks[0]->tids[0], pid);
		assert_int_equal(s->tasks[0]->ppid, getpid());
		zombies = 0;
		for (size_t i = 0; i < s->n_tasks; i++) {
			const struct seize_task *t = s->tasks[i];

			assert_true(!i || task_of(s, t->ppid) == t->parent);
			if (t->state == SEIZE_ZOMBIE) {
				zombies++;
				assert_int_equal(t->exit_code, 3 << 8);
				assert_int_equal(t->n_tids, 0);
				continue;
			}
			assert_int_equal(t->state, SEIZE_ALIVE);
			assert_int_equal(state_of(t->pid), 't');
		}
		assert_int_equal(zombies, 1);
		seize_release(s, 0);
		await_state(pid, 'S');
	}
	child_end(pid);
}

static void killing_ends_all(void **state)
{
	pid_t pid, kid = 0;
	struct seize *s;

	storm = shared_new();
	pid = child_start(family, NULL);
	assert_int_equal(seize_tree(pid, 0, hands, *state, &s), 0);
	for (size_t i = 1; i < s->n_tasks; i++)
		if (s->tasks[i]->state != SEIZE_ZOMBIE)
			kid = s->tasks[i]->pid;
	seize_release(s, SIGKILL);
	assert_int_equal(state_of(pid), '?'); /* reaped as its tracer, which was its parent as well */
	assert_true(state_of(kid) == 'Z' || state_of(kid) == '?');
}

/* --- group stops -------------------------------------------------------------------------------- */

static void with_threads(void *arg, int ready)
{
	(void)arg;
	for (int i = 0; i < 3; i++)
		child_thread(child_idle, NULL);
	child_ready(ready);
}

static void the_stopped_stay_stopped(void **state)
{
	pid_t pid = child_start(with_threads, NULL);
	struct seize *s;
	int status;

	kill(pid, SIGTSTP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP);
	for (int round = 0; round < 20; round++) {
		assert_int_equal(seize_tree(pid, 0, hands, *state, &s), 0);
		assert_int_equal(s->tasks[0]->state, SEIZE_STOPPED);
		assert_int_equal(s->tasks[0]->stop_sig, SIGTSTP);
		assert_int_equal(s->n_threads, 4);
		seize_release(s, 0);
		await_state(pid, 'T');
		/* and its parent hears of no second stop */
		assert_int_equal(waitpid(pid, &status, WUNTRACED | WNOHANG), 0);
	}
	kill(pid, SIGCONT);
	await_state(pid, 'S');
	child_end(pid);
}

static void the_tree_can_be_left_stopped(void **state)
{
	pid_t pid = child_start(with_threads, NULL);
	struct seize *s;
	int status;

	assert_int_equal(seize_tree(pid, 0, hands, *state, &s), 0);
	assert_int_equal(s->tasks[0]->state, SEIZE_ALIVE);
	seize_release(s, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	kill(pid, SIGCONT);
	await_state(pid, 'S');
	child_end(pid);
}

/* --- moving targets ----------------------------------------------------------------------------- */

/* turns[0]: the leader's, turns[1]: its worker's, which makes another thread when turns[2] says so. */
static void *worker(void *arg)
{
	struct shared *s = arg;
	pthread_t t;

	for (atomic_store(&s->turns[3], gettid());; atomic_fetch_add(&s->turns[1], 1))
		if (atomic_exchange(&s->turns[2], 0)) {
			pthread_create(&t, NULL, child_idle, NULL);
			atomic_store(&s->turns[4], 1);
		}
	return NULL;
}

static void with_worker(void *arg, int ready)
{
	struct shared *s = arg;
	pthread_t t;

	pthread_create(&t, NULL, worker, s);
	while (!atomic_load(&s->turns[3]))
		;
	child_ready(ready);
	for (;;)
		atomic_fetch_add(&s->turns[0], 1);
}

/* One thread runs, is sent on from signals, makes a thread; the others stand; then all of them stand. */
static void one_thread_may_run(void **state)
{
	struct shared *s = shared_new();
	pid_t pid = child_start(with_worker, s), tid = (pid_t)atomic_load(&s->turns[3]);
	long leader, own;
	struct seize *z;

	assert_int_equal(seize_tree(pid, 0, 1, *state, &z), 0);
	assert_int_equal(z->n_threads, 2);
	leader = atomic_load(&s->turns[0]);
	own = atomic_load(&s->turns[1]);
	assert_int_equal(seize_let_run(z, pid + 1000000, false), -ESRCH);
	assert_int_equal(seize_let_run(z, tid, false), 0);
	assert_int_equal(seize_let_run(z, tid, false), -ESRCH); /* it runs already */
	atomic_store(&s->turns[2], 1);
	while (!atomic_load(&s->turns[4]) || atomic_load(&s->turns[1]) < own + 100)
		assert_true(seize_tend(z, tid) >= 0);
	assert_int_equal(seize_again(z, z->tasks[0]), 0);
	assert_int_equal(z->n_threads, 3);
	assert_int_equal(z->tasks[0]->n_tids, 3);
	own = atomic_load(&s->turns[1]);
	usleep(20000);
	assert_int_equal(atomic_load(&s->turns[1]), own);
	assert_int_equal(atomic_load(&s->turns[0]), leader);
	seize_release(z, 0);
	while (atomic_load(&s->turns[0]) == leader || atomic_load(&s->turns[1]) == own)
		;
	child_end(pid);
	munmap(s, sizeof(*s));
}

static void *short_thread(void *arg)
{
	(void)arg;
	atomic_fetch_add(&storm->turns[0], 1);
	return NULL;
}

static void thread_storm(void *arg, int ready)
{
	(void)arg;
	for (int i = 0; i < 20; i++)
		child_thread(child_idle, NULL);
	child_ready(ready);
	while (!atomic_load(&storm->quit)) {
		pthread_t t[8];

		for (int i = 0; i < 8; i++)
			if (pthread_create(&t[i], NULL, short_thread, NULL))
				_exit(5);
		for (int i = 0; i < 8; i++)
			pthread_join(t[i], NULL);
	}
	_exit(0);
}

static void fork_storm(void *arg, int ready)
{
	(void)arg;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	child_ready(ready);
	while (!atomic_load(&storm->quit)) {
		pid_t kid = fork();

		if (!kid) { /* double forks, whose orphans come back to the root */
			if (!fork()) {
				atomic_fetch_add(&storm->turns[0], 1);
				_exit(0);
			}
			_exit(0);
		}
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	_exit(0);
}

static const char *storm_parent; /* the test, as a number */

static void exec_storm(void *arg, int ready)
{
	char pid[16];

	(void)arg;
	snprintf(pid, sizeof(pid), "%d", getppid());
	child_ready(ready);
	/* execs out of a thread: the leader is replaced each time */
	execl("/proc/self/exe", "test_seize", "exec-storm", pid, NULL);
	_exit(6);
}

static void *exec_again(void *arg)
{
	(void)arg;
	execl("/proc/self/exe", "test_seize", "exec-storm", storm_parent, NULL);
	_exit(6);
}

/* The wish to die with the test is the old leader's, and lost with it: the test may have ended since. */
static int exec_storm_main(const char *parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != atoi(parent))
		return 0;
	storm_parent = parent;
	for (int i = 0; i < 3; i++)
		child_thread(child_idle, NULL);
	child_thread(exec_again, NULL);
	child_wait();
	return 0;
}

/* Everything in the tree stands while it is held: nothing counts on. */
static void hold_and_check(struct arena *a, pid_t pid, int rounds)
{
	for (int round = 0; round < rounds; round++) {
		struct seize *s;
		long before;

		if (seize_tree(pid, 0, hands, a, &s) < 0)
			fail_msg("%s", err_text());
		before = atomic_load(&storm->turns[0]);
		for (size_t i = 0; i < s->n_tasks; i++) {
			const struct seize_task *t = s->tasks[i];
			pid_t *tids;
			size_t n;

			if (t->state == SEIZE_ZOMBIE)
				continue;
			assert_int_equal(proc_threads(t->proc_fd, a, &tids, &n), 0);
			assert_int_equal(n, t->n_tids);
			for (size_t k = 0; k < n; k++) {
				pid_t *kids = NULL;
				size_t n_kids = 0;
				struct proc_stat stat;

				assert_int_equal(proc_stat_read(t->proc_fd, tids[k], &stat), 0);
				assert_int_equal(stat.state, 't');
				assert_int_equal(proc_children(t->proc_fd, tids[k], a, &kids, &n_kids), 0);
				for (size_t c = 0; c < n_kids; c++)
					if (!task_of(s, kids[c]))
						fail_msg("%d, child of thread %d of %d, in state %c, is not held",
							 kids[c], tids[k], t->pid, state_of(kids[c]));
			}
		}
		usleep(200);
		assert_int_equal(atomic_load(&storm->turns[0]), before);
		seize_release(s, 0);
		usleep(500);
	}
}

static void no_thread_escapes(void **state)
{
	pid_t pid;
	int status;

	storm = shared_new();
	pid = child_start(thread_storm, NULL);
	hold_and_check(*state, pid, 150);
	atomic_store(&storm->quit, 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(atomic_load(&storm->turns[0]) > 0);
}

static void no_child_escapes(void **state)
{
	pid_t pid;
	int status;

	storm = shared_new();
	pid = child_start(fork_storm, NULL);
	hold_and_check(*state, pid, 150);
	atomic_store(&storm->quit, 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(atomic_load(&storm->turns[0]) > 0);
}

static void an_exec_does_not_confuse(void **state)
{
	pid_t pid;

	storm = shared_new();
	pid = child_start(exec_storm, NULL);
	hold_and_check(*state, pid, 60);
	child_end(pid);
}

/* --- signals ------------------------------------------------------------------------------------ */

static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&storm->turns[0], 1);
}

static void signal_taker(void *arg, int ready)
{
	sigset_t set, old;

	(void)arg;
	signal(SIGRTMIN, on_signal);
	child_thread(child_idle, NULL);
	child_thread(count, &storm->turns[1]);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	child_ready(ready);
	while (atomic_load(&storm->turns[0]) < 4000) {
		sigprocmask(SIG_BLOCK, &set, &old);
		sigprocmask(SIG_SETMASK, &old, NULL);
	}
	_exit(7);
}

static void *signal_sender(void *arg)
{
	const pid_t pid = *(pid_t *)arg;
	union sigval v = { 0 };

	for (int i = 0; i < 4000;) {
		if (!sigqueue(pid, SIGRTMIN, v))
			i++;
		else
			usleep(100);
	}
	return NULL;
}

static void no_signal_is_lost(void **state)
{
	pthread_t sender;
	pid_t pid;
	int status;

	storm = shared_new();
	pid = child_start(signal_taker, NULL);
	pthread_create(&sender, NULL, signal_sender, &pid);
	for (int round = 0; round < 300; round++) {
		struct seize *s;

		if (seize_tree(pid, 0, hands, *state, &s) < 0)
			break; /* it has had all and is on its way out */
		seize_release(s, 0);
	}
	pthread_join(sender, NULL);
	if (waitpid(pid, &status, 0) == pid) /* else the last seize reaped it, as its tracer */
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	assert_int_equal(atomic_load(&storm->turns[0]), 4000);
}

/* --- refusals ----------------------------------------------------------------------------------- */

static void refusals_name_the_reason(void **state)
{
	pid_t pid = child_start(with_threads, NULL), tracer, root;
	char text[64];
	struct seize *s;
	int status, p[2];

	assert_int_equal(seize_tree(getpid(), 0, hands, *state, &s), -EINVAL);
	assert_int_equal(seize_tree(getppid() ? getppid() : 1, 0, hands, *state, &s), -EINVAL);
	assert_int_equal(seize_tree(0, 0, hands, *state, &s), -EINVAL);
	assert_int_equal(seize_tree(0x7ffffff0, 0, hands, *state, &s), -ESRCH);
	assert_non_null(strstr(err_text(), "there is no task"));

	assert_int_equal(pipe(p), 0);
	tracer = fork();
	if (!tracer) { /* not the parent of pid: may lack the right to trace it */
		char c = ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 ? 'n' : 'y';

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(p[1], &c, 1) != 1)
			_exit(1);
		child_wait();
	}
	assert_int_equal(read(p[0], text, 1), 1);
	if (text[0] == 'y') {
		assert_int_equal(seize_tree(pid, 0, hands, *state, &s), -EBUSY);
		snprintf(text, sizeof(text), "is traced by task %d", tracer);
		assert_non_null(strstr(err_text(), text));
	}
	child_end(tracer);
	close(p[0]);
	close(p[1]);
	await_state(pid, 'S');
	assert_int_equal(seize_tree(pid, 0, hands, *state, &s), 0);
	seize_release(s, 0);
	kill(pid, SIGKILL);
	await_state(pid, 'Z');
	root = pid;
	assert_int_equal(seize_tree(root, 0, hands, *state, &s), -ESRCH);
	assert_non_null(strstr(err_text(), "has exited"));
	waitpid(pid, &status, 0);
}

static void *leave(void *arg)
{
	int fd = (int)(intptr_t)arg;

	while (state_of(getpid()) != 'Z')
		usleep(1000);
	child_ready(fd);
	child_wait();
	return NULL;
}

static void leaderless(void *arg, int ready)
{
	(void)arg;
	child_thread(leave, (void *)(intptr_t)ready);
	pthread_exit(NULL);
}

static void a_dead_leader_is_refused(void **state)
{
	pid_t pid = child_start(leaderless, NULL);
	struct seize *s;

	assert_int_equal(seize_tree(pid, 0, hands, *state, &s), -ENOTSUP);
	assert_non_null(strstr(err_text(), "first thread"));
	child_end(pid);
}

static void vforker(void *arg, int ready)
{
	(void)arg;
	if (!vfork()) { /* until it execs or exits its parent waits in the kernel, out of reach */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)!write(ready, "", 1);
		for (;;)
			pause();
	}
}

static void what_does_not_stop_is_named(void **state)
{
	pid_t pid = child_start(vforker, NULL);
	uint64_t start = trace_now_ns();
	struct seize *s;
	char text[32];

	await_state(pid, 'D');
	assert_int_equal(seize_tree(pid, 50000000, hands, *state, &s), -ETIMEDOUT);
	assert_true(trace_now_ns() - start < UINT64_C(2000000000));
	snprintf(text, sizeof(text), "task %d (", pid);
	assert_non_null(strstr(err_text(), text));
	assert_non_null(strstr(err_text(), "did not stop within 50 ms"));
	child_end(pid);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_tree_is_stopped_and_let_go, setup, teardown),
		cmocka_unit_test_setup_teardown(killing_ends_all, setup, teardown),
		cmocka_unit_test_setup_teardown(the_stopped_stay_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(the_tree_can_be_left_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(one_thread_may_run, setup, teardown),
		cmocka_unit_test_setup_teardown(no_thread_escapes, setup, teardown),
		cmocka_unit_test_setup_teardown(no_child_escapes, setup, teardown),
		cmocka_unit_test_setup_teardown(an_exec_does_not_confuse, setup, teardown),
		cmocka_unit_test_setup_teardown(no_signal_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals_name_the_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dead_leader_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(what_does_not_stop_is_named, setup, teardown),
	};

	int failed;

	if (argc > 2 && !strcmp(argv[1], "exec-storm"))
		return exec_storm_main(argv[2]);
	alarm(180);
	hands = 1;
	failed = cmocka_run_group_tests_name("one tracer", tests, NULL, NULL);
	hands = 4;
	return failed + cmocka_run_group_tests_name("four tracers", tests, NULL, NULL);
}
