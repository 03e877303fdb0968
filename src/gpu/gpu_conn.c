/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of the agent (gpu_conn.h). */
#include "gpu/gpu_conn.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

static int peer_check(const struct ucred *who)
{
	struct stat mine, theirs;
	char path[40];

	if (who->uid != 0 && who->uid != geteuid())
		return err_say(EPERM, "user %u may not use the GPU agent of user %u", who->uid, geteuid());
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", who->pid);
	if (stat("/proc/self/ns/pid", &mine) == 0 && stat(path, &theirs) == 0 && mine.st_ino == theirs.st_ino)
		return 0;
	return err_say(EPERM, "the GPU agent is in another PID namespace: start one beside the processes it is to work on");
}

void gpu_conn_accept(struct gpu_conns *conns, int listen_fd)
{
	auto_close int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	socklen_t len = sizeof(struct ucred);
	struct gpu_conn *conn;
	struct ucred who;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		return; /* it has gone again */
	if (peer_check(&who) < 0) {
		struct gpu_reply head = { .version = GPU_WIRE_VERSION, .ticket = 1, .result = -EPERM };
		struct gpu_conn stranger = { .fd = fd };

		log_warn("%s", err_text());
		gpu_conn_reply(&stranger, &head, err_text());
		return;
	}
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return;
	*conn = (struct gpu_conn){ conns->first, ++conns->last_id, take_fd(&fd), who.uid, who.pid };
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

static int request_check(const struct gpu_conn *conn, const struct gpu_request *q, size_t len)
{
	struct stat st;
	char path[32];

	if (len < offsetof(struct gpu_request, pair) || q->version != GPU_WIRE_VERSION)
		return err_say(EPROTO, "the GPU agent that runs here is of another version of thaw: stop it (PID %d)", getpid());
	if (q->op >= GPU_OP_END || q->n_pairs > GPU_MOST || len != gpu_request_len(q))
		return err_say(EPROTO, "the GPU agent does not understand request %u", q->op);
	if (q->op < GPU_OP_STATE)
		return 1;
	if (q->pid <= 0)
		return err_say(EINVAL, "%d is no PID", q->pid);
	snprintf(path, sizeof(path), "/proc/%d", q->pid);
	if (stat(path, &st))
		return err_say(ESRCH, "there is no process %d", q->pid);
	if (conn->uid != 0 && st.st_uid != conn->uid)
		return err_say(EPERM, "process %d belongs to user %u, not to user %u", q->pid, st.st_uid, conn->uid);
	return 1;
}

int gpu_conn_request(const struct gpu_conn *conn, struct gpu_request *ret)
{
	ssize_t len;

	memset(ret, 0, offsetof(struct gpu_request, pair));
	len = recv(conn->fd, ret, sizeof(*ret), MSG_DONTWAIT | MSG_TRUNC);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (len <= 0)
		return -EPIPE;
	return request_check(conn, ret, (size_t)len);
}

void gpu_conn_reply(const struct gpu_conn *conn, const struct gpu_reply *head, const char *text)
{
	struct iovec part[2] = { { (void *)head, sizeof(*head) }, { (void *)text, strlen(text) } };
	struct msghdr msg = { .msg_iov = part, .msg_iovlen = 2 };

	if (part[1].iov_len > GPU_WIRE_TEXT)
		part[1].iov_len = GPU_WIRE_TEXT;
	(void)!sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}
