/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces, and how they travel (gpu_pieces.h): rows of ask.h, the same to the library and to the agent. */
#include "gpu/gpu_pieces.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/packet.h"
#include "preload/ask.h"
int gpu_pieces_make(struct gpu_pieces *p, size_t n)
{
	*p = (struct gpu_pieces){ .n = n };
	if (n > GPU_PIECES_MOST)
		return err_say(E2BIG, "%zu pieces of GPU memory are more than can be", n);
	p->v = calloc(n + 1, sizeof(*p->v));
	if (!p->v)
		return err_set(ENOMEM, "list %zu pieces of GPU memory", n);
	for (size_t i = 0; i < n; i++)
		p->v[i].fd = -1;
	return 0;
}

int gpu_pieces_check(struct gpu_pieces *p)
{
	p->bytes = 0;
	for (size_t i = 0; i < p->n; i++) {
		const struct gpu_piece *g = &p->v[i];

		if (!g->len || g->len % GPU_PAGE || g->va % GPU_PAGE || g->len > UINT64_MAX / GPU_PIECES_MOST ||
		    g->va > UINT64_MAX - g->len)
			return err_say(EINVAL, "GPU memory cannot lie at %#lx with a length of %#lx", g->va, g->len);
		p->bytes += g->len;
	}
	return 0;
}

void gpu_pieces_free(struct gpu_pieces *p)
{
	for (size_t i = 0; p->v && i < p->n; i++)
		if (p->v[i].fd >= 0)
			close(p->v[i].fd);
	free(p->v);
	*p = (struct gpu_pieces){ 0 };
}

static int batch_send(int sock, const struct gpu_piece *v, size_t n)
{
	struct ask_piece row[ASK_PIECES];
	int fd[ASK_PIECES];

	for (size_t i = 0; i < n; i++) {
		row[i] = (struct ask_piece){ .va = v[i].va, .len = v[i].len };
		memcpy(row[i].gpu, v[i].gpu, sizeof(row[i].gpu));
		fd[i] = v[i].fd;
	}
	if (!packet_give(sock, row, n * sizeof(row[0]), fd, n && fd[0] >= 0 ? n : 0))
		return err_set(errno, "send %zu pieces of GPU memory", n);
	return 0;
}

int gpu_pieces_send(int sock, const struct gpu_pieces *p)
{
	int r = 0;

	for (size_t i = 0; i < p->n && r >= 0; i += ASK_PIECES)
		r = batch_send(sock, p->v + i, p->n - i < ASK_PIECES ? p->n - i : ASK_PIECES);
	return r;
}

/* One packet of at most room rows. Returns their number. */
static int batch_receive(int sock, struct gpu_piece *v, size_t most, bool with_fds)
{
	struct ask_piece row[ASK_PIECES];
	int fd[ASK_PIECES];
	size_t n_fds;
	ssize_t len = packet_take(sock, row, sizeof(row), 0, fd, ASK_PIECES, &n_fds);
	size_t n = len > 0 ? (size_t)len / sizeof(row[0]) : 0;

	if (!n || n > most || n_fds != (with_fds ? n : 0)) {
		packet_close(fd, n_fds);
		return len < 0 ? err_set(errno, "receive pieces of GPU memory") :
				 err_say(EPIPE, "pieces of GPU memory were promised and did not come");
	}
	for (size_t i = 0; i < n; i++) {
		v[i] = (struct gpu_piece){ .va = row[i].va, .len = row[i].len, .fd = n_fds ? fd[i] : -1 };
		memcpy(v[i].gpu, row[i].gpu, sizeof(v[i].gpu));
	}
	return (int)n;
}

int gpu_pieces_receive(int sock, struct gpu_pieces *p, bool with_fds)
{
	int r = 0;

	for (size_t i = 0; i < p->n && r >= 0; i += (size_t)r) {
		r = batch_receive(sock, p->v + i, p->n - i, with_fds);
		if (r < 0)
			return r;
	}
	return gpu_pieces_check(p);
}

int gpu_pieces_send_fd(int sock, const void *buf, size_t len, int fd)
{
	return packet_give(sock, buf, len, &fd, fd >= 0) ? 0 : -errno;
}
