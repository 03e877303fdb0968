/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, locks, descriptions and sockets (kern/fdinfo.h, locks.h, kcmp.h, pidfd.h, sockdiag.h); no root. */
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <cmocka.h>

#include "child.h"
#include "kern/fdinfo.h"
#include "kern/kcmp.h"
#include "kern/locks.h"
#include "kern/pidfd.h"
#include "kern/proc.h"
#include "kern/sockdiag.h"

struct fixture {
	struct arena *a;
	int proc_fd;
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	x->a = arena_new();
	x->proc_fd = proc_open(getpid());
	*state = x;
	return x->proc_fd < 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	close(x->proc_fd);
	arena_free(x->a);
	free(x);
	return 0;
}

static struct fdinfo info_of(struct fixture *x, int fd)
{
	struct fdinfo info;

	if (fdinfo_read(x->proc_fd, fd, x->a, &info) < 0)
		fail_msg("%s", err_text());
	assert_int_equal(info.tfd, fd);
	return info;
}

static int temp_file(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 8192), 0);
	return fd;
}

static void common_lines(void **state)
{
	struct fixture *x = *state;
	int fd = temp_file(), dupfd = dup(fd), *tfds;
	struct fdinfo a, b;
	bool seen = false;
	char *target;
	size_t n;

	assert_int_equal(lseek(fd, 4321, SEEK_SET), 4321);
	assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
	a = info_of(x, fd);
	b = info_of(x, dupfd);
	assert_true(a.cloexec);
	assert_false(b.cloexec);
	assert_int_equal(a.pos, 4321);
	assert_int_equal(a.flags, b.flags);
	assert_true((a.flags & O_APPEND) && (a.flags & O_ACCMODE) == O_RDWR && !(a.flags & O_CLOEXEC));
	assert_true(a.mnt_id != 0);
	assert_string_equal(a.rest, "");
	assert_int_equal(fdinfo_list(x->proc_fd, x->a, &tfds, &n), 0);
	for (size_t i = 0; i < n; i++) {
		assert_true(!i || tfds[i - 1] < tfds[i]);
		seen = seen || tfds[i] == dupfd;
	}
	assert_true(seen);
	assert_int_equal(fdinfo_link(x->proc_fd, fd, x->a, &target), 0);
	assert_non_null(strstr(target, "(deleted)"));
	close(fd);
	close(dupfd);
	assert_int_equal(fdinfo_read(x->proc_fd, dupfd, x->a, &a), -ENOENT);
}

static void kinds_are_parsed(void **state)
{
	struct fixture *x = *state;
	int efd = eventfd(77, EFD_SEMAPHORE), tfd = timerfd_create(CLOCK_BOOTTIME, 0), sfd, pfd = pidfd_for(getpid());
	struct itimerspec it = { { 5, 6 }, { 1000, 0 } };
	struct fdinfo_eventfd e;
	struct fdinfo_timerfd t;
	struct fdinfo info;
	sigset_t set;
	uint64_t mask;
	pid_t pid;

	info = info_of(x, efd);
	assert_int_equal(fdinfo_eventfd(&info, &e), 0);
	assert_int_equal(e.count, 77);
	assert_true(!e.has_semaphore || e.semaphore);
	assert_int_equal(fdinfo_timerfd(&info, &t), -EINVAL);

	assert_int_equal(timerfd_settime(tfd, 0, &it, NULL), 0);
	info = info_of(x, tfd);
	assert_int_equal(fdinfo_timerfd(&info, &t), 0);
	assert_int_equal(t.clockid, CLOCK_BOOTTIME);
	assert_int_equal(t.ticks, 0);
	assert_int_equal(t.settime_flags, 0);
	assert_int_equal(t.interval_sec, 5);
	assert_int_equal(t.interval_nsec, 6);
	assert_true(t.value_sec >= 900 && t.value_sec <= 1000);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sfd = signalfd(-1, &set, 0);
	info = info_of(x, sfd);
	assert_int_equal(fdinfo_signalfd(&info, &mask), 0);
	assert_int_equal(mask, UINT64_C(1) << (SIGUSR2 - 1));

	info = info_of(x, pfd);
	assert_int_equal(fdinfo_pidfd(&info, &pid), 0);
	assert_int_equal(pid, getpid());
	close(efd);
	close(tfd);
	close(sfd);
	close(pfd);
}

