/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: the restore thread of a process, and those who ask it (stub.h). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "stub.h"

enum { OP_STATE, OP_LOCK, OP_CHECKPOINT, OP_RESTORE, OP_UNLOCK, OP_LEND_OUT, OP_LEND_IN, OP_LENT_OUT, OP_LENT_IN };

struct order {
	int op;
	unsigned timeout_ms, n_pairs;
	uint8_t pair[GPUS][2][16];
	int n_gpus, number[GPUS]; /* that the caller sees: what the machine has now */
};

struct outcome {
	int result, value;
};

static int do_lock(unsigned timeout_ms)
{
	if (!gate_close(timeout_ms))
		return NOT_READY;
	stub.state = LOCKED;
	return OK;
}

/* Device memory goes into one private mapping; its addresses stay reserved. */
static int do_checkpoint(void)
{
	size_t len = 0;

	if (stub.managed)
		return NOT_SUPPORTED;
	for (int i = 0; i < ALLOCS; i++)
		if (stub.alloc[i].at) {
			stub.alloc[i].offset = len;
			len += stub.alloc[i].len;
		}
	stub.backup_len = len ? len : 4096;
	stub.backup = mmap(NULL, stub.backup_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
			   -1, 0); /* populated at once, as with driver 580 */
	if (stub.backup == MAP_FAILED)
		return OUT_OF_MEMORY;
	for (int i = 0; i < ALLOCS; i++) {
		struct alloc *a = &stub.alloc[i];

		if (!a->at)
			continue;
		memcpy((char *)stub.backup + a->offset, (void *)a->at, a->len);
		mmap((void *)a->at, a->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	}
	pieces_let_go();
	devs_close();
	stub.state = CHECKPOINTED;
	return OK;
}

/* Which number takes the place of the GPU that had this one; -1: none that is there. */
static int number_now(const struct order *o, int number)
{
	uint8_t uuid[16], other[16];
	int wanted = o->n_pairs ? -1 : number;

	uuid_of(number, uuid);
	for (unsigned i = 0; i < o->n_pairs; i++)
		for (int k = 0; k < o->n_gpus && !memcmp(o->pair[i][0], uuid, 16); k++) {
			uuid_of(o->number[k], other);
			if (!memcmp(o->pair[i][1], other, 16))
				wanted = o->number[k];
		}
	for (int k = 0; k < o->n_gpus; k++)
		if (o->number[k] == wanted)
			return wanted;
	return -1;
}

static int do_map(const struct order *o)
{
	int now[GPUS];

	for (int i = 0; i < stub.n_gpus; i++) {
		now[i] = number_now(o, stub.number[i]);
		if (now[i] < 0)
			return INVALID_VALUE;
		if (now[i] / 100 != stub.number[i] / 100)
			return NOT_SUPPORTED;
	}
	memcpy(stub.number, now, sizeof(now[0]) * (size_t)stub.n_gpus);
	return OK;
}

static int do_restore(const struct order *o)
{
	int r = stub.lost ? NOT_SUPPORTED : do_map(o);

	for (int i = 0; i < ALLOCS && r == OK; i++) {
		struct alloc *a = &stub.alloc[i];

		if (a->at)
			r = a->piece ? pieces_restore(a) : mem_map(a->gpu, a->at, a->len, &a->at);
		if (a->at && r == OK)
			memcpy((void *)a->at, (char *)stub.backup + a->offset, a->len);
	}
	if (r != OK)
		return r;
	munmap(stub.backup, stub.backup_len);
	devs_open();
	stub.state = LOCKED;
	return OK;
}

/* The caller must hold the contexts of all GPUs that the process has memory on. */
static int do_lend(const struct order *o, int in)
{
	int r = in ? do_map(o) : OK;

	for (int i = 0; i < ALLOCS && r == OK; i++) {
		int k = 0;

		while (stub.alloc[i].at && k < o->n_gpus && o->number[k] != stub.number[stub.alloc[i].gpu])
			k++;
		if (stub.alloc[i].at && k == o->n_gpus)
			r = INVALID_CONTEXT;
	}
	if (r == OK)
		r = in ? lend_in() : lend_out();
	return r;
}

static int do_lent(int in)
{
	if (in)
		lend_in_end();
	else
		lend_out_end();
	return OK;
}

static int do_unlock(void)
{
	stub.state = RUNNING;
	gate_open();
	return OK;
}

static struct outcome order_do(const struct order *o)
{
	static const int needs[] = {
		[OP_LOCK] = RUNNING, [OP_CHECKPOINT] = LOCKED, [OP_RESTORE] = CHECKPOINTED, [OP_UNLOCK] = LOCKED,
		[OP_LEND_OUT] = LOCKED, [OP_LEND_IN] = CHECKPOINTED, [OP_LENT_OUT] = CHECKPOINTING, [OP_LENT_IN] = RESTORING,
	};

	if (o->op == OP_STATE)
		return (struct outcome){ OK, stub.state };
	if (stub.state != needs[o->op] || (stub.state == CHECKPOINTED && stub.lent != (o->op == OP_LEND_IN)))
		return (struct outcome){ ILLEGAL_STATE, 0 };
	switch (o->op) {
	case OP_LOCK: return (struct outcome){ do_lock(o->timeout_ms), 0 };
	case OP_CHECKPOINT: return (struct outcome){ do_checkpoint(), 0 };
	case OP_RESTORE: return (struct outcome){ do_restore(o), 0 };
	case OP_LEND_OUT: return (struct outcome){ do_lend(o, 0), 0 };
	case OP_LEND_IN: return (struct outcome){ do_lend(o, 1), 0 };
	case OP_LENT_OUT: return (struct outcome){ do_lent(0), 0 };
	case OP_LENT_IN: return (struct outcome){ do_lent(1), 0 };
	default: return (struct outcome){ do_unlock(), 0 };
	}
}

static void *restore_thread(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "cuda-restore");
	stub.restore_tid = (pid_t)syscall(SYS_gettid);
	for (;;) {
		int fd = accept4(stub.listen_fd, NULL, NULL, SOCK_CLOEXEC);
		struct outcome out;
		struct order o;

		if (fd >= 0 && recv(fd, &o, sizeof(o), MSG_WAITALL) == sizeof(o)) {
			out = order_do(&o); /* nobody else is inside */
			(void)!send(fd, &out, sizeof(out), MSG_NOSIGNAL);
			if (out.result == OK && (o.op == OP_LEND_OUT || o.op == OP_LEND_IN))
				lend_send(fd);
		}
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

static socklen_t address(pid_t pid, struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(sa->sun_path + 1, sizeof(sa->sun_path) - 1, "stub-cuda.%d", pid));
}

static int restore_thread_start(void)
{
	struct sockaddr_un sa;
	socklen_t len = address(getpid(), &sa);
	pthread_t t;
	int r;

	stub.event_fd = eventfd(0, EFD_CLOEXEC);
	stub.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (pipe2(stub.pipe_fd, O_CLOEXEC) || bind(stub.listen_fd, (struct sockaddr *)&sa, len) ||
	    listen(stub.listen_fd, 16))
		return OPERATING_SYSTEM;
	r = pthread_create(&t, NULL, restore_thread, NULL); /* which blocks no signals, as with driver 580 */
	return r ? OPERATING_SYSTEM : OK;
}

int cuInit(unsigned flags);
int cuInit(unsigned flags)
{
	const char *mem = getenv("STUB_CUDA_MEM");
	int r = call_begin("cuInit");

	if (r || stub.ready || flags)
		return flags ? INVALID_VALUE : r;
	gpus_read(&stub.n_gpus, stub.number);
	stub.mem_len = (size_t)(mem ? strtol(mem, NULL, 10) : 4096) << 20;
	if (!stub.n_gpus)
		return NO_DEVICE;
	devs_open();
	r = restore_thread_start();
	stub.ready = r == OK;
	return r;
}

/* ret (or NULL): what is lent. */
static int ask_for(const char *name, pid_t pid, struct order *o, int *value, struct view **ret)
{
	struct outcome out = { OPERATING_SYSTEM, 0 };
	struct sockaddr_un sa;
	socklen_t len = address(pid, &sa);
	int r = call_begin(name), fd;
	char end;

	if (r)
		return r;
	if (ret)
		o->n_gpus = lend_held(o->number);
	else
		gpus_read(&o->n_gpus, o->number);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&sa, len))
		out.result = NOT_INITIALIZED; /* no CUDA there */
	else if (send(fd, o, sizeof(*o), MSG_NOSIGNAL) == sizeof(*o))
		(void)!recv(fd, &out, sizeof(out), MSG_WAITALL);
	if (ret && out.result == OK)
		out.result = lend_receive(fd, pid, o->op == OP_LEND_IN, ret);
	(void)!recv(fd, &end, 1, 0); /* until the other end is closed: nobody shall see it there */
	close(fd);
	if (value)
		*value = out.value;
	return out.result;
}

