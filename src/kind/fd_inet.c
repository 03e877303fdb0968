/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP and UDP sockets, IPv4 and IPv6. Runs in the engine, in its own network namespace.
 *
 * A socket whose connection has ended still shows the port it used. It does not own it any more (an accepted
 * one shares it with its listener), so it is saved without an address.
 */
#include <net/if.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "kind/description.h"
#include "kind/inet_addr.h"
#include "kind/inet_opts.h"
#include "kind/inet_sock.h"
#include "kind/registry.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static bool inet_match(const struct fd_facts *f)
{
	int family = sk_family(f);

	return family == AF_INET || family == AF_INET6;
}

/* ---- dump ------------------------------------------------------------------------------------ */

static int dump_type(int fd, InetSkEntry *e)
{
	int family, type, proto;

	if (sk_get(fd, SOL_SOCKET, SO_DOMAIN, &family) < 0 || sk_get(fd, SOL_SOCKET, SO_TYPE, &type) < 0 ||
	    sk_get(fd, SOL_SOCKET, SO_PROTOCOL, &proto) < 0)
		return err_set(errno, "get the type of a socket");
	if (type == SOCK_RAW)
		return err_say(ENOTSUP, "a raw IP socket is not supported yet");
	if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6)
		return err_say(ENOTSUP, "an ICMP socket is not supported yet");
	if (proto == IPPROTO_MPTCP || proto == IPPROTO_SCTP)
		return err_say(ENOTSUP, "%s is not supported yet", proto == IPPROTO_SCTP ? "SCTP" : "multipath TCP");
	if (!(type == SOCK_STREAM && proto == IPPROTO_TCP) &&
	    !(type == SOCK_DGRAM && (proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE)))
		return err_say(ENOTSUP, "a socket of IP protocol %d is not supported yet", proto);
	e->family = (uint32_t)family;
	e->type = (uint32_t)type;
	e->proto = (uint32_t)proto;
	return 0;
}

/* The peer is all zeroes when there is none. */
static int read_addresses(int fd, union inet_addr *src, union inet_addr *dst)
{
	socklen_t src_len = sizeof(*src), dst_len = sizeof(*dst);

	if (getsockname(fd, &src->sa, &src_len) < 0)
		return err_set(errno, "getsockname");
	*dst = (union inet_addr){ .sa.sa_family = src->sa.sa_family };
	if (getpeername(fd, &dst->sa, &dst_len) < 0 && errno != ENOTCONN && errno != EINVAL)
		return err_set(errno, "getpeername");
	return 0;
}

static int dump_addresses(struct dumping *d, InetSkEntry *e, const union inet_addr *src, const union inet_addr *dst)
{
	char name[IFNAMSIZ];

	e->src_port = inet_addr_port(src);
	e->dst_port = inet_addr_port(dst);
	inet_addr_words(src, d->a, &e->src_addr, &e->n_src_addr);
	inet_addr_words(dst, d->a, &e->dst_addr, &e->n_dst_addr);
	if (e->family == AF_INET6 && src->v6.sin6_scope_id) {
		if (!if_indextoname(src->v6.sin6_scope_id, name))
			return err_set(errno, "network device %u", src->v6.sin6_scope_id);
		e->ifname = arena_strdup(d->a, name);
	}
	return 0;
}

static bool end_of_input(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLRDHUP);
}

/* A connection that stands, or that is being built up or taken down. */
static int dump_connection(const struct dumping *d, const union inet_addr *src, const union inet_addr *dst)
{
	char from[INET_ADDR_TEXT], to[INET_ADDR_TEXT];

	if (d->opts->tcp_close)
		return 0;
	return err_say(ENOTSUP, "established TCP connection %s -> %s: use --tcp-close (tcp-established is not supported yet)",
		       inet_addr_text(src, from), inet_addr_text(dst, to));
}

static int dump_closed(const struct dumping *d, int fd, InetSkEntry *e, union inet_addr *src)
{
	int unread = 0;

	if (!end_of_input(fd))
		return 0;
	if (!d->opts->tcp_close && ioctl(fd, FIONREAD, &unread) == 0 && unread)
		return err_say(ENOTSUP, "a closed TCP connection with %d unread bytes: use --tcp-close to drop them", unread);
	e->has_shutdown = true;
	e->shutdown = SK_SHUTDOWN__BOTH;
	*src = (union inet_addr){ .sa.sa_family = src->sa.sa_family };
	return 0;
}

