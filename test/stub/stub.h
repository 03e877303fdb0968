/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libcuda.so.1 without a GPU: enough of NVIDIA's driver interface that every path of thaw's GPU side runs on any
 * machine. Built as build/test/stub/libcuda.so.1. Programs find it by LD_LIBRARY_PATH, the agent by THAW_LIBCUDA.
 *
 *   stub.h        the state of the process, shared by all, and CALL(), by which every call of the program is written
 *   rules.c       what tests make go wrong: each call passes call_begin() with its name; the gate where calls of
 *                 the program wait while the process is locked
 *   devices.c     GPUs as the environment says, and contexts: a current one per thread, primary ones counted
 *   memory.c      device memory is host memory, a memfd mapped at the device address; so kernels are C functions
 *   kernels.c     "fill" and "verify" of any module
 *   checkpoint.c  what the restore thread does in the process, and cuCheckpointProcess*(), which ask the
 *                 restore thread of another process through an abstract socket
 *
 *   lend.c        what CUDA 13.4 calls custom storage: only if STUB_CUDA_DRIVER is 13040 or more
 *   vmm.c         physical pieces that are mapped at reserved addresses, exported and imported as descriptors
 *   nvml.c        GPUs and their free memory, for whom THAW_LIBNVML names this library
 *
 * A new group of calls is one more file; what it allocates becomes rows of stub.alloc.
 *
 * What dump must see is as with the real driver. While a process has its GPU, it has descriptors that cannot be
 * dumped, and a mapping of each (/dev/nvidiactl, /dev/nvidia-uvm and /dev/nvidiaN where a test has made such files,
 * else memfds of these names, which are not mapped). Checkpointed, it is an ordinary process with an eventfd, a pipe,
 * one listening socket, and one private mapping that holds the memory of all its GPUs. That socket's name has the PID
 * in it, so the restored process is found as the old one was. The restore thread does all the work: while it cannot
 * run, callers hang.
 *
 * Environment:
 *   STUB_CUDA_GPUS    numbers that become GPUs with UUIDs made of them, "1,2" (default "1"); from 100 on another chip
 *   STUB_CUDA_MEM     MiB a GPU has (default 4096)
 *   STUB_CUDA_DRIVER  what cuDriverGetVersion says (default 12080)
 *   STUB_CUDA_KEEPS   set: it lends no memory, whatever its version
 *   STUB_CUDA_LOG     a file that gets a line "PID CALL" for each call
 *   STUB_CUDA_RULES   a file of lines "CALL N WHAT": the Nth call (0: each) of that name in a process fails with the
 *                     CUresult WHAT, waits ("sleep=MS"), never comes back ("hang") or ends the process ("die").
 *                     Read again at each call, so that a test may write it at any time.
 */
#ifndef STUB_H
#define STUB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
	INVALID_CONTEXT = 201, OPERATING_SYSTEM = 304, ILLEGAL_STATE = 401, NOT_FOUND = 500, NOT_READY = 600,
	NOT_SUPPORTED = 801,
};
enum { RUNNING, LOCKED, CHECKPOINTED, FAILED, CHECKPOINTING, RESTORING };
enum { GPUS = 32, ALLOCS = 4096, CTXS = 256 };

typedef uint64_t dev_ptr;

struct ctx {
	int used, gpu;
};

struct alloc {
	dev_ptr at; /* 0: free row */
	size_t len, offset; /* offset: in the backup, while checkpointed */
	int gpu;
	struct piece *piece; /* vmm.c: what is mapped here; NULL: memory of its own */
};

extern struct stub {
	pthread_mutex_t lock;
	int ready, state;
	_Atomic int closed, inside; /* closed: no call may enter; inside: that many are */
	int n_gpus, number[GPUS], primary_refs[GPUS];
	size_t mem_len, taken[GPUS];
	int dev_fd[GPUS + 2];
	void *dev_map[GPUS + 2];
	int event_fd, pipe_fd[2], listen_fd;
	pid_t restore_tid;
	struct ctx ctx[CTXS], primary[GPUS];
	struct alloc alloc[ALLOCS];
	void *backup;
	size_t backup_len;
	int managed; /* there is unified memory: it cannot be checkpointed */
	int lent; /* checkpointed, and its memory is with whoever asked */
	int lost; /* imported memory was mapped at the checkpoint: it cannot be restored */
} stub;

/* --- rules and gate */
int call_begin(const char *name);
int gate_enter(const char *name);
int gate_leave(int r);
bool gate_close(unsigned timeout_ms);
void gate_open(void);

/* A call of the program: `CALL(cuX, (args), { ...; r = ...; })`; r is its result. */
#define CALL(name, args, ...)               \
	int name args;                      \
	int name args                       \
	{                                   \
		int r = gate_enter(#name);  \
		if (r == NOT_INITIALIZED && !stub.ready) \
			return r;           \
		if (r == OK)                \
			__VA_ARGS__         \
		return gate_leave(r);       \
	}
/* One that never waits. */
#define FREE_CALL(name, args, ...)          \
	int name args;                      \
	int name args                       \
	{                                   \
		int r = call_begin(#name);  \
		if (r == OK)                \
			__VA_ARGS__         \
		return r;                   \
	}

/* --- devices and contexts */
void gpus_read(int *n, int number[GPUS]); /* what the environment says now */
void uuid_of(int number, uint8_t uuid[16]);
int stub_lends(void); /* whether the driver is one that lends memory */
void devs_open(void);
void devs_close(void);
struct ctx *ctx_now(void);

/* --- memory */
int mem_map(int gpu, dev_ptr at, size_t len, dev_ptr *ret);
int pieces_let_go(void);               /* at a checkpoint: descriptors are closed */
/* --- lent memory: in the process, in the caller; pid's restore thread does the rest */
struct view;
int lend_out(void);
void lend_out_end(void);
int lend_in(void);
void lend_in_end(void);
void lend_send(int sock);
int lend_receive(int sock, pid_t pid, int in, struct view **ret);
int lend_held(int number[GPUS]);
int lend_complete(pid_t pid, int in);

int pieces_restore(struct alloc *a);    /* maps the piece of this row again, with a new descriptor */

#endif
