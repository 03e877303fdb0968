/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the socket kinds ask before they start (sk.h), and the sockets that no
 * kind restores: packet, vsock, bluetooth, ... are refused by the name of their family.
 * Runs in the engine.
 */
#include "kind/registry.h"
#include "kind/sk.h"

#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

static uint64_t netns_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

static void free_diag(void *arg)
{
	struct sk_dump *s = arg;

	sockdiag_free(s->sd);
	s->sd = NULL;
}

struct sk_dump *sk_dump_get(struct dumping *d)
{
	struct sk_dump *s = d->kind_state[KIND_STATE_UNIX];
	auto_close int fd = -1;

	if (!s) {
		s = arena_alloc(d->a, sizeof(*s));
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		s->netns_cookie = fd < 0 ? 0 : netns_cookie(fd);
		d->kind_state[KIND_STATE_UNIX] = s;
		dumping_undo(d, free_diag, s);
	}
	if (!s->sd)
		s->sd = sockdiag_new(d->a);
	return s->sd ? s : NULL;
}

int sk_family(const struct fd_facts *f)
{
	int family;

	if (!S_ISSOCK(f->st.st_mode) || sk_get(f->fd, SOL_SOCKET, SO_DOMAIN, &family) < 0)
		return -1;
	return family;
}

int sk_same_netns(struct dumping *d, int fd)
{
	const struct sk_dump *s = sk_dump_get(d);
	uint64_t cookie = netns_cookie(fd);

	if (!s)
		return -EIO;
	if (s->netns_cookie && cookie && cookie != s->netns_cookie)
		return err_say(ENOTSUP, "a socket in another network namespace is not supported yet");
	return 0;
}

bool sk_netns_id(const struct dumping *d, uint32_t *ret_id)
{
	const struct snap *s = d->snap;

	if (!s->ntasks || !s->tasks[0]->ids || !s->tasks[0]->ids->has_net_ns_id)
		return false;
	*ret_id = s->tasks[0]->ids->net_ns_id;
	return true;
}

/* ---- what the wire format cannot carry ------------------------------------------------------- */

struct lost_row {
	const char *name;
	int level, opt, deflt;
	bool refuse; /* the program would miss it: messages without their control data, another meaning of calls */
};

#define MISSED(level, opt, deflt) { #opt, level, opt, deflt, true }
#define DROPPED(level, opt, deflt) { #opt, level, opt, deflt, false }

static const struct lost_row lost_any[] = {
	MISSED(SOL_SOCKET, SO_TIMESTAMP, 0),   MISSED(SOL_SOCKET, SO_TIMESTAMPNS, 0),
	MISSED(SOL_SOCKET, SO_TIMESTAMPING, 0), MISSED(SOL_SOCKET, SO_RXQ_OVFL, 0),
	MISSED(SOL_SOCKET, SO_PEEK_OFF, -1),   MISSED(SOL_SOCKET, SO_ZEROCOPY, 0),
	MISSED(SOL_SOCKET, SO_PASSPIDFD, 0),   MISSED(SOL_SOCKET, SO_PASSRIGHTS, 1),
	MISSED(SOL_SOCKET, SO_LOCK_FILTER, 0), DROPPED(SOL_SOCKET, SO_BUSY_POLL, 0),
};

static const struct lost_row lost_netlink[] = {
	MISSED(SOL_NETLINK, NETLINK_PKTINFO, 0), MISSED(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 0),
	MISSED(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 0), DROPPED(SOL_NETLINK, NETLINK_EXT_ACK, 0),
	DROPPED(SOL_NETLINK, NETLINK_CAP_ACK, 0), DROPPED(SOL_NETLINK, NETLINK_NO_ENOBUFS, 0),
	DROPPED(SOL_NETLINK, NETLINK_BROADCAST_ERROR, 0),
};

static const struct lost_row lost_ip[] = {
	MISSED(SOL_IP, IP_TRANSPARENT, 0), MISSED(SOL_IP, IP_RECVERR, 0), MISSED(SOL_IP, IP_RECVTTL, 0),
	MISSED(SOL_IP, IP_RECVTOS, 0), MISSED(SOL_IP, IP_RECVOPTS, 0), MISSED(SOL_IP, IP_RECVORIGDSTADDR, 0),
	DROPPED(SOL_IP, IP_MINTTL, 0), DROPPED(SOL_IP, IP_BIND_ADDRESS_NO_PORT, 0),
};

