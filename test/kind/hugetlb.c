/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: huge pages (hugetlb) is not supported yet
#include <sys/mman.h>

#include "subject.h"

int main(void)
{
	char *p = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE,
		       -1, 0);

	if (p == MAP_FAILED)
		subject_skip("no huge pages");
	subject_ready();
	return 0;
}
