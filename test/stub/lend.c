/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the driver lends at a checkpoint (stub.h), as CUDA 13.4's documentation has it: per GPU one range with
 * all that the process has there, in the caller's address space, and a stream of a primary context, which the caller
 * must hold.
 *
 * A range is a memfd that the process makes and passes on. What is not copied back into it at a restore is lost: until
 * then it holds other bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stub.h"

/* --- in the process */

static struct {
	int n, fd[GPUS], gpu[GPUS];
	size_t len[GPUS];
} lent;

static size_t bytes_on(int gpu)
{
	size_t len = 0;

	for (int i = 0; i < ALLOCS; i++)
		if (stub.alloc[i].at && stub.alloc[i].gpu == gpu) {
			stub.alloc[i].offset = len;
			len += stub.alloc[i].len;
		}
	return len;
}

/* What is on a GPU to its memfd, or back. */
static void range_copy(int i, int back)
{
	char *p = mmap(NULL, lent.len[i], PROT_READ | PROT_WRITE, MAP_SHARED, lent.fd[i], 0);

	for (int k = 0; k < ALLOCS; k++) {
		const struct alloc *a = &stub.alloc[k];

		if (a->at && a->gpu == lent.gpu[i])
			memcpy(back ? (void *)a->at : p + a->offset, back ? p + a->offset : (void *)a->at, a->len);
	}
	munmap(p, lent.len[i]);
}

static int ranges_make(void)
{
	lent.n = 0;
	for (int gpu = 0; gpu < stub.n_gpus; gpu++) {
		size_t len = bytes_on(gpu);
		int fd = len ? memfd_create("nvidia-lent", MFD_CLOEXEC) : -1;

		if (!len)
			continue;
		if (fd < 0 || ftruncate(fd, (off_t)len))
			return OUT_OF_MEMORY;
		lent.fd[lent.n] = fd;
		lent.gpu[lent.n] = gpu;
		lent.len[lent.n++] = len;
	}
	return OK;
}

static void ranges_close(void)
{
	while (lent.n)
		close(lent.fd[--lent.n]);
}

int lend_out(void)
{
	int r = stub.managed ? NOT_SUPPORTED : ranges_make();

	if (r != OK)
		return r;
	for (int i = 0; i < lent.n; i++)
		range_copy(i, 0);
	stub.state = CHECKPOINTING;
	return r;
}

void lend_out_end(void)
{
	for (int i = 0; i < ALLOCS; i++)
		if (stub.alloc[i].at)
			mmap((void *)stub.alloc[i].at, stub.alloc[i].len, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	pieces_let_go();
	devs_close();
	ranges_close();
	stub.lent = 1;
	stub.state = CHECKPOINTED;
}

int lend_in(void)
{
	int r = OK;

	for (int i = 0; i < ALLOCS && r == OK; i++) {
		struct alloc *a = &stub.alloc[i];

		if (a->at)
			r = a->piece ? pieces_restore(a) : mem_map(a->gpu, a->at, a->len, &a->at);
		if (a->at && r == OK)
			memset((void *)a->at, 0xee, a->len);
	}
	if (r == OK)
		r = ranges_make();
	for (int i = 0; i < lent.n && r == OK; i++)
		range_copy(i, 0);
	stub.state = RESTORING;
	return r;
}

void lend_in_end(void)
{
	for (int i = 0; i < lent.n; i++)
		range_copy(i, 1);
	ranges_close();
	devs_open();
	stub.lent = 0;
	stub.state = LOCKED;
}

/* The ranges to whoever asked: numbers of GPUs, and descriptors. */
void lend_send(int sock)
{
	union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int) * GPUS)]; } room = { 0 };
	int number[GPUS + 1] = { lent.n };
	struct iovec iov = { number, sizeof(number) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room };
	struct cmsghdr *c = &room.align;

	for (int i = 0; i < lent.n; i++)
		number[i + 1] = stub.number[lent.gpu[i]];
	m.msg_controllen = lent.n ? CMSG_SPACE(sizeof(int) * (size_t)lent.n) : 0;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)lent.n);
	memcpy(CMSG_DATA(c), lent.fd, sizeof(int) * (size_t)lent.n);
	(void)!sendmsg(sock, &m, MSG_NOSIGNAL);
}

/* --- in the caller */

struct range {
	dev_ptr at;
	size_t len;
	void *stream;
};
struct view {
	void *handle;
	struct range *range;
	unsigned n;
	/* the stub's own */
	struct range rows[GPUS];
	pid_t pid;
	int in;
};

static int device_of(int number)
{
	for (int i = 0; i < stub.n_gpus; i++)
		if (stub.number[i] == number)
			return i;
	return -1;
}

int lend_receive(int sock, pid_t pid, int in, struct view **ret)
{
	union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int) * GPUS)]; } room;
	int number[GPUS + 1], fd[GPUS];
	struct iovec iov = { number, sizeof(number) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof(room) };
	struct view *v = calloc(1, sizeof(*v));

	if (!v || recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_WAITALL) != sizeof(number))
		return OPERATING_SYSTEM;
	if (number[0])
		memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int) * (size_t)number[0]);
	*v = (struct view){ .handle = v, .range = v->rows, .n = (unsigned)number[0], .pid = pid, .in = in };
	for (unsigned i = 0; i < v->n; i++) {
		struct stat st;

		fstat(fd[i], &st);
		v->rows[i].len = (size_t)st.st_size;
		v->rows[i].at = (dev_ptr)mmap(NULL, v->rows[i].len, PROT_READ | PROT_WRITE, MAP_SHARED, fd[i], 0);
		v->rows[i].stream = &stub.primary[device_of(number[i + 1])];
		close(fd[i]);
	}
	*ret = v;
	return OK;
}

/* The primary contexts that the caller holds. */
int lend_held(int number[GPUS])
{
	int n = 0;

	for (int i = 0; i < stub.n_gpus; i++)
		if (stub.primary_refs[i] > 0)
			number[n++] = stub.number[i];
	return n;
}

int cuCheckpointOperationComplete(struct view *v);
int cuCheckpointOperationComplete(struct view *v)
{
	int r = call_begin("cuCheckpointOperationComplete");

	if (r)
		return r;
	for (unsigned i = 0; i < v->n; i++)
		munmap((void *)v->rows[i].at, v->rows[i].len);
	r = lend_complete(v->pid, v->in);
	free(v);
	return r;
}

CALL(cuStreamGetCtx, (void *stream, struct ctx **ret), { *ret = stream; })
