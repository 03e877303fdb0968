/* SPDX-License-Identifier: Apache-2.0 */
/* Probes of sockets and network devices (probe.h). */
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_tun.h>
#include <linux/inet_diag.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kern/probe.h"

static void request_put(struct nlmsghdr *h, uint8_t family, uint8_t protocol)
{
	switch (family) {
	case AF_UNIX:
		*(struct unix_diag_req *)mnl_nlmsg_put_extra_header(h, sizeof(struct unix_diag_req)) =
			(struct unix_diag_req){ .sdiag_family = family };
		break;
	case AF_PACKET:
		*(struct packet_diag_req *)mnl_nlmsg_put_extra_header(h, sizeof(struct packet_diag_req)) =
			(struct packet_diag_req){ .sdiag_family = family };
		break;
	case AF_NETLINK:
		*(struct netlink_diag_req *)mnl_nlmsg_put_extra_header(h, sizeof(struct netlink_diag_req)) =
			(struct netlink_diag_req){ .sdiag_family = family, .sdiag_protocol = NDIAG_PROTO_ALL };
		break;
	default:
		*(struct inet_diag_req_v2 *)mnl_nlmsg_put_extra_header(h, sizeof(struct inet_diag_req_v2)) =
			(struct inet_diag_req_v2){ .sdiag_family = family, .sdiag_protocol = protocol };
		break;
	}
}

/* Asks for all sockets of a family that match nothing or little; only whether the kernel answers matters. */
static int diag_ask(struct mnl_socket *nl, uint8_t family, uint8_t protocol)
{
	char buf[8192] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	ssize_t n;

	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request_put(h, family, protocol);
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 || mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (n < 0)
		return -errno;
	if (!mnl_nlmsg_ok(h, (int)n))
		return -EBADMSG;
	if (h->nlmsg_type != NLMSG_ERROR)
		return 0;
	return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(h))->error;
}

/* arg: family | protocol << 8 */
int probe_sock_diag_dump(uint64_t arg, char *note)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int r;

	(void)note;
	if (!nl)
		return -errno;
	r = diag_ask(nl, (uint8_t)arg, (uint8_t)(arg >> 8));
	mnl_socket_close(nl);
	return r;
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
