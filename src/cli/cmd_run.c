/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw run: becomes the command, with libthaw-cuda.so preloaded (src/preload/preload.c, doc/gpu-direct.md).
 *
 * The dynamic loader ignores what is to be preloaded, without a word, in programs that have none or that gain
 * privileges. That would show only at the dump, so it is refused here.
 */
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/part.h"

static int library_find(char ret[PATH_MAX])
{
	int r = part_find("libthaw-cuda.so", ret);

	if (r >= 0 && strpbrk(ret, " :"))
		r = err_say(EINVAL, "%s: a path with blanks or colons cannot be preloaded", ret);
	return r;
}

/* The file that execvp() would take; "" if there is none, which it will say itself. */
static void command_find(const char *name, char ret[PATH_MAX])
{
	const char *dir = getenv("PATH");

	ret[0] = '\0';
	if (strchr(name, '/') || !dir) {
		snprintf(ret, PATH_MAX, "%s", name);
		return;
	}
	for (size_t len; *dir; dir += len + (dir[len] == ':')) {
		len = strcspn(dir, ":");
		snprintf(ret, PATH_MAX, "%.*s/%s", (int)len, dir, name);
		if (!access(ret, X_OK))
			return;
	}
	ret[0] = '\0';
}

static bool elf_is_static(int fd)
{
	Elf64_Phdr ph;
	Elf64_Ehdr eh;

	if (io_pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64)
		return false;
	for (unsigned i = 0; i < eh.e_phnum; i++)
		if (io_pread(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)) != sizeof(ph) || ph.p_type == PT_INTERP)
			return false;
	return true;
}

static int command_check(const char *name)
{
	char path[PATH_MAX];
	auto_close int fd = -1;
	struct stat st;

	command_find(name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return 0; /* execvp() knows better */
	if ((st.st_mode & S_ISUID && st.st_uid != geteuid()) || (st.st_mode & S_ISGID && st.st_gid != getegid()))
		return err_say(EPERM, "%s runs with its owner's rights: nothing can be preloaded into it", path);
	if (elf_is_static(fd))
		return err_say(ENOEXEC, "%s is linked statically: nothing can be preloaded into it", path);
	return 0;
}

static int preload_set(const char *library)
{
	const char *others = getenv("LD_PRELOAD");
	auto_free char *all = NULL;

	if (asprintf(&all, "%s%s%s", library, others && *others ? ":" : "", others ? others : "") < 0 ||
	    setenv("LD_PRELOAD", all, 1))
		return err_set(ENOMEM, "LD_PRELOAD");
	return 0;
}

int cmd_run(const struct opts *o, int *ret_exit)
{
	char library[PATH_MAX];
	int r = command_check(o->run_argv[0]);

	(void)ret_exit;
	if (r >= 0)
		r = library_find(library);
	if (r >= 0)
		r = preload_set(library);
	if (r < 0)
		return r;
	log_info("%s with %s", o->run_argv[0], library);
	execvp(o->run_argv[0], o->run_argv);
	return err_set(errno, "%s", o->run_argv[0]);
}