static int ask(const char *name, pid_t pid, struct order *o, int *value)
{
	return ask_for(name, pid, o, value, NULL);
}

int lend_complete(pid_t pid, int in)
{
	struct order o = { .op = in ? OP_LENT_IN : OP_LENT_OUT };

	return ask("complete", pid, &o, NULL);
}

#define CHECKPOINT_CALL(name, args, ...)                     \
	int name args;                                       \
	int name args                                        \
	{                                                    \
		struct order o = { .op = -1 };               \
		__VA_ARGS__                                  \
	}

CHECKPOINT_CALL(cuCheckpointProcessGetState, (int pid, int *state), {
	o.op = OP_STATE;
	return ask("cuCheckpointProcessGetState", pid, &o, state);
})

/* As with driver 580 the thread need not run to be known: it has a name. */
int cuCheckpointProcessGetRestoreThreadId(int pid, int *tid);
int cuCheckpointProcessGetRestoreThreadId(int pid, int *tid)
{
	int r = call_begin("cuCheckpointProcessGetRestoreThreadId");
	char path[300], name[32] = "";
	const struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = r ? NULL : opendir(path);
	if (!dir)
		return r ? r : OPERATING_SYSTEM;
	while ((e = readdir(dir)) && strcmp(name, "cuda-restore\n")) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", pid, e->d_name);
		f = fopen(path, "re");
		if (!f || !fgets(name, sizeof(name), f))
			name[0] = 0;
		if (f)
			fclose(f);
		*tid = (int)strtol(e->d_name, NULL, 10);
	}
	closedir(dir);
	return strcmp(name, "cuda-restore\n") ? NOT_INITIALIZED : OK;
}

