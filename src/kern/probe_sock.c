/* SPDX-License-Identifier: Apache-2.0 */
/* Probes of sockets and network devices (probe.h). */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/inet_diag.h>
#include <linux/netlink_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kern/netlink.h"
#include "kern/probe.h"

/* arg: family | protocol << 8. Asks for sockets that match nothing; only whether the kernel answers matters. */
int probe_sock_diag_dump(uint64_t arg, char *note)
{
	uint8_t family = (uint8_t)arg, protocol = (uint8_t)(arg >> 8);
	/* the longest of the families' requests; all begin alike */
	const struct inet_diag_req_v2 body = { .sdiag_family = family,
					       .sdiag_protocol = family == AF_NETLINK ? NDIAG_PROTO_ALL : protocol };
	const struct netlink_question q = { SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &body, sizeof(body) };
	struct netlink nl;
	int r = netlink_open(&nl, NETLINK_SOCK_DIAG);

	(void)note;
	if (r < 0)
		return r;
	r = netlink_ask(&nl, &q, NULL, NULL);
	netlink_close(&nl);
	return r == -EINTR ? 0 : r; /* sockets came and went meanwhile */
}

int probe_tcp_repair(uint64_t arg, char *note)
{
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	(void)arg;
	(void)note;
	return fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0 ? -errno : 0;
}

int probe_tun_device(uint64_t arg, char *note)
{
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	unsigned features;

	(void)arg;
	(void)note;
	return fd < 0 || ioctl(fd, TUNGETFEATURES, &features) < 0 ? -errno : 0;
}
