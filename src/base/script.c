/* SPDX-License-Identifier: Apache-2.0 */
/* --action-script (script.h). posix_spawn, so that a large engine is not copied for it. */
#include "base/script.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int spawn_and_wait(const char *path, const char *action)
{
	char *const argv[] = { (char *)path, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t dfl;
	int status, err;
	pid_t pid;

	/* thaw ignores these signals and holds the files of others; its children should not */
	sigemptyset(&dfl);
	sigaddset(&dfl, SIGPIPE);
	sigaddset(&dfl, SIGXFSZ);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &dfl);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	err = posix_spawn(&pid, path, &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	if (err)
		return err_set(err, "--action-script: run %s", path);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(errno, "--action-script: wait for %s", path);
	if (status)
		return err_say(ECANCELED, "--action-script: %s failed at %s (wait status 0x%x)", path, action, status);
	return 0;
}

int script_run_all(const struct opts *o, const char *action, pid_t init)
{
	char pid[16];
	int err = 0;

	if (!o->action_script.n)
		return 0;
	snprintf(pid, sizeof(pid), "%d", init);
	if (setenv("CRTOOLS_SCRIPT_ACTION", action, 1) < 0 || setenv("CRTOOLS_IMAGE_DIR", o->images_dir, 1) < 0 ||
	    (init > 0 && setenv("CRTOOLS_INIT_PID", pid, 1) < 0))
		return err_set(errno, "--action-script: set its environment");
	for (size_t i = 0; err >= 0 && i < o->action_script.n; i++)
		err = spawn_and_wait(o->action_script.item[i], action);
	return err;
}
