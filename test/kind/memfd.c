/* SPDX-License-Identifier: Apache-2.0 */
/* memfds: contents with holes, position, flags, seals of every kind, mode and owner; mapped and not; opened again. */
#include <sys/mman.h>
#include <sys/stat.h>

#include "subject.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 16
#endif

enum { PAGE = 4096, LEN = 3 << 20 };

static int make(const char *name, unsigned flags, off_t size)
{
	int fd = memfd_create(name, flags);

	CHECK(fd >= 0 && !ftruncate(fd, size), "memfd %s", name);
	return fd;
}

static int again(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

int main(void)
{
	int plain = make("plain", MFD_CLOEXEC, LEN), sealed, future, noexec, shrunk, empty, ro, gone;
	char *map, *ro_map, *future_map, *priv, c = 0;
	struct stat st;

	CHECK(pwrite(plain, "begin", 5, 0) == 5 && pwrite(plain, "end", 3, LEN - 3) == 3, "write");
	lseek(plain, 12345, SEEK_SET);
	fcntl(plain, F_SETFL, O_APPEND | O_NONBLOCK);
	CHECK(!fchmod(plain, 0640) && !fchown(plain, 12, 34), "owner and mode");
	ro = again(plain, O_RDONLY);
	CHECK(ro >= 0 && lseek(ro, 7, SEEK_SET) == 7, "open again");

	sealed = make("all \"seals\"", MFD_ALLOW_SEALING, 2 * PAGE);
	CHECK(write(sealed, "sealed", 6) == 6 &&
		      !fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL),
	      "seal");
	gone = again(sealed, O_RDONLY);
	ro_map = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, gone, 0);
	close(gone);

	future = make("future", MFD_ALLOW_SEALING, PAGE);
	future_map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, future, 0);
	CHECK(!fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), "seal the future");
	strcpy(future_map, "future");

	noexec = make("noexec", MFD_NOEXEC_SEAL, 100);
	empty = make("", 0, 0);
	shrunk = make("odd size", 0, PAGE + 1);
	CHECK(pwrite(shrunk, "x", 1, PAGE) == 1, "write the last byte");

	/* kept by its mappings alone */
	gone = make("mapped", 0, LEN);
	map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, gone, 0);
	priv = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, gone, 0);
	close(gone);
	CHECK(map != MAP_FAILED && priv != MAP_FAILED && ro_map != MAP_FAILED && future_map != MAP_FAILED, "map");
	map[0] = map[LEN - 1] = 's';
	priv[LEN - 1] = 'p';

	subject_ready();

	CHECK(lseek(plain, 0, SEEK_CUR) == 12345 && lseek(ro, 0, SEEK_CUR) == 7, "positions");
	CHECK((fcntl(plain, F_GETFL) & (O_APPEND | O_NONBLOCK)) == (O_APPEND | O_NONBLOCK), "flags");
	CHECK(!fstat(plain, &st) && st.st_size == LEN && st.st_uid == 12 && st.st_gid == 34, "stat");
	CHECK((st.st_mode & 07777) == 0640 && st.st_blocks <= 4 * PAGE / 512, "mode %o, %ld blocks", st.st_mode,
	      (long)st.st_blocks);
	CHECK(pread(ro, &c, 1, LEN - 1) == 1 && c == 'd', "the end");
	CHECK(pwrite(ro, &c, 1, 0) < 0 && write(plain, "more", 4) == 4 && pread(ro, &c, 1, LEN + 3) == 1 && c == 'e',
	      "append");

	CHECK(fcntl(sealed, F_GET_SEALS) == (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL), "seals");
	CHECK(pwrite(sealed, "X", 1, 0) < 0 && errno == EPERM && !strcmp(ro_map, "sealed"), "a sealed memfd");
	CHECK(mprotect(ro_map, PAGE, PROT_READ | PROT_WRITE) < 0, "a read-only mapping can be made writable");
	CHECK(fcntl(future, F_GET_SEALS) == F_SEAL_FUTURE_WRITE && !strcmp(future_map, "future"),
	      "F_SEAL_FUTURE_WRITE");
	future_map[0] = 'F';
	CHECK(pread(future, &c, 1, 0) == 1 && c == 'F' && write(future, "x", 1) < 0, "the mapping is not of the memfd");
	CHECK(fcntl(noexec, F_GET_SEALS) & 0x20 && fchmod(noexec, 0777) < 0 && !fstat(noexec, &st) && st.st_size == 100,
	      "noexec");
	CHECK(!fstat(empty, &st) && st.st_size == 0 && fcntl(empty, F_GET_SEALS) == F_SEAL_SEAL, "the empty one");
	CHECK(!fstat(shrunk, &st) && st.st_size == PAGE + 1 && pread(shrunk, &c, 1, PAGE) == 1 && c == 'x',
	      "the odd size");

	CHECK(map[0] == 's' && map[1] == 0 && map[LEN - 1] == 's' && priv[LEN - 1] == 'p' && priv[0] == 's',
	      "mappings");
	map[1] = 't';
	CHECK(priv[1] == 't', "the private mapping is not of the same memfd");
	return 0;
}