CHECKPOINT_CALL(cuCheckpointProcessLock, (int pid, const unsigned *args), {
	o.op = OP_LOCK;
	o.timeout_ms = args ? args[0] : 0;
	return ask("cuCheckpointProcessLock", pid, &o, NULL);
})
CHECKPOINT_CALL(cuCheckpointProcessCheckpoint, (int pid, struct view **const *args), {
	o.op = args && *args ? OP_LEND_OUT : OP_CHECKPOINT;
	if (o.op == OP_LEND_OUT)
		return stub_lends() ? ask_for("cuCheckpointProcessCheckpoint", pid, &o, NULL, *args) : INVALID_VALUE;
	return ask("cuCheckpointProcessCheckpoint", pid, &o, NULL);
})
struct restore_args {
	const void *pair;
	unsigned n, zero;
	struct view **view;
};
CHECKPOINT_CALL(cuCheckpointProcessRestore, (int pid, const struct restore_args *args), {
	o.op = OP_RESTORE;
	o.n_pairs = args && args->pair ? args->n : 0;
	if (o.n_pairs > GPUS)
		return INVALID_VALUE;
	if (o.n_pairs)
		memcpy(o.pair, args->pair, o.n_pairs * sizeof(o.pair[0]));
	if (args && args->view) {
		o.op = OP_LEND_IN;
		return stub_lends() ? ask_for("cuCheckpointProcessRestore", pid, &o, NULL, args->view) : INVALID_VALUE;
	}
	return ask("cuCheckpointProcessRestore", pid, &o, NULL);
})
CHECKPOINT_CALL(cuCheckpointProcessUnlock, (int pid, const void *args), {
	(void)args;
	o.op = OP_UNLOCK;
	return ask("cuCheckpointProcessUnlock", pid, &o, NULL);
})
