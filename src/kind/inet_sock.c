/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internet sockets come back (inet_sock.h). Runs in the engine.
 *
 * TCP comes back listening, bound or fresh. A connection is not carried over: its
 * peer would have to be held off meanwhile. With --tcp-close it comes back as a socket
 * whose peer is gone: read() is at the end, write() fails with EPIPE. That state is reached
 * by shutdown() of an unconnected socket, which fails with ENOTCONN but marks both directions all the same.
 */
#include "kind/inet_sock.h"

#include <net/if.h>
#include <netinet/tcp.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kern/sockorphan.h"
#include "kind/description.h"
#include "kind/inet_addr.h"
#include "kind/inet_opts.h"

static bool is_connection(const InetSkEntry *k)
{
	return k->type == SOCK_STREAM && k->state != TCP_LISTEN && k->state != TCP_CLOSE;
}

/* Nor does one that has ended own the port it shows. */
static bool has_port(const InetSkEntry *k)
{
	return !is_connection(k) &&
	       !(k->type == SOCK_STREAM && k->state == TCP_CLOSE && k->has_shutdown && k->shutdown);
}

static int check_shape(const InetSkEntry *k)
{
	size_t words = k->family == AF_INET6 ? 4 : 1;
	bool tcp = k->type == SOCK_STREAM && k->proto == IPPROTO_TCP;
	bool udp = k->type == SOCK_DGRAM && (k->proto == IPPROTO_UDP || k->proto == IPPROTO_UDPLITE);

	if (k->family != AF_INET && k->family != AF_INET6)
		return err_say(EINVAL, "family %u is not an internet family", k->family);
	if (!tcp && !udp)
		return err_say(ENOTSUP, "a socket of type %u, IP protocol %u is not supported yet", k->type, k->proto);
	if (k->n_src_addr != words || k->n_dst_addr != words)
		return err_say(EINVAL, "an address has %zu and %zu words instead of %zu", k->n_src_addr, k->n_dst_addr, words);
	if (k->has_shutdown && (uint32_t)k->shutdown > SK_SHUTDOWN__BOTH)
		return err_say(EINVAL, "shutdown %d is out of range", (int)k->shutdown);
	if (k->src_port > UINT16_MAX || k->dst_port > UINT16_MAX || k->backlog > INT32_MAX)
		return err_say(EINVAL, "ports %u and %u, backlog %u are out of range", k->src_port, k->dst_port, k->backlog);
	return 0;
}

int inet_sock_check(struct restoring *r, const FileEntry *e)
{
	const InetSkEntry *k = e->isk;
	char from[INET_ADDR_TEXT], to[INET_ADDR_TEXT];
	union inet_addr src, dst;
	int err;

	if (!k)
		return err_say(EINVAL, "the entry has no socket in it");
	err = check_shape(k);
	if (err < 0)
		return err;
	src = inet_addr_src(k);
	dst = inet_addr_dst(k);
	if (is_connection(k) && !r->opts->tcp_close)
		return err_say(ENOTSUP, "established TCP connection %s -> %s: use --tcp-close (tcp-established is not supported yet)",
			       inet_addr_text(&src, from), inet_addr_text(&dst, to));
	if (k->ifname && k->ifname[0] && !if_nametoindex(k->ifname))
		return err_say(ENODEV, "it is bound to network device %s, which is not here", k->ifname);
	return sk_opts_check(k->opts);
}

/* Is the port free once the remains of connections that nobody holds any more are out of the way? */
static int bind_again(int fd, const union inet_addr *src)
{
	char text[INET_ADDR_TEXT];
	int n = sockorphan_end(&src->sa);

	if (n < 0) {
		log_warn("TCP %s: %s", inet_addr_text(src, text), err_text());
		return -EADDRINUSE;
	}
	if (!n || bind(fd, &src->sa, inet_addr_len(src)) < 0)
		return -EADDRINUSE;
	log_info("TCP %s: ended the remains of %d connections", inet_addr_text(src, text), n);
	return 0;
}

static int open_bound(int fd, const InetSkEntry *k)
{
	union inet_addr src = inet_addr_src(k);
	char text[INET_ADDR_TEXT];
	int r = inet_opts_before_bind(fd, k);

	if (r < 0 || (!k->src_port && inet_addr_any(&src)))
		return r;
	if (bind(fd, &src.sa, inet_addr_len(&src)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return err_set(errno, "bind %s %s", inet_proto_name(k->proto), inet_addr_text(&src, text));
	if (k->proto == IPPROTO_TCP && bind_again(fd, &src) == 0)
		return 0;
	return err_say(EADDRINUSE, "%s %s is already in use", inet_proto_name(k->proto), inet_addr_text(&src, text));
}

static int open_state(int fd, const InetSkEntry *k)
{
	union inet_addr src = inet_addr_src(k), dst = inet_addr_dst(k);
	char text[INET_ADDR_TEXT];

	if (k->type == SOCK_DGRAM) {
		if (k->state == TCP_ESTABLISHED && connect(fd, &dst.sa, inet_addr_len(&dst)) < 0)
			return err_set(errno, "connect %s to %s", inet_proto_name(k->proto),
				       inet_addr_text(&dst, text));
	} else if (k->state == TCP_LISTEN && listen(fd, (int)k->backlog) < 0) {
		if (errno == EADDRINUSE)
			return err_say(EADDRINUSE, "TCP %s is already in use", inet_addr_text(&src, text));
		return err_set(errno, "listen on TCP %s", inet_addr_text(&src, text));
	}
	return 0;
}

/* SHUT_RD, SHUT_WR and SHUT_RDWR are one less than the wire's READ, WRITE and BOTH. */
static int open_shutdown(int fd, const InetSkEntry *k)
{
	int how = is_connection(k) ? SHUT_RDWR : k->has_shutdown ? (int)k->shutdown - 1 : -1;

	if (how >= 0 && shutdown(fd, how) < 0 && errno != ENOTCONN)
		return err_set(errno, "shutdown");
	return 0;
}

int inet_sock_open(struct restoring *r, const FileEntry *e)
{
	const InetSkEntry *k = e->isk;
	auto_close int fd = socket((int)k->family, (int)k->type | SOCK_CLOEXEC, (int)k->proto);
	int err = 0;

	(void)r;
	if (fd < 0)
		return err_set(errno, "socket()");
	if (has_port(k))
		err = open_bound(fd, k);
	if (!err)
		err = sk_opts_restore(fd, k->opts);
	if (!err)
		err = inet_opts_after_bind(fd, k);
	if (!err)
		err = open_state(fd, k);
	if (!err)
		err = open_shutdown(fd, k);
	if (!err)
		err = sk_set(fd, SOL_SOCKET, SO_REUSEADDR, k->opts->has_reuseaddr && k->opts->reuseaddr,
			     "SO_REUSEADDR");
	if (!err)
		err = description_flags(fd, k->flags);
	return err < 0 ? err : take_fd(&fd);
}