static void epoll_and_inotify_lines(void **state)
{
	struct fixture *x = *state;
	int ep = epoll_create1(EPOLL_CLOEXEC), p[2], in = inotify_init(), other;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = UINT64_C(0xdeadbeef12345678) };
	struct fdinfo_inotify w;
	struct fdinfo_epoll e;
	struct fdinfo info;
	const char *cursor;
	struct stat st;

	assert_int_equal(pipe(p), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev), 0);
	info = info_of(x, ep);
	cursor = info.rest;
	assert_int_equal(fdinfo_epoll_next(&cursor, &e), 1);
	assert_int_equal(e.tfd, p[0]);
	assert_int_equal(e.events & ~(uint32_t)(EPOLLERR | EPOLLHUP), EPOLLIN | EPOLLET);
	assert_true(e.data == ev.data.u64);
	fstat(p[0], &st);
	assert_int_equal(e.ino, st.st_ino);
	assert_int_equal(fdinfo_epoll_next(&cursor, &e), 0);
	other = dup(p[0]);
	assert_int_equal(kcmp_epoll(getpid(), other, getpid(), ep, p[0], 0), 1);
	assert_int_equal(kcmp_epoll(getpid(), p[1], getpid(), ep, p[0], 0), 0);
	assert_int_equal(kcmp_epoll(getpid(), p[1], getpid(), ep, p[0], 1), -ENOENT);

	assert_true(inotify_add_watch(in, "/tmp", IN_CREATE) >= 0);
	assert_true(inotify_add_watch(in, "/proc", IN_OPEN) >= 0);
	info = info_of(x, in);
	cursor = info.rest;
	assert_int_equal(fdinfo_inotify_next(&cursor, &w), 1);
	assert_int_equal(fdinfo_inotify_next(&cursor, &w), 1);
	assert_int_equal(fdinfo_inotify_next(&cursor, &w), 0);
	close(ep);
	close(in);
	close(p[0]);
	close(p[1]);
	close(other);
}

static void locks_are_parsed(void **state)
{
	struct fixture *x = *state;
	int fd = temp_file(), ofd = temp_file();
	struct flock range = { .l_type = F_WRLCK, .l_start = 5, .l_len = 10 };
	struct flock open_ended = { .l_type = F_RDLCK, .l_start = 100 };
	unsigned int seen = 0;
	struct file_lock l;
	struct fdinfo info;
	const char *cursor;
	struct stat st;

	assert_int_equal(fcntl(fd, F_SETLK, &range), 0);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	fstat(fd, &st);
	info = info_of(x, fd);
	for (cursor = info.rest; locks_next(&cursor, &l) == 1;) {
		assert_int_equal(l.ino, st.st_ino);
		assert_int_equal(l.pid, getpid());
		seen |= 1U << l.kind;
		if (l.kind == LOCK_KIND_POSIX) {
			assert_int_equal(l.access, LOCK_ACCESS_WRITE);
			assert_int_equal(l.start, 5);
			assert_int_equal(l.end, 14);
		} else {
			assert_int_equal(l.access, LOCK_ACCESS_READ);
			assert_true(l.start == 0 && l.end == INT64_MAX);
		}
	}
	assert_int_equal(seen, 1 << LOCK_KIND_POSIX | 1 << LOCK_KIND_FLOCK);

	assert_int_equal(fcntl(ofd, F_OFD_SETLK, &open_ended), 0);
	info = info_of(x, ofd);
	cursor = info.rest;
	assert_int_equal(locks_next(&cursor, &l), 1);
	assert_int_equal(l.kind, LOCK_KIND_OFD);
	assert_int_equal(l.pid, -1);
	assert_true(l.start == 100 && l.end == INT64_MAX);
	assert_int_equal(locks_next(&cursor, &l), 0);
	cursor = "lock:\t1: POSIX  ADVISORY  WRITE 12 fe:00:1 0 what\n";
	assert_int_equal(locks_next(&cursor, &l), -EINVAL);
	close(fd);
	close(ofd);
}

