/* SPDX-License-Identifier: Apache-2.0 */
/* A stream (gpu_stream.h), the client's side. */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/trace.h"
#include "gpu/gpu_library.h"
#include "gpu/gpu_stream.h"

enum { TICK_MS = 50 };

int gpu_stream_begin(struct gpu_client *c, pid_t pid, const struct gpu_pieces *p, int payload_fd,
		     const struct gpu_load_how *how, int *ret_channel)
{
	struct gpu_stream_head head = { .n = p->n };
	auto_close int mine = -1, its = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_set(errno, "make a socket pair");
	mine = pair[0];
	its = pair[1];
	if (how) {
		head.n_pairs = (uint32_t)how->map->n;
		memcpy(head.pair, how->map->pair, how->map->n * sizeof(head.pair[0]));
		head.wish = how->wish;
	}
	r = gpu_client_stream(c, how, pid, its);
	if (r >= 0) {
		r = gpu_pieces_send_fd(mine, &head, sizeof(head), payload_fd);
		r = r < 0 ? err_set(-r, "ask the GPU agent for a stream") : gpu_pieces_send(mine, p);
	}
	if (r >= 0)
		*ret_channel = take_fd(&mine);
	return r;
}

int gpu_stream_wait(int channel, bool load, struct gpu_pieces *p, struct gpu_stream_result *ret)
{
	struct pollfd fd = { .fd = channel, .events = POLLIN };
	int r = guard_check();
	ssize_t n;

	while (r >= 0 && poll(&fd, 1, TICK_MS) <= 0) /* a signal ends it early, too: it may be why we are to end */
		r = guard_check();
	if (r < 0)
		return r;
	n = recv(channel, ret, sizeof(*ret), 0);
	if (n != sizeof(*ret))
		return err_say(EPIPE, "the GPU agent is gone, or refused (its log may say why)");
	ret->text[sizeof(ret->text) - 1] = '\0';
	if (ret->result < 0)
		return err_adopt(-ret->result, ret->text);
	return load ? gpu_pieces_receive(channel, p, true) : 0;
}

void gpu_stream_end(int channel)
{
	char end;

	(void)!send(channel, "", 1, MSG_NOSIGNAL);
	while (recv(channel, &end, 1, 0) > 0)
		;
	close(channel);
}

int gpu_stream_put_back(pid_t pid, const char *comm, struct gpu_pieces *p, int *channel)
{
	uint64_t from = trace_now_ns(), mapped, bytes = p->bytes;
	struct gpu_library l;
	int r = gpu_library_open(pid, &l);

	if (r <= 0)
		return r < 0 ? r : err_say(ESRCH, "its preloaded library does not listen");
	r = gpu_library_return(&l, p);
	mapped = trace_now_ns();
	trace_span("import and map", pid, TRACE_GPU_MEMORY, from, mapped, 0);
	if (r >= 0) {
		gpu_stream_end(*channel);
		*channel = -1;
		gpu_pieces_free(p);
		if (gpu_library_own(&l) < 0)
			log_warn("task %d (%s): %s; it needs room for that before its next dump", pid, comm, err_text());
		trace_span("made its own, gate opened", pid, TRACE_GPU_MEMORY, mapped, trace_now_ns(), bytes);
	}
	gpu_library_close(&l);
	return r;
}
