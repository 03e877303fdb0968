/* SPDX-License-Identifier: Apache-2.0 */
/* The crews that copy (gpu_copy.h). */
#include "gpu/gpu_copy.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* Sixteen fit into a slot's buffers. Smaller: the bus waits for calls; larger: fewer hands. */
enum { SMALL = 4096, CHUNK = 4 << 20, CREW_MOST = GPU_BUFFERS * GPU_BUFFER_LEN / CHUNK, EACH = GPU_BUFFER_LEN / CHUNK };

/* All that a GPU's crew shares. */
struct lane {
	const struct gpu_copy *c;
	struct gpu_slot *slot;
	int fd;                    /* the payload; reads may bypass the page cache */
	_Atomic uint64_t next;     /* chunk, of all parts on this GPU */
	_Atomic uint64_t bytes;
	_Atomic bool failed;
	pthread_mutex_t lock;
	int result;                /* the first failure */
	char text[256];
};

struct hand {
	struct lane *lane;
	pthread_t thread;
	void *buffer;
	cuda_stream stream;
};

static void lane_fail(struct lane *l, int r)
{
	pthread_mutex_lock(&l->lock);
	if (!l->failed) {
		l->result = r;
		snprintf(l->text, sizeof(l->text), "%s", err_text());
	}
	l->failed = true;
	pthread_mutex_unlock(&l->lock);
}