static void hold(void *arg, int ready)
{
	(void)arg;
	child_ready(ready);
}

static uint32_t add_file(struct fixture *x, struct kcmp_set *set, pid_t pid, int tfd, bool *is_new)
{
	struct fdinfo info = info_of(x, tfd);
	struct stat st;
	uint32_t id;

	fstat(tfd, &st);
	if (kcmp_set_add(set, &(struct kcmp_file){ pid, tfd, st.st_dev, st.st_ino, info.mnt_id }, &id, is_new) < 0)
		fail_msg("%s", err_text());
	return id;
}

static void shared_descriptions_are_found(void **state)
{
	struct fixture *x = *state;
	struct kcmp_set *set = kcmp_set_new(x->a);
	int file = temp_file(), fds[40];
	uint32_t id[40];
	bool is_new;
	pid_t pid;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	for (int i = 0; i < 40; i++) /* every other one is a dup of the one before; all are the same file */
		fds[i] = i % 2 ? dup(fds[i - 1]) : open(path, O_RDWR | O_CLOEXEC);
	pid = child_start(hold, NULL);
	assert_int_equal(kcmp_same(getpid(), pid, KCMP_WHAT_VM), 0);
	assert_int_equal(kcmp_same(pid, pid, KCMP_WHAT_FILES), 1);
	for (int i = 0; i < 40; i++) {
		id[i] = add_file(x, set, i % 3 ? getpid() : pid, fds[i], &is_new);
		assert_int_equal(is_new, i % 2 == 0);
		assert_int_equal(id[i], i / 2 + 1);
	}
	for (int i = 0; i < 40; i++) {
		assert_int_equal(add_file(x, set, pid, fds[i], &is_new), id[i]);
		assert_false(is_new);
	}
	for (int i = 0; i < 40; i++)
		close(fds[i]);
	kcmp_set_free(set);
	child_end(pid);
	assert_int_equal(kcmp_same(getpid(), pid, KCMP_WHAT_VM), -ESRCH);
	close(file);
}

static void descriptors_are_fetched(void **state)
{
	int p[2], pidfd, fd;
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe(p), 0);
	pid = child_start(hold, NULL);
	pidfd = pidfd_for(pid);
	assert_true(pidfd >= 0);
	fd = pidfd_fetch(pidfd, p[1]);
	if (fd == -EPERM)
		skip(); /* ptrace is restricted here */
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(p[0], &c, 1), 1);
	assert_int_equal(pidfd_fetch(pidfd, 9999), -EBADF);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
	close(pidfd);
	close(p[0]);
	close(p[1]);
}

static uint32_t ino_of(int fd)
{
	struct stat st;

	fstat(fd, &st);
	return (uint32_t)st.st_ino;
}

