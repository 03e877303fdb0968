/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: before it accepts the connection is not supported yet
/* Data on a connection that was not accepted yet: only accept() could show it. */
#include <sys/socket.h>
#include <sys/un.h>

#include "subject.h"

int main(void)
{
	struct sockaddr_un s = { AF_UNIX, "listener" };
	int l = socket(AF_UNIX, SOCK_STREAM, 0), cli = socket(AF_UNIX, SOCK_STREAM, 0), fd;
	char text[8];

	CHECK(!bind(l, (struct sockaddr *)&s, sizeof(s)) && !listen(l, 2), "listen");
	CHECK(!connect(cli, (struct sockaddr *)&s, sizeof(s)) && send(cli, "early", 5, 0) == 5, "send");
	subject_ready();
	fd = accept(l, NULL, NULL);
	CHECK(fd >= 0 && recv(fd, text, 8, 0) == 5, "the connection stands");
	return 0;
}