static const struct lost_row lost_ip6[] = {
	MISSED(SOL_IPV6, IPV6_RECVPKTINFO, 0), MISSED(SOL_IPV6, IPV6_RECVERR, 0),
	MISSED(SOL_IPV6, IPV6_RECVHOPLIMIT, 0), MISSED(SOL_IPV6, IPV6_RECVTCLASS, 0),
	DROPPED(SOL_IPV6, IPV6_TCLASS, 0),
};

static const struct lost_row lost_tcp[] = {
	DROPPED(SOL_TCP, TCP_DEFER_ACCEPT, 0),  DROPPED(SOL_TCP, TCP_FASTOPEN, 0),
	DROPPED(SOL_TCP, TCP_USER_TIMEOUT, 0),  DROPPED(SOL_TCP, TCP_SAVE_SYN, 0),
	DROPPED(SOL_TCP, TCP_NOTSENT_LOWAT, 0),
};

static const struct lost_row lost_udp[] = {
	MISSED(SOL_UDP, UDP_ENCAP, 0), MISSED(SOL_UDP, UDP_GRO, 0), MISSED(SOL_UDP, UDP_SEGMENT, 0),
	DROPPED(SOL_IP, IP_MULTICAST_TTL, 1), DROPPED(SOL_IP, IP_MULTICAST_LOOP, 1),
	DROPPED(SOL_IPV6, IPV6_MULTICAST_HOPS, 1), DROPPED(SOL_IPV6, IPV6_MULTICAST_LOOP, 1),
};

static int lost_check(const struct fd_facts *f, const struct lost_row *k, size_t n)
{
	for (; n--; k++) {
		int value;

		if (sk_get(f->fd, k->level, k->opt, &value) < 0 || value == k->deflt)
			continue;
		if (k->refuse)
			return err_say(ENOTSUP, "socket option %s is not supported yet", k->name);
		log_warn("task %d: fd %d: socket option %s (%d) has no place in the images and is lost", f->pid, f->tfd,
			 k->name, value);
	}
	return 0;
}

int sk_lost_check(const struct fd_facts *f, int family, int proto)
{
	bool inet = family == AF_INET || family == AF_INET6;
	int r = lost_check(f, lost_any, ARRAY_LEN(lost_any));

	if (!r && family == AF_NETLINK)
		r = lost_check(f, lost_netlink, ARRAY_LEN(lost_netlink));
	if (!r && inet)
		r = lost_check(f, lost_ip, ARRAY_LEN(lost_ip));
	if (!r && family == AF_INET6)
		r = lost_check(f, lost_ip6, ARRAY_LEN(lost_ip6));
	if (!r && inet && proto == IPPROTO_TCP)
		r = lost_check(f, lost_tcp, ARRAY_LEN(lost_tcp));
	if (!r && inet && proto == IPPROTO_UDP)
		r = lost_check(f, lost_udp, ARRAY_LEN(lost_udp));
	return r;
}

/* ---- the other families ---------------------------------------------------------------------- */

static bool other_match(const struct fd_facts *f)
{
	return S_ISSOCK(f->st.st_mode);
}

static int other_dump(struct dumping *, const struct fd_facts *f, FileEntry *)
{
	static const struct {
		int family;
		const char *name;
	} names[] = {
		{ AF_PACKET, "a packet socket" }, { AF_VSOCK, "a vsock socket" },  { AF_ALG, "a crypto (AF_ALG) socket" },
		{ AF_XDP, "an XDP socket" },      { AF_BLUETOOTH, "a bluetooth socket" }, { AF_CAN, "a CAN socket" },
		{ AF_KEY, "a key (AF_KEY) socket" }, { AF_TIPC, "a TIPC socket" }, { AF_SMC, "an SMC socket" },
	};
	int family = sk_family(f);

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].family == family)
			return err_say(ENOTSUP, "%s is not supported yet", names[i].name);
	return err_say(ENOTSUP, "a socket of family %d is not supported yet", family);
}

/* The last of the socket kinds: nobody asks any more. */
static int other_finish(struct dumping *d)
{
	if (d->kind_state[KIND_STATE_UNIX])
		free_diag(d->kind_state[KIND_STATE_UNIX]);
	return 0;
}

static int other_check(struct restoring *, const FileEntry *)
{
	return err_say(ENOTSUP, "a packet socket is not supported yet");
}

static int other_open(struct restoring *r, const FileEntry *e)
{
	return other_check(r, e);
}

/* Comes after the other sockets in the table. */
const struct kind_fd kind_fd_sk_other = {
	.name = "packet socket",
	.type = FD_TYPES__PACKETSK,
	.match = other_match,
	.dump = other_dump,
	.finish = other_finish,
	.check = other_check,
	.open = other_open,
};
