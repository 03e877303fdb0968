/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink: a bound socket with groups, one that is fresh; both still talk to the kernel. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "subject.h"

static void ask(int fd, const char *what)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} m = {
		{ NLMSG_LENGTH(sizeof(struct rtgenmsg)), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 7, 0 },
		{ AF_UNSPEC },
	};
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	static char buf[65536];
	struct nlmsghdr *h = (struct nlmsghdr *)buf;

	CHECK(sendto(fd, &m, m.h.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) > 0, "%s: ask", what);
	CHECK(recv(fd, buf, sizeof(buf), 0) > 0 && h->nlmsg_type == RTM_NEWLINK && h->nlmsg_seq == 7, "%s: answer",
	      what);
}

int main(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_ROUTE }, was, now;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE),
	    fresh = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
	int group = RTNLGRP_NEIGH;
	socklen_t len = sizeof(was);

	CHECK(!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !getsockname(fd, (struct sockaddr *)&was, &len), "bind");
	CHECK(!setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)), "membership");
	CHECK(!getsockname(fd, (struct sockaddr *)&was, &len), "getsockname");

	subject_ready();

	CHECK(!getsockname(fd, (struct sockaddr *)&now, &len) && !memcmp(&was, &now, sizeof(was)), "port and groups");
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK, "flags");
	ask(fd, "bound");
	ask(fresh, "fresh");
	return 0;
}