static void unix_sockets_are_told(void **state)
{
	struct fixture *x = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "\0thaw\0\1test" };
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + 11;
	int pair[2], srv = socket(AF_UNIX, SOCK_SEQPACKET, 0), cli = socket(AF_UNIX, SOCK_SEQPACKET, 0), late;
	struct sockdiag *sd = sockdiag_new(x->a);
	const struct sockdiag_unix *s;

	assert_non_null(sd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(write(pair[0], "12345", 5), 5);
	assert_int_equal(shutdown(pair[1], SHUT_WR), 0);
	assert_int_equal(bind(srv, (void *)&addr, len), 0);
	assert_int_equal(listen(srv, 7), 0);
	assert_int_equal(connect(cli, (void *)&addr, len), 0);

	assert_int_equal(sockdiag_unix(sd, ino_of(pair[1]), &s), 0);
	assert_non_null(s);
	assert_int_equal(s->type, SOCK_STREAM);
	assert_int_equal(s->peer, ino_of(pair[0]));
	assert_int_equal(s->rqlen, 5);
	assert_int_equal(s->shutdown, 2);
	assert_int_equal(s->name_len, 0);
	assert_int_equal(sockdiag_unix(sd, ino_of(srv), &s), 0);
	assert_non_null(s);
	assert_int_equal(s->type, SOCK_SEQPACKET);
	assert_int_equal(s->state, 10);
	assert_int_equal(s->name_len, 11);
	assert_memory_equal(s->name, addr.sun_path, 11);
	assert_int_equal(s->n_pending, 1);
	assert_int_equal(s->pending[0], ino_of(cli));
	assert_int_equal(s->wqlen, 7);

	late = socket(AF_UNIX, SOCK_DGRAM, 0); /* born after the dump: asked for alone */
	assert_int_equal(sockdiag_unix(sd, ino_of(late), &s), 0);
	assert_non_null(s);
	assert_int_equal(s->type, SOCK_DGRAM);
	assert_int_equal(sockdiag_unix(sd, 0xfffffff0, &s), 0);
	assert_null(s);
	sockdiag_free(sd);
	for (int i = 0; i < 2; i++)
		close(pair[i]);
	close(srv);
	close(cli);
	close(late);
}

static void inet_sockets_are_told(void **state)
{
	struct fixture *x = *state;
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0),
	    idle = socket(AF_INET, SOCK_STREAM, 0), nl = socket(AF_NETLINK, SOCK_RAW, 0);
	struct sockdiag *sd = sockdiag_new(x->a);
	const struct sockdiag_netlink *n;
	const struct sockdiag_packet *pk;
	const struct sockdiag_inet *s;
	socklen_t len = sizeof(any);

	assert_non_null(sd);
	assert_int_equal(bind(tcp, (void *)&any, sizeof(any)), 0);
	assert_int_equal(listen(tcp, 33), 0);
	assert_int_equal(bind(udp, (void *)&any, sizeof(any)), 0);
	assert_int_equal(sockdiag_inet(sd, AF_INET, IPPROTO_TCP, ino_of(tcp), &s), 0);
	if (s) { /* the kernel may lack tcp_diag */
		assert_int_equal(s->state, 10);
		assert_int_equal(s->wqueue, 33);
		getsockname(tcp, (void *)&any, &len);
		assert_int_equal(s->src_port, ntohs(any.sin_port));
		assert_memory_equal(s->src, &any.sin_addr, 4);
		assert_int_equal(sockdiag_inet(sd, AF_INET, IPPROTO_UDP, ino_of(udp), &s), 0);
		assert_non_null(s);
		assert_int_equal(s->proto, IPPROTO_UDP);
	}
	assert_int_equal(sockdiag_inet(sd, AF_INET, IPPROTO_TCP, ino_of(idle), &s), 0);
	assert_null(s);
	assert_int_equal(sockdiag_inet(sd, AF_INET6, IPPROTO_RAW, 1, &s), 0);
	assert_null(s);
	assert_int_equal(sockdiag_inet(sd, AF_UNIX, 0, 1, &s), -EINVAL);
	assert_int_equal(sockdiag_netlink(sd, ino_of(nl), &n), 0);
	assert_int_equal(sockdiag_packet(sd, 1, &pk), 0);
	assert_null(pk);
	sockdiag_free(sd);
	close(tcp);
	close(udp);
	close(idle);
	close(nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(common_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(kinds_are_parsed, setup, teardown),
		cmocka_unit_test_setup_teardown(epoll_and_inotify_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(locks_are_parsed, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_descriptions_are_found, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptors_are_fetched, setup, teardown),
		cmocka_unit_test_setup_teardown(unix_sockets_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(inet_sockets_are_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
