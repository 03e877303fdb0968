/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of the agent (gpu_client.h): requests go out as they are made,
 * answers are kept until somebody asks for theirs.
 */
#include "gpu/gpu_client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"
#include "gpu/gpu_pieces.h"
#include "gpu/gpu_socket.h"
#include "gpu/gpu_spawn.h"
#include "gpu/gpu_wire.h"

enum {
	QUERY_MS = 10000, /* for the agent's answer to a question */
	GRACE_MS = 3000,  /* the agent watches the time limit itself; only when it hangs too do we */
	TRIES = 3,        /* an agent that is just going may take a connection with it */
};

struct pending {
	struct pending *next;
	uint32_t ticket;
	uint64_t until_ns; /* 0: no limit */
	bool done;
	int result, value;
	uint64_t ns;
	char *text;
};

struct gpu_client {
	int fd;
	bool gone;
	uint32_t last_ticket;
	struct pending *pending;
	struct gpu_reply *room; /* a packet of any size */
};

static int gone_say(void)
{
	return err_say(EPIPE, "the GPU agent is gone (its log may say why)");
}

static void pending_drop(struct gpu_client *c, struct pending *p)
{
	struct pending **at = &c->pending;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	free(p->text);
	free(p);
}

static struct pending *pending_find(const struct gpu_client *c, uint32_t ticket)
{
	struct pending *p = c->pending;

	while (p && p->ticket != ticket)
		p = p->next;
	return p;
}

/* fd: goes along; -1: none. */
static int request_send_fd(struct gpu_client *c, struct gpu_request *q, int fd, uint32_t limit_ms, uint32_t *ret_ticket)
{
	struct pending *p;

	if (c->gone)
		return gone_say();
	q->version = GPU_WIRE_VERSION;
	q->ticket = ++c->last_ticket;
	/* when it fails, the reason may still be there to be read */
	(void)!gpu_pieces_send_fd(c->fd, q, gpu_request_len(q), fd);
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(ENOMEM, "ask the GPU agent");
	p->ticket = q->ticket;
	p->until_ns = limit_ms ? trace_now_ns() + (uint64_t)(limit_ms + GRACE_MS) * 1000000 : 0;
	p->next = c->pending;
	c->pending = p;
	*ret_ticket = p->ticket;
	return 0;
}

static int request_send(struct gpu_client *c, struct gpu_request *q, uint32_t limit_ms, uint32_t *ret_ticket)
{
	return request_send_fd(c, q, -1, limit_ms, ret_ticket);
}

/* Takes the next answer; false: there is none yet. */
static bool answer_take(struct gpu_client *c)
{
	const struct gpu_reply *a = c->room;
	ssize_t len = recv(c->fd, c->room, sizeof(*a) + GPU_WIRE_TEXT, MSG_DONTWAIT);
	struct pending *p;

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (len < (ssize_t)sizeof(*a) || a->version != GPU_WIRE_VERSION) {
		c->gone = true; /* or is no agent of ours, which is the same to us */
		return false;
	}
	p = pending_find(c, a->ticket);
	if (!p)
		return true; /* nobody waits for it any more */
	p->done = true;
	p->result = a->result;
	p->value = a->value;
	p->ns = a->ns;
	p->text = strndup(a->text, (size_t)len - sizeof(*a));
	return true;
}

/* How long poll() may wait for p: -1 for ever. */
static int wait_ms(const struct pending *p)
{
	uint64_t now = trace_now_ns();

	if (!p->until_ns)
		return -1;
	return p->until_ns <= now ? 0 : (int)((p->until_ns - now) / 1000000) + 1;
}

/* Waits for the answer; *p stays in the list. */
static int answer_wait(struct gpu_client *c, const struct pending *p)
{
	while (!p->done && !c->gone) {
		struct pollfd fd = { .fd = c->fd, .events = POLLIN };
		int ms = wait_ms(p);

		if (poll(&fd, 1, ms) == 0 && ms >= 0 && !wait_ms(p))
			return err_say(ETIMEDOUT, "the GPU agent does not answer");
		answer_take(c);
	}
	return p->done ? 0 : gone_say();
}

/* Waits and forgets the request; *ret_p (or NULL) gets what came. */
static int answer_finish(struct gpu_client *c, uint32_t ticket, struct pending *ret_p)
{
	struct pending *p = pending_find(c, ticket);
	int r;

	if (!p)
		return err_say(EINVAL, "the GPU agent was not asked for %u", ticket);
	r = answer_wait(c, p);
	if (r >= 0 && p->result < 0)
		r = err_adopt(-p->result, p->text ? p->text : "out of memory");
	if (r >= 0 && ret_p) {
		*ret_p = *p;
		p->text = NULL;
	}
	pending_drop(c, p);
	return r;
}

static int question(struct gpu_client *c, enum gpu_op op, pid_t pid, struct pending *ret_p)
{
	struct gpu_request q = { .op = op, .pid = pid, .timeout_ms = QUERY_MS };
	uint32_t ticket;
	int r = request_send(c, &q, QUERY_MS, &ticket);

	return r < 0 ? r : answer_finish(c, ticket, ret_p);
}

