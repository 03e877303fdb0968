/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting the agent on demand (gpu_spawn.h).
 *
 * The agent is this very program, executed anew: nothing of the starter's memory, descriptors,
 * signals or threads is to live on in it. A lock file beside the socket keeps two thaws from starting two of
 * them; the second finds the first one's agent.
 */
#include "gpu/gpu_spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "gpu/gpu_socket.h"

/* An agent that was started on demand goes when nobody has needed it for so long. */
#define IDLE_SECONDS "300"

enum { READY_FD = 3 };

/* What comes through the descriptor of --ready-fd. */
struct ready {
	int32_t result;
	char text[1020];
};

/* The program to start: this one, unless it runs under a loader of its own and says how it is called. */
static const char *program(void)
{
	const char *given = secure_getenv("THAW_GPU_AGENT");

	return given && *given ? given : "/proc/self/exe";
}

static int agent_exec(const char *path, int ready_fd, pid_t *ret_pid)
{
	char log[GPU_SOCKET_LEN + 8];
	char *argv[] = { "thaw", "gpu-agent", "--gpu-socket", (char *)path, "--gpu-idle-timeout", IDLE_SECONDS,
			 "--ready-fd", "3", "-v3", "-o", log, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int e;

	snprintf(log, sizeof(log), "%s.log", path);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, ready_fd, READY_FD);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&files, 0, 1);
	posix_spawn_file_actions_adddup2(&files, 0, 2);
	posix_spawn_file_actions_addclosefrom_np(&files, READY_FD + 1);
	posix_spawn_file_actions_addchdir_np(&files, "/");
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setsigmask(&attr, &none);
	e = posix_spawn(ret_pid, program(), &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return e ? err_set(e, "start the GPU agent (%s)", program()) : 0;
}

/* Its first process ends when the agent has left the family, or could not even begin. */
static void first_reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int ready_wait(int fd)
{
	struct ready ready = { 0 };
	ssize_t len = io_read(fd, &ready, sizeof(ready));

	if (len < (ssize_t)sizeof(ready))
		return err_say(ECHILD, "the GPU agent ended while it started");
	ready.text[sizeof(ready.text) - 1] = 0;
	return ready.result < 0 ? err_adopt(-ready.result, ready.text) : 0;
}

int gpu_spawn(const char *path)
{
	auto_close int lock = -1, there = -1;
	int pipes[2], r = gpu_socket_lock(path, "lock", LOCK_EX, &lock);
	pid_t pid;

	if (r < 0)
		return r;
	if (gpu_socket_connect(path, &there) >= 0)
		return 0; /* while we waited for the lock */
	if (pipe2(pipes, O_CLOEXEC))
		return err_set(errno, "start the GPU agent");
	log_info("starting a GPU agent at %s", path);
	r = agent_exec(path, pipes[1], &pid);
	close(pipes[1]);
	if (r >= 0) {
		r = ready_wait(pipes[0]);
		first_reap(pid);
	}
	close(pipes[0]);
	return r;
}

void gpu_spawn_tell(int ready_fd, int result)
{
	struct ready ready = { .result = result };

	if (ready_fd < 0)
		return;
	snprintf(ready.text, sizeof(ready.text), "%s", result < 0 ? err_text() : "");
	(void)!write(ready_fd, &ready, sizeof(ready)); /* a starter that has gone needs no word */
	close(ready_fd);
}

int gpu_spawn_detach(void)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_set(errno, "start the GPU agent");
	if (pid > 0)
		_exit(0);
	return 0;
}
