/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's socket (gpu_socket.h). */
#include "gpu/gpu_socket.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Root's is the machine's agent; anybody else has one for the own processes. */
int gpu_socket_path(const char *given, char ret_path[GPU_SOCKET_LEN])
{
	const char *dir = "/run/thaw";
	int len;

	if (given && *given != '/')
		return err_say(EINVAL, "--gpu-socket %s: the path must begin with /", given);
	if (given) {
		len = snprintf(ret_path, GPU_SOCKET_LEN, "%s", given);
	} else if (geteuid() == 0) {
		if (mkdir(dir, 0755) && errno != EEXIST)
			return err_set(errno, "make the directory %s for the GPU agent's socket", dir);
		len = snprintf(ret_path, GPU_SOCKET_LEN, "%s/gpu.sock", dir);
	} else {
		dir = secure_getenv("XDG_RUNTIME_DIR");
		if (!dir || !*dir)
			return err_say(ENOENT, "XDG_RUNTIME_DIR is not set: say with --gpu-socket where the GPU agent's socket is");
		len = snprintf(ret_path, GPU_SOCKET_LEN, "%s/thaw-gpu.sock", dir);
	}
	if (len >= GPU_SOCKET_LEN)
		return err_say(ENAMETOOLONG, "the path of the GPU agent's socket is longer than %d bytes", GPU_SOCKET_LEN - 1);
	return 0;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return sa;
}

static int socket_new(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	return fd < 0 ? err_set(errno, "make a socket for the GPU agent") : fd;
}

int gpu_socket_connect(const char *path, int *ret_fd)
{
	struct sockaddr_un sa = address(path);
	auto_close int fd = socket_new();

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return err_set(errno, "connect to the GPU agent at %s", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

int gpu_socket_lock(const char *path, const char *suffix, int flock_op, int *ret_fd)
{
	char name[GPU_SOCKET_LEN + 8];
	auto_close int fd = -1;

	snprintf(name, sizeof(name), "%s.%s", path, suffix);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, flock_op))
		return err_set(errno, "lock %s", name);
	*ret_fd = take_fd(&fd);
	return 0;
}

int gpu_socket_listen(const char *path, int *ret_fd, int *ret_lock_fd)
{
	struct sockaddr_un sa = address(path);
	auto_close int fd = -1, lock = -1;
	int r = gpu_socket_lock(path, "pid", LOCK_EX | LOCK_NB, &lock);

	if (r == -EWOULDBLOCK)
		return err_say(EADDRINUSE, "a GPU agent listens at %s already", path);
	if (r < 0)
		return r;
	fd = socket_new();
	if (fd < 0)
		return fd;
	unlink(path); /* of an agent that died: the lock is ours */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || chmod(path, 0600) || listen(fd, 64))
		return err_set(errno, "listen at %s", path);
	if (ftruncate(lock, 0) == 0)
		dprintf(lock, "%d\n", getpid());
	*ret_fd = take_fd(&fd);
	*ret_lock_fd = take_fd(&lock);
	return 0;
}
