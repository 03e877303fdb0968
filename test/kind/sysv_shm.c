/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: SysV shared memory is not supported yet
#include <sys/shm.h>

#include "subject.h"

int main(void)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0);

	CHECK(p != (void *)-1, "shmat");
	shmctl(id, IPC_RMID, NULL);
	p[0] = 'x';
	subject_ready();
	CHECK(p[0] == 'x', "contents");
	return 0;
}
