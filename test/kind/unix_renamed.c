/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: which is not supported yet
/* A listener whose file was renamed after bind(). */
#include <sys/socket.h>
#include <sys/un.h>

#include "subject.h"

int main(void)
{
	struct sockaddr_un s = { .sun_family = AF_UNIX };
	int l = socket(AF_UNIX, SOCK_STREAM, 0), cli = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(s.sun_path, sizeof(s.sun_path), "%s-old", subject_file);
	CHECK(!bind(l, (struct sockaddr *)&s, sizeof(s)) && !listen(l, 2) && !rename(s.sun_path, "new"), "listen");
	subject_ready();
	strcpy(s.sun_path, "new");
	CHECK(!connect(cli, (struct sockaddr *)&s, sizeof(s)), "the new name");
	return 0;
}
