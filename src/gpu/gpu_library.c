/* SPDX-License-Identifier: Apache-2.0 */
/* The preloaded library from outside (gpu_library.h). What comes from the process is checked: it may say anything. */
#include "gpu/gpu_library.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "kern/pidfd.h"
#include "preload/ask.h"

/* For answers that need no GPU work: the driver may be slow, a process that does not run answers never. */
enum { ANSWER_S = 60 };

/* The address of the door's mapping, 0: none. */
static uint64_t door_find(pid_t pid)
{
	auto_free char *maps = NULL;
	unsigned long va = 0;
	char path[40], *at;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	if (io_slurp(AT_FDCWD, path, &maps) < 0)
		return 0;
	at = strstr(maps, "/memfd:" ASK_NAME);
	while (at && at > maps && at[-1] != '\n')
		at--;
	return at && sscanf(at, "%lx-", &va) == 1 ? va : 0;
}

/* Our copy of the door's outer end. */
static int door_fd(pid_t pid, uint64_t va)
{
	struct ask_door door = { 0 };
	struct iovec here = { &door, sizeof(door) }, there = { (void *)va, sizeof(door) };
	auto_close int pidfd = -1;

	if (process_vm_readv(pid, &here, 1, &there, 1, 0) != sizeof(door) || door.magic != ASK_MAGIC || door.fd < 0)
		return -1;
	if (door.version != ASK_VERSION)
		return -1;
	pidfd = pidfd_for(pid);
	return pidfd < 0 ? -1 : pidfd_fetch(pidfd, door.fd);
}

int gpu_library_open(pid_t pid, struct gpu_library *ret)
{
	uint64_t va = door_find(pid);
	auto_close int fd = va ? door_fd(pid, va) : -1;
	struct timeval limit = { .tv_sec = ANSWER_S };
	int pair[2], r;

	if (fd < 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_set(errno, "make a socket pair");
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	r = gpu_pieces_send_fd(fd, "", 1, pair[1]);
	close(pair[1]);
	ret->sock = pair[0];
	if (r < 0)
		close(pair[0]);
	return r < 0 ? 0 : 1;
}

void gpu_library_close(struct gpu_library *l)
{
	close(l->sock);
	l->sock = -1;
}

static int request(const struct gpu_library *l, const struct ask_request *q)
{
	return send(l->sock, q, sizeof(*q), MSG_NOSIGNAL) < 0 ? err_set(errno, "ask the preloaded library") : 0;
}

static int answer(const struct gpu_library *l, struct ask_answer *ret)
{
	ssize_t n = recv(l->sock, ret, sizeof(*ret), 0);

	if (n < 0)
		return err_set(errno == EAGAIN ? ETIMEDOUT : errno, "the preloaded library does not answer");
	if (n != sizeof(*ret))
		return err_say(EPIPE, "the preloaded library does not answer");
	ret->text[sizeof(ret->text) - 1] = '\0';
	if (ret->result < 0)
		return err_say(-ret->result, "the preloaded library: %s", ret->text);
	return 0;
}

int gpu_library_take(const struct gpu_library *l, uint32_t timeout_ms, struct gpu_pieces *ret)
{
	const struct ask_request q = { .op = ASK_CLOSE, .timeout_ms = timeout_ms };
	struct timeval limit = { .tv_sec = ANSWER_S + timeout_ms / 1000 };
	struct ask_answer a;
	int r = request(l, &q);

	*ret = (struct gpu_pieces){ 0 };
	setsockopt(l->sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (r >= 0)
		r = answer(l, &a);
	if (r >= 0)
		r = gpu_pieces_make(ret, a.n);
	if (r >= 0)
		r = gpu_pieces_receive(l->sock, ret, true);
	if (r < 0)
		gpu_pieces_free(ret);
	return r;
}

int gpu_library_release(const struct gpu_library *l)
{
	const struct ask_request q = { .op = ASK_RELEASE };
	struct ask_answer a;
	int r = request(l, &q);

	return r < 0 ? r : answer(l, &a);
}

int gpu_library_own(const struct gpu_library *l)
{
	const struct ask_request q = { .op = ASK_OWN };
	struct ask_answer a;
	int r = request(l, &q);

	return r < 0 ? r : answer(l, &a);
}

int gpu_library_return(const struct gpu_library *l, const struct gpu_pieces *p)
{
	const struct ask_request q = { .op = ASK_RETURN, .n = p->n };
	struct ask_answer a;
	int r = request(l, &q);

	if (r >= 0)
		r = gpu_pieces_send(l->sock, p);
	return r < 0 ? r : answer(l, &a);
}