static bool is_zero(const void *p, size_t len)
{
	const uint64_t *w = p;

	/* most pages that hold something show it at once */
	for (size_t i = 0; i < len / 8; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	return true;
}

static int stream_wait(const struct hand *h, int r, const char *what)
{
	const struct cuda_api *api = h->lane->slot->api;

	if (!r)
		r = api->stream_sync(h->stream);
	return cuda_check(api, r, "%s", what);
}

/*
 * In memory most of a write is the making of its pages, one lock for all writers. There the file is mapped, and its
 * pages are made huge: a block in which one small page exists can be collapsed, whatever the mount says.
 */
static int run_write(const struct hand *h, const char *from, uint64_t offset, size_t len)
{
	uint8_t *map = h->lane->c->map;
	int r;

	if (!map) {
		r = io_pwrite(h->lane->fd, from, len, offset);
		return r < 0 ? err_set(-r, "write GPU memory") : 0;
	}
	for (size_t i = 0; i < len; i += GPU_PAGE)
		(void)!madvise(map + offset + i, SMALL, MADV_POPULATE_WRITE);
	(void)!madvise(map + offset, len, MADV_COLLAPSE);
	/* a mere store would be a SIGBUS where there is no room */
	if (madvise(map + offset, len, MADV_POPULATE_WRITE) < 0)
		return err_set(errno == EFAULT || errno == ENOMEM ? ENOSPC : errno, "write GPU memory");
	memcpy(map + offset, from, len);
	return 0;
}

/* Runs of pages that hold something. */
static int chunk_save(struct hand *h, cuda_ptr at, uint64_t offset, size_t len)
{
	int r = stream_wait(h, h->lane->slot->api->copy_out(h->buffer, at, len, h->stream), "copy GPU memory out");
	const char *page = h->buffer;

	for (size_t from = 0, to; from < len && r >= 0; from = to) {
		for (to = from; to < len && !is_zero(page + to, GPU_PAGE); to += GPU_PAGE)
			;
		if (to == from) {
			to += GPU_PAGE;
			continue;
		}
		r = run_write(h, page + from, offset + from, to - from);
		h->lane->bytes += to - from;
	}
	return r;
}

/* Holes are zeros, and a whole hole is not even read. */
static int chunk_load(struct hand *h, cuda_ptr at, uint64_t offset, size_t len)
{
	const struct cuda_api *api = h->lane->slot->api;
	off_t data = lseek(h->lane->c->payload_fd, (off_t)offset, SEEK_DATA);
	ssize_t n;

	if ((data < 0 && errno == ENXIO) || (data >= 0 && (uint64_t)data >= offset + len))
		return stream_wait(h, api->mem_set_async(at, 0, len, h->stream), "clear GPU memory");
	n = io_pread(h->lane->fd, h->buffer, len, offset);
	if (n < 0)
		return err_set((int)-n, "read GPU memory from the image");
	if ((size_t)n < len)
		return err_say(ENODATA, "GPU memory in the image ends at %#lx", offset + (uint64_t)n);
	h->lane->bytes += len;
	return stream_wait(h, api->copy_in(at, h->buffer, len, h->stream), "copy GPU memory in");
}

/* The k-th chunk of the lane's GPU; false: there are no more. */
static bool chunk_find(const struct lane *l, uint64_t k, cuda_ptr *at, uint64_t *offset, size_t *len)
{
	for (size_t i = 0; i < l->c->n; i++) {
		const struct gpu_part *p = &l->c->part[i];
		uint64_t n = p->gpu == l->slot->gpu ? (p->len + CHUNK - 1) / CHUNK : 0;

		if (k < n) {
			*at = p->at + k * CHUNK;
			*offset = p->offset + k * CHUNK;
			*len = p->len - k * CHUNK < CHUNK ? (size_t)(p->len - k * CHUNK) : CHUNK;
			return true;
		}
		k -= n;
	}
	return false;
}

static int hand_work(struct hand *h)
{
	struct lane *l = h->lane;
	const struct cuda_api *api = l->slot->api;
	uint64_t offset;
	cuda_ptr at;
	size_t len;
	int r = cuda_check(api, api->stream_create(&h->stream, CUDA_STREAM_NON_BLOCKING), "make a stream");

	if (r < 0)
		return r;
	while (r >= 0 && !l->failed && chunk_find(l, l->next++, &at, &offset, &len))
		r = l->c->load ? chunk_load(h, at, offset, len) : chunk_save(h, at, offset, len);
	api->stream_destroy(h->stream);
	return r;
}

static void *hand_thread(void *arg)
{
	struct hand *h = arg;
	const struct cuda_api *api = h->lane->slot->api;
	int r = cuda_check(api, api->ctx_push(h->lane->slot->ctx), "use a context");
	cuda_ctx ctx;

	if (r >= 0) {
		r = hand_work(h);
		api->ctx_pop(&ctx);
	}
	if (r < 0)
		lane_fail(h->lane, r);
	return NULL;
}

/* Two for each CPU: one may wait for the file while the other moves bytes. */
static size_t crew_size(void)
{
	cpu_set_t set;
	size_t n = sched_getaffinity(0, sizeof(set), &set) ? 4 : 2 * (size_t)CPU_COUNT(&set);

	return n < CREW_MOST ? n : CREW_MOST;
}

static void lane_start(struct lane *l, struct hand hand[CREW_MOST], size_t *n)
{
	for (size_t i = 0; i < crew_size(); i++) {
		struct hand *h = &hand[(*n)];

		*h = (struct hand){ .lane = l };
		h->buffer = (char *)gpu_slot_buffer(l->slot, i / EACH, GPU_BUFFER_LEN) + i % EACH * CHUNK;
		if (!pthread_create(&h->thread, NULL, hand_thread, h))
			(*n)++;
	}
	if (!*n)
		lane_fail(l, err_set(EAGAIN, "start threads that copy GPU memory"));
}

/* Cold images go past the page cache: at the disk's rate, and without pushing out what others need. */
static int payload_for_reading(int fd)
{
	struct { uint64_t off, len; } all = { 0, 0 };
	struct { uint64_t cache, dirty, writeback, evicted, recently_evicted; } pages = { 0 };
	enum { SYS_CACHESTAT = 451 };
	struct stat st;
	char path[40];

	if (fstat(fd, &st) || syscall(SYS_CACHESTAT, fd, &all, &pages, 0) ||
	    pages.cache * 4096 >= (uint64_t)st.st_blocks * 512 / 2)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
}

/* The payload, should it be in memory, at an address that suits huge pages; NULL: it is written as a file. */
static uint8_t *payload_map(int fd, uint64_t len, void **ret_room)
{
	struct statfs fs;
	uint8_t *at;

	if (fstatfs(fd, &fs) || fs.f_type != TMPFS_MAGIC || ftruncate(fd, (off_t)len))
		return NULL;
	*ret_room = mmap(NULL, len + GPU_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (*ret_room == MAP_FAILED)
		return NULL;
	at = (uint8_t *)(((uintptr_t)*ret_room + GPU_PAGE - 1) & ~(uintptr_t)(GPU_PAGE - 1));
	if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED)
		return at;
	munmap(*ret_room, len + GPU_PAGE);
	return NULL;
}

static uint64_t payload_len(const struct gpu_copy *c)
{
	return c->n ? c->part[c->n - 1].offset + c->part[c->n - 1].len : 0;
}

int gpu_copy_run(struct gpu_copy *c, struct gpu_slot *const *slots, size_t n_slots, uint64_t *ret_bytes)
{
	struct lane *lane = calloc(n_slots, sizeof(*lane));
	struct hand (*crew)[CREW_MOST] = calloc(n_slots, sizeof(*crew));
	auto_close int direct = c->load ? payload_for_reading(c->payload_fd) : -1;
	size_t n[GPU_MOST] = { 0 };
	void *room = NULL;
	int r = lane && crew ? 0 : err_set(ENOMEM, "copy GPU memory");

	if (!c->load && c->n)
		c->map = payload_map(c->payload_fd, payload_len(c), &room);
	for (size_t i = 0; r >= 0 && i < n_slots; i++) {
		lane[i].c = c;
		lane[i].slot = slots[i];
		lane[i].fd = direct >= 0 ? direct : c->payload_fd;
		pthread_mutex_init(&lane[i].lock, NULL);
		lane_start(&lane[i], crew[i], &n[i]);
	}
	*ret_bytes = 0;
	for (size_t i = 0; lane && crew && i < n_slots; i++) {
		for (size_t k = 0; k < n[i]; k++)
			pthread_join(crew[i][k].thread, NULL);
		*ret_bytes += lane[i].bytes;
		if (lane[i].failed && r >= 0)
			r = err_adopt(-lane[i].result, lane[i].text);
	}
	if (r >= 0 && c->load)
		log_info("GPU memory read %s", direct >= 0 ? "past the page cache" : "from the page cache");
	if (c->map)
		munmap(room, payload_len(c) + GPU_PAGE);
	free(lane);
	free(crew);
	return r;
}