static void map_put(struct gpu_request *q, const struct gpu_map *map)
{
	q->n_pairs = (uint32_t)map->n;
	memcpy(q->pair, map->pair, map->n * sizeof(map->pair[0]));
}

static int client_new(int fd, struct gpu_client **ret)
{
	struct gpu_client *c = calloc(1, sizeof(*c));

	if (c)
		c->room = malloc(sizeof(*c->room) + GPU_WIRE_TEXT);
	if (!c || !c->room) {
		free(c);
		close(fd);
		return err_set(ENOMEM, "connect to the GPU agent");
	}
	c->fd = fd;
	*ret = c;
	return 0;
}

/* A connection that was greeted: one that only got into the queue of a dying agent is worth nothing. */
static int agent_reach(const char *path, struct gpu_client **ret)
{
	struct gpu_client *c;
	int fd, r = gpu_socket_connect(path, &fd);

	if (r < 0)
		return r;
	r = client_new(fd, &c);
	if (r < 0)
		return r;
	r = question(c, GPU_OP_HELLO, 0, NULL);
	if (r < 0)
		gpu_client_close(c);
	else
		*ret = c;
	return r;
}

int gpu_client_join(const char *socket, struct gpu_client **ret)
{
	char path[GPU_SOCKET_LEN];
	int r = gpu_socket_path(socket, path);

	return r < 0 ? r : agent_reach(path, ret);
}

int gpu_client_open(const char *socket, struct gpu_client **ret)
{
	char path[GPU_SOCKET_LEN];
	int r = gpu_socket_path(socket, path);

	if (r < 0)
		return r;
	for (int i = 0; i < TRIES; i++) {
		r = agent_reach(path, ret);
		if (r != -ENOENT && r != -ECONNREFUSED && r != -EPIPE)
			return r;
		r = gpu_spawn(path);
		if (r < 0)
			return r;
	}
	r = agent_reach(path, ret);
	return err_ctx(r, "the GPU agent does not stay");
}

void gpu_client_close(struct gpu_client *c)
{
	if (!c)
		return;
	while (c->pending)
		pending_drop(c, c->pending);
	close(c->fd);
	free(c->room);
	free(c);
}

int gpu_client_ask(struct gpu_client *c, uint32_t op, pid_t pid, int *ret_value, char **ret_text)
{
	struct pending p;
	int r = question(c, (enum gpu_op)op, pid, &p);

	if (r < 0)
		return r;
	if (ret_value)
		*ret_value = p.value;
	if (ret_text)
		*ret_text = p.text;
	else
		free(p.text);
	return 0;
}

int gpu_client_check(struct gpu_client *c, const struct gpu_map *map)
{
	struct gpu_request q = { .op = GPU_OP_MAP, .timeout_ms = QUERY_MS };
	uint32_t ticket;
	int r;

	map_put(&q, map);
	r = request_send(c, &q, QUERY_MS, &ticket);
	return r < 0 ? r : answer_finish(c, ticket, NULL);
}

int gpu_client_start(struct gpu_client *c, enum gpu_step step, pid_t pid, uint32_t timeout_ms,
		     const struct gpu_map *map, uint32_t *ret_ticket)
{
	struct gpu_request q = { .op = GPU_OP_STEP + step, .pid = pid, .timeout_ms = timeout_ms };

	if (map)
		map_put(&q, map);
	return request_send(c, &q, timeout_ms, ret_ticket);
}

int gpu_client_lend(struct gpu_client *c, enum gpu_step step, pid_t pid, uint32_t timeout_ms,
		    const struct gpu_map *map, int fd, bool doomed, uint32_t *ret_ticket)
{
	struct gpu_request q = { .op = GPU_OP_STEP + step, .pid = pid, .timeout_ms = timeout_ms, .doomed = doomed };

	if (map)
		map_put(&q, map);
	return request_send_fd(c, &q, fd, timeout_ms, ret_ticket);
}

int gpu_client_stream(struct gpu_client *c, bool load, pid_t pid, int channel)
{
	struct gpu_request q = { .version = GPU_WIRE_VERSION, .op = load ? GPU_OP_LOAD : GPU_OP_SAVE, .pid = pid };
	int r = c->gone ? -EPIPE : gpu_pieces_send_fd(c->fd, &q, gpu_request_len(&q), channel);

	return r < 0 ? gone_say() : 0;
}

int gpu_client_wait(struct gpu_client *c, uint32_t ticket, uint64_t *ret_ns)
{
	struct pending p;
	int r = answer_finish(c, ticket, &p);

	if (r < 0)
		return r;
	free(p.text);
	if (ret_ns)
		*ret_ns = p.ns;
	return 0;
}

int gpu_client_fd(const struct gpu_client *c)
{
	return c->fd;
}

bool gpu_client_done(struct gpu_client *c, uint32_t ticket)
{
	const struct pending *p = pending_find(c, ticket);

	while (p && !p->done && answer_take(c))
		;
	return !p || p->done || c->gone;
}
