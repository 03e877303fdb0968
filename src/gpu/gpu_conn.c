/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of the agent (gpu_conn.h). */
#include "gpu/gpu_conn.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/packet.h"

static bool same_pid_namespace(pid_t pid)
{
	struct stat mine, theirs;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return stat("/proc/self/ns/pid", &mine) == 0 && stat(path, &theirs) == 0 && mine.st_ino == theirs.st_ino;
}

void gpu_conn_accept(struct gpu_conns *conns, int listen_fd)
{
	auto_close int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	socklen_t len = sizeof(struct ucred);
	struct gpu_conn *conn;
	struct ucred who;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		return; /* it has gone again */
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return;
	*conn = (struct gpu_conn){ conns->first, ++conns->last_id, take_fd(&fd), who.uid, who.pid,
				   !same_pid_namespace(who.pid) };
	conns->first = conn;
	conns->n++;
}

void gpu_conn_drop(struct gpu_conns *conns, struct gpu_conn *conn)
{
	struct gpu_conn **at = &conns->first;

	while (*at != conn)
		at = &(*at)->next;
	*at = conn->next;
	conns->n--;
	close(conn->fd);
	free(conn);
}

struct gpu_conn *gpu_conn_find(const struct gpu_conns *conns, uint64_t id)
{
	struct gpu_conn *c = conns->first;

	while (c && c->id != id)
		c = c->next;
	return c;
}

static int caller_check(const struct gpu_conn *conn)
{
	if (conn->uid != 0 && conn->uid != geteuid())
		return err_say(EPERM, "user %u may not use the GPU agent of user %u", conn->uid, geteuid());
	if (conn->foreign_pids)
		return err_say(EPERM, "the GPU agent that listens here is in another PID namespace: give it another --gpu-socket");
	return 0;
}

static int target_check(const struct gpu_conn *conn, pid_t pid)
{
	char path[32];
	struct stat st;

	if (pid <= 0)
		return err_say(EINVAL, "%d is no PID", pid);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &st))
		return err_say(ESRCH, "there is no process %d", pid);
	if (conn->uid != 0 && st.st_uid != conn->uid)
		return err_say(EPERM, "process %d belongs to user %u, not to user %u", pid, st.st_uid, conn->uid);
	return 0;
}

static bool may_come_with(uint32_t op, bool fd)
{
	if (op == GPU_OP_STEP + GPU_CHECKPOINT || op == GPU_OP_STEP + GPU_RESTORE)
		return true;
	return (op == GPU_OP_SAVE || op == GPU_OP_LOAD) == fd;
}

static int request_check(const struct gpu_conn *conn, const struct gpu_request *q, size_t len, bool with_fd)
{
	int r = caller_check(conn);

	if (r < 0)
		return r;
	if (len < offsetof(struct gpu_request, pair) || q->version != GPU_WIRE_VERSION)
		return err_say(EPROTO, "the GPU agent that runs here is of another version of thaw: stop it (PID %d)", getpid());
	if (q->op >= GPU_OP_END || q->n_pairs > GPU_MOST || len != gpu_request_len(q))
		return err_say(EPROTO, "the GPU agent does not understand request %u", q->op);
	if (!may_come_with(q->op, with_fd))
		return err_say(EPROTO, "request %u with or without a descriptor", q->op);
	if (q->op >= GPU_OP_STATE)
		r = target_check(conn, q->pid);
	return r < 0 ? r : 1;
}

int gpu_conn_request(const struct gpu_conn *conn, struct gpu_request *ret, int *ret_fd)
{
	ssize_t len;
	size_t n_fds;

	memset(ret, 0, offsetof(struct gpu_request, pair));
	*ret_fd = -1;
	len = packet_take(conn->fd, ret, sizeof(*ret), MSG_DONTWAIT | MSG_TRUNC, ret_fd, 1, &n_fds);
	if (len < 0 && errno == EAGAIN)
		return 0;
	if (len <= 0)
		return -EPIPE;
	return request_check(conn, ret, (size_t)len, *ret_fd >= 0);
}

void gpu_conn_reply(const struct gpu_conn *conn, const struct gpu_reply *head, const char *text)
{
	struct iovec part[2] = { { (void *)head, sizeof(*head) }, { (void *)text, strlen(text) } };
	struct msghdr msg = { .msg_iov = part, .msg_iovlen = 2 };

	if (part[1].iov_len > GPU_WIRE_TEXT)
		part[1].iov_len = GPU_WIRE_TEXT;
	(void)!sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}
