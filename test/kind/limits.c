/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits: lowered ones, soft ones below hard ones, and those that are as they always were. */
#include <sys/resource.h>

#include "subject.h"

static struct rlimit was[RLIM_NLIMITS];

static void set(int which, rlim_t cur, rlim_t max)
{
	struct rlimit l = { cur, max };

	CHECK(!setrlimit(which, &l), "set limit %d", which);
}

int main(void)
{
	set(RLIMIT_NOFILE, 64, 128);
	set(RLIMIT_CORE, 0, 4096);
	set(RLIMIT_STACK, 1 << 20, 4 << 20);
	set(RLIMIT_SIGPENDING, 17, 18);
	set(RLIMIT_NPROC, 1000, 2000);
	set(RLIMIT_FSIZE, 1 << 30, RLIM_INFINITY);
	set(RLIMIT_MSGQUEUE, 0, 0);
	set(RLIMIT_AS, 1ul << 40, 1ul << 41);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		CHECK(!getrlimit(i, &was[i]), "get limit %d", i);

	subject_ready();

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit is;

		CHECK(!getrlimit(i, &is), "get limit %d", i);
		CHECK(is.rlim_cur == was[i].rlim_cur && is.rlim_max == was[i].rlim_max, "limit %d: %lu %lu", i,
		      (unsigned long)is.rlim_cur, (unsigned long)is.rlim_max);
	}
	return 0;
}
