/* SPDX-License-Identifier: Apache-2.0 */
/* thaw-options: --link-remap --file-locks */
/* thaw-refuses: lease */
/* A dump that fails after it gave a file a temporary name takes that name away again. */
#include <dirent.h>

#include "subject.h"

int main(void)
{
	int a = open("a", O_RDWR | O_CREAT, 0600), b = open("b", O_RDONLY | O_CREAT, 0600);
	struct dirent *d;
	DIR *list;

	CHECK(a >= 0 && !link("a", "kept") && !unlink("a"), "prepare");
	CHECK(!fcntl(b, F_SETLEASE, F_RDLCK), "lease");
	subject_ready();
	list = opendir(".");
	while (list && (d = readdir(list)))
		CHECK(strncmp(d->d_name, "link_remap", 10), "%s is left over", d->d_name);
	CHECK(fcntl(b, F_GETLEASE) == F_RDLCK, "the lease is gone");
	return 0;
}
