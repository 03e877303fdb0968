/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: a packet socket is not supported yet
/* A kind of socket that is not supported. */
#include <sys/socket.h>

#include "subject.h"

int main(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0)
		subject_skip("no packet sockets here");
	subject_ready();
	CHECK(fcntl(fd, F_GETFD) == 0, "the socket is there");
	return 0;
}
