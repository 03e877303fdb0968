/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: whose sender is not connected
/* An unread datagram whose sender's name a restore could not give it. */
#include <sys/socket.h>
#include <sys/un.h>

#include "subject.h"

int main(void)
{
	struct sockaddr_un to = { AF_UNIX, "to" }, from = { AF_UNIX, "from" }, got = { 0 };
	int r = socket(AF_UNIX, SOCK_DGRAM, 0), w = socket(AF_UNIX, SOCK_DGRAM, 0);
	socklen_t len = sizeof(got);
	char text[8];

	CHECK(!bind(r, (struct sockaddr *)&to, sizeof(to)) && !bind(w, (struct sockaddr *)&from, sizeof(from)), "bind");
	CHECK(sendto(w, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)) == 5, "send");
	subject_ready();
	CHECK(recvfrom(r, text, 8, 0, (struct sockaddr *)&got, &len) == 5 && !strcmp(got.sun_path, "from"),
	      "the datagram");
	return 0;
}
