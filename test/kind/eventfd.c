/* SPDX-License-Identifier: Apache-2.0 */
/* Counters small and large, semaphores, flags, and a counter that two descriptors share. */
#include <stdint.h>
#include <sys/eventfd.h>

#include "subject.h"

static uint64_t taken(int fd)
{
	uint64_t v = 0;

	CHECK(read(fd, &v, sizeof(v)) == sizeof(v), "read");
	return v;
}

int main(void)
{
	const uint64_t large = UINT64_C(0xfffffffffffffffe);
	int small = eventfd(7, EFD_CLOEXEC), empty = eventfd(0, EFD_NONBLOCK), sem = eventfd(3, EFD_SEMAPHORE);
	int full = eventfd(0, EFD_NONBLOCK), copy;
	uint64_t one = 1;

	CHECK(write(full, &large, sizeof(large)) == sizeof(large), "fill it");
	copy = dup(small);
	CHECK(copy >= 0, "dup");

	subject_ready();

	CHECK(fcntl(small, F_GETFD) == FD_CLOEXEC && fcntl(copy, F_GETFD) == 0, "close-on-exec");
	CHECK(taken(copy) == 7, "the counter");
	CHECK(write(small, &one, sizeof(one)) == sizeof(one) && taken(copy) == 1, "the copy is another eventfd");
	CHECK(read(empty, &one, sizeof(one)) < 0 && errno == EAGAIN, "the empty one");
	CHECK(taken(sem) == 1 && taken(sem) == 1 && taken(sem) == 1, "the semaphore");
	CHECK(write(full, &one, sizeof(one)) < 0 && errno == EAGAIN, "the full one has room");
	CHECK(taken(full) == large, "the large counter");
	return 0;
}
