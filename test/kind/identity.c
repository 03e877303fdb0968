/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Personality, subreaper, OOM score, memory barriers, huge pages disabled, heap; directories and umask, also of a
 * child in a chroot.
 */
#include <linux/membarrier.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "subject.h"

enum { HEAP = 3 << 20 };

static void to_proc(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
	close(fd);
}

static int oom_read(void)
{
	char text[16] = "";
	int fd = open("/proc/self/oom_score_adj", O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0, "oom_score_adj");
	close(fd);
	return atoi(text);
}

/* A child that lives in a chroot and is told by a byte to look around. */
static pid_t child_start(int *ret_pipe)
{
	int p[2];
	pid_t pid;

	CHECK(!pipe(p), "pipe");
	pid = fork();
	if (!pid) {
		struct stat root, up;
		char c;

		close(p[1]);
		CHECK(!mkdir("jail", 0755) && !mkdir("jail/inside", 0755) && !chroot("jail") && !chdir("/inside"),
		      "chroot");
		umask(0123);
		(void)!read(p[0], &c, 1);
		if (umask(0) != 0123 || access("/inside", F_OK) || stat("/", &root) || stat("..", &up))
			_exit(2);
		_exit(root.st_ino == up.st_ino && !chdir("/..") && !access("inside", F_OK) ? 0 : 3);
	}
	close(p[0]);
	*ret_pipe = p[1];
	return pid;
}

int main(void)
{
	pid_t child;
	int fd, status, sub = 0;
	char *heap, cwd[4096], now[4096], name[16];

	child = child_start(&fd);
	CHECK(!mkdir("sub", 0755) && !chdir("sub") && getcwd(cwd, sizeof(cwd)), "a directory of its own");
	umask(027);
	to_proc("/proc/self/oom_score_adj", "123");
	CHECK(personality(ADDR_NO_RANDOMIZE | UNAME26) >= 0, "personality");
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1), "subreaper");
	CHECK(!prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), "disable huge pages");
	CHECK(!prctl(PR_SET_NAME, "a \"name\"\n"), "name");
	CHECK(!syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0), "membarrier");
	to_proc("/proc/self/coredump_filter", "0x17");
	heap = sbrk(HEAP);
	CHECK(heap != (void *)-1, "sbrk");
	memset(heap, 'h', HEAP);

	subject_ready();

	CHECK(getcwd(now, sizeof(now)) && !strcmp(cwd, now), "directory: %s", now);
	CHECK(umask(0) == 027, "umask");
	CHECK(oom_read() == 123, "OOM score: %d", oom_read());
	CHECK(personality(0xffffffff) == (ADDR_NO_RANDOMIZE | UNAME26), "personality");
	CHECK(!prctl(PR_GET_CHILD_SUBREAPER, &sub) && sub, "subreaper");
	CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1, "huge pages are enabled");
	CHECK(!prctl(PR_GET_NAME, name) && !strcmp(name, "a \"name\"\n"), "name: %s", name);
	CHECK(!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), "membarrier");
	CHECK(sbrk(0) == heap + HEAP && heap[HEAP - 1] == 'h', "heap");
	CHECK(sbrk(4096) == heap + HEAP, "the heap grows");
	heap[HEAP] = 1;
	CHECK(getauxval(AT_PAGESZ) == 4096, "auxiliary vector");
	CHECK(write(fd, "", 1) == 1, "tell the child");
	CHECK(waitpid(child, &status, 0) == child && !status, "the child: status %x", (unsigned)status);
	return 0;
}