static int dump_tcp(const struct dumping *d, const struct fd_facts *f, InetSkEntry *e, union inet_addr *src,
		    const union inet_addr *dst)
{
	char text[INET_ADDR_TEXT];
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (getsockopt(f->fd, SOL_TCP, TCP_INFO, &info, &len) < 0)
		return err_set(errno, "get TCP_INFO");
	e->state = info.tcpi_state;
	if (e->state == TCP_CLOSE)
		return dump_closed(d, f->fd, e, src);
	if (e->state != TCP_LISTEN)
		return dump_connection(d, src, dst);
	/* of a listening socket these two are the connections that wait, and the backlog */
	if (info.tcpi_unacked)
		log_warn("task %d: fd %d: TCP %s: %u connections that wait to be accepted are not saved", f->pid, f->tfd,
			 inet_addr_text(src, text), info.tcpi_unacked);
	e->backlog = info.tcpi_sacked;
	return 0;
}

static int dump_udp(struct dumping *d, const struct fd_facts *f, InetSkEntry *e, const union inet_addr *src,
		    const union inet_addr *dst)
{
	const struct sockdiag_inet *row;
	char text[INET_ADDR_TEXT];
	int cork, queued, r;

	r = sockdiag_inet(sk_dump_get(d)->sd, (int)e->family, (int)e->proto, e->ino, &row);
	if (r < 0)
		return r;
	if (sk_get(f->fd, SOL_UDP, UDP_CORK, &cork) == 0 && cork)
		return err_say(ENOTSUP, "a corked UDP socket is not supported yet");
	if (ioctl(f->fd, FIONREAD, &queued) == 0 && queued)
		log_warn("task %d: fd %d: %s %s: unread datagrams are not saved", f->pid, f->tfd, inet_proto_name(e->proto),
			 inet_addr_text(src, text));
	e->state = dst->sa.sa_family && inet_addr_port(dst) ? TCP_ESTABLISHED : TCP_CLOSE;
	e->has_shutdown = row && row->shutdown;
	e->shutdown = row ? (SkShutdown)(row->shutdown & SK_SHUTDOWN__BOTH) : SK_SHUTDOWN__NONE;
	return 0;
}

static int inet_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	InetSkEntry *k = arena_msg(d->a, inet_sk_entry, InetSkEntry);
	union inet_addr src = { 0 }, dst = { 0 };
	int r;

	k->id = e->id;
	k->ino = (uint32_t)f->st.st_ino;
	k->flags = f->flags;
	k->fown = dumping_fown(d, f->fd);
	r = dump_type(f->fd, k);
	if (!r)
		r = sk_same_netns(d, f->fd);
	if (!r)
		r = read_addresses(f->fd, &src, &dst);
	if (!r)
		r = k->type == SOCK_STREAM ? dump_tcp(d, f, k, &src, &dst) : dump_udp(d, f, k, &src, &dst);
	/* of a connection that is dropped nothing more can be missed */
	if (!r && (k->type != SOCK_STREAM || k->state == TCP_LISTEN || k->state == TCP_CLOSE))
		r = sk_lost_check(f, (int)k->family, (int)k->proto);
	if (!r)
		r = dump_addresses(d, k, &src, &dst);
	if (!r)
		r = inet_opts_dump(d, f->fd, k);
	if (!r)
		r = sk_opts_dump(d, f->fd, &k->opts);
	e->isk = k;
	return r;
}

static int inet_finish(struct dumping *d)
{
	const struct img_msgs *files = &d->snap->list[IMG_FILES];

	for (size_t i = 0; i < files->n; i++) {
		FileEntry *e = (FileEntry *)files->v[i].msg;

		if (e->isk)
			e->isk->has_ns_id = sk_netns_id(d, &e->isk->ns_id);
	}
	return 0;
}

/* ---- restore, show --------------------------------------------------------------------------- */

static int inet_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	(void)r;
	description_owner(e->isk->fown, tfd, p);
	description_async(e->isk->flags, tfd, p);
	return 0;
}

static void inet_describe(const FileEntry *e, char *text, size_t len)
{
	char from[INET_ADDR_TEXT], to[INET_ADDR_TEXT];
	union inet_addr src, dst;

	if (!e->isk)
		return;
	src = inet_addr_src(e->isk);
	dst = inet_addr_dst(e->isk);
	inet_addr_text(&src, from);
	if (e->isk->state == TCP_LISTEN)
		snprintf(text, len, "TCP listening on %s", from);
	else if (inet_addr_port(&dst))
		snprintf(text, len, "%s %s -> %s", inet_proto_name(e->isk->proto), from, inet_addr_text(&dst, to));
	else
		snprintf(text, len, "%s %s", inet_proto_name(e->isk->proto), from);
}

const struct kind_fd kind_fd_inet = {
	.name = "internet socket",
	.type = FD_TYPES__INETSK,
	.match = inet_match,
	.dump = inet_dump,
	.finish = inet_finish,
	.check = inet_sock_check,
	.open = inet_sock_open,
	.emit = inet_emit,
	.describe = inet_describe,
};
