/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: outside the tree
/* A connection to a process that is not of the tree. */
#include <sys/socket.h>
#include <sys/wait.h>

#include "subject.h"

int main(void)
{
	int sv[2];
	char c;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv), "socketpair");
	if (!fork()) {
		if (fork())
			_exit(0);
		close(sv[0]);
		while (recv(sv[1], &c, 1, 0) == 1)
			send(sv[1], &c, 1, 0);
		_exit(0);
	}
	wait(NULL);
	close(sv[1]);
	subject_ready();
	CHECK(send(sv[0], "a", 1, 0) == 1 && recv(sv[0], &c, 1, 0) == 1 && c == 'a', "the connection stands");
	return 0;
}
