/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver cannot checkpoint, seen from outside (gpu_dump.h), before anything is done to a process.
 *
 * Unified memory is refused by the driver's checkpoint itself; it is told apart only to refuse it earlier. Memory that
 * was imported from another process is worse: the driver takes the checkpoint and cannot restore it, and the process is
 * lost. An imported event leaves a mark, and PyTorch imports one with each tensor; ranks of NCCL have sockets. Bare
 * imports of memory leave no mark. A client of MPS is refused by the lock, which changes nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "dump/gpu_dump.h"

/* From these releases on the driver is left to judge. */
enum { MANAGED_MAY_WORK = 590, IPC_MAY_WORK = 610 };

/* Below it lie the driver's own mappings of /dev/nvidia-uvm, one a context; managed memory is where mmap() puts it. */
static const uint64_t OWN_BELOW_VA = UINT64_C(1) << 36;

static bool has_managed(const struct gpu_proc *p)
{
	bool own = false, managed = false;

	for (size_t i = 0; i < p->nmaps; i++)
		if (!strcmp(p->maps[i].name, "/dev/nvidia-uvm")) {
			own |= p->maps[i].start_va < OWN_BELOW_VA;
			managed |= p->maps[i].start_va >= OWN_BELOW_VA;
		}
	return own && managed; /* without the first this driver does it in another way */
}

/* The PID in its own namespace, by which the driver calls it. */
static pid_t own_pid(struct dump *d, pid_t pid)
{
	auto_close int proc_fd = proc_open(pid);
	struct proc_status status;

	if (proc_fd < 0 || proc_status_read(proc_fd, pid, d->kinds.a, &status) < 0 || !status.nspid.n)
		return pid;
	return status.nspid.id[status.nspid.n - 1];
}

/* 0, or the process whose event it has: "/dev/shm/cuda.shm.UID.PID.N" is made by that one, PID in hexadecimal. */
static unsigned imports_from(struct dump *d, const struct gpu_proc *p)
{
	unsigned own = (unsigned)own_pid(d, p->pid), maker;

	for (size_t i = 0; i < p->nmaps; i++)
		if (sscanf(p->maps[i].name, "/dev/shm/cuda.shm.%*u.%x.", &maker) == 1 && maker != own)
			return maker;
	return 0;
}

static bool owns_socket(pid_t pid, unsigned long inode)
{
	char path[32], link[64], wanted[64];
	auto_dir DIR *dir = NULL;
	const struct dirent *e;
	bool own = false;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	dir = opendir(path);
	while (dir && !own && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

		link[n < 0 ? 0 : n] = 0;
		own = !strcmp(link, wanted);
	}
	return own;
}

static bool maps_nccl(const struct gpu_proc *p)
{
	for (size_t i = 0; i < p->nmaps; i++)
		if (strstr(p->maps[i].name, "/libnccl.so"))
			return true;
	return false;
}

/*
 * The ranks of an NCCL job have imported each other's memory, on whatever way they talk. Each has a unix socket that
 * is named by its number; one that is alone is like any other process.
 */
static bool is_nccl_rank(const struct gpu_proc *p)
{
	auto_free char *text = NULL;
	char path[40];
	int first = -1, rank;
	bool own = false, several = false;
	unsigned long inode;

	snprintf(path, sizeof(path), "/proc/%d/net/unix", p->pid);
	if (!maps_nccl(p) || io_slurp(AT_FDCWD, path, &text) < 0)
		return false;
	for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *name = strstr(line, "nccl-socket-");

		if (!name || sscanf(name, "nccl-socket-%d-", &rank) != 1 ||
		    sscanf(line, "%*s %*s %*s %*s %*s %*s %lu", &inode) != 1)
			continue;
		own |= owns_socket(p->pid, inode);
		several |= first >= 0 && rank != first;
		first = rank;
	}
	return own && several;
}

/* The release of the driver, 580 say; 0: unknown. */
static int release_of(const struct gpu_dump *g)
{
	struct json_object *status = NULL, *driver, *release;
	auto_free char *text = NULL;
	int number = 0;

	if (gpu_client_status(g->client, &text) >= 0)
		status = json_tokener_parse(text);
	if (json_object_object_get_ex(status, "driver", &driver) && json_object_object_get_ex(driver, "driver", &release))
		number = (int)strtol(json_object_get_string(release), NULL, 10);
	json_object_put(status);
	return number;
}

int gpu_marks_check(struct dump *d, const struct gpu_proc *p)
{
	bool managed = has_managed(p);
	unsigned maker = imports_from(d, p);
	bool nccl = is_nccl_rank(p);
	int release = managed || maker || nccl ? release_of(d->gpu) : 0;

	if (managed && release < MANAGED_MAY_WORK)
		return err_say(ENOTSUP, "it uses unified memory (cudaMallocManaged, __managed__), which the NVIDIA driver "
			       "cannot checkpoint: cudaMalloc can be used instead");
	if (maker && release < IPC_MAY_WORK)
		return err_say(ENOTSUP, "it uses CUDA IPC: what it has imported from process %u is lost in a checkpoint of the "
			       "NVIDIA driver, and it could not be restored: it must give it back before", maker);
	if (nccl && release < IPC_MAY_WORK)
		return err_say(ENOTSUP, "it is one of several ranks of NCCL, which share GPU memory: the NVIDIA driver's checkpoint "
			       "could not be restored: the job must end its communicators before (destroy_process_group())");
	return 0;
}
