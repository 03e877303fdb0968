/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: use --tcp-close (tcp-established is not supported yet)
/* An established TCP connection, and nobody said that it may be dropped. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "subject.h"

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), cli = socket(AF_INET, SOCK_STREAM, 0), acc;
	socklen_t len = sizeof(a);
	char text[8];

	CHECK(!bind(l, (struct sockaddr *)&a, sizeof(a)) && !listen(l, 9) &&
		      !getsockname(l, (struct sockaddr *)&a, &len),
	      "listen");
	CHECK(!connect(cli, (struct sockaddr *)&a, sizeof(a)) && (acc = accept(l, NULL, NULL)) >= 0, "connect");
	CHECK(send(cli, "still", 5, 0) == 5, "send");
	subject_ready();
	CHECK(recv(acc, text, 8, 0) == 5 && send(acc, "here", 4, 0) == 4 && recv(cli, text, 8, 0) == 4,
	      "the connection stands");
	return 0;
}
