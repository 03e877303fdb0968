/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP and TCP options (inet_opts.h). Runs in the engine.
 *
 * The wire has one place for both families: on an IPv6 socket SOL_IP options are
 * those of its IPv4 side, which the kernel lets us read and set all the same.
 */
#include "kind/inet_opts.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

static bool is_tcp(const InetSkEntry *e)
{
	return e->proto == IPPROTO_TCP;
}

static int get(int fd, int level, int opt, const char *name, int *ret_value)
{
	int r = sk_get(fd, level, opt, ret_value);

	return r < 0 ? err_set(-r, "get %s", name) : 0;
}

#define GET(fd, level, opt, at) get((fd), (level), (opt), #opt, (at))
#define SET(fd, level, opt, value) sk_set((fd), (level), (opt), (value), #opt)

static int dump_ip(struct dumping *d, int fd, InetSkEntry *e)
{
	IpOptsEntry *o = arena_msg(d->a, ip_opts_entry, IpOptsEntry);
	int freebind = 0, pktinfo = 0, tos = 0, ttl = 0, v6only = 0, r;

	r = GET(fd, SOL_IP, IP_FREEBIND, &freebind);
	if (!r)
		r = GET(fd, SOL_IP, IP_PKTINFO, &pktinfo);
	if (!r)
		r = GET(fd, SOL_IP, IP_TOS, &tos);
	if (!r)
		r = GET(fd, SOL_IP, IP_TTL, &ttl);
	if (!r && e->family == AF_INET6)
		r = GET(fd, SOL_IPV6, IPV6_V6ONLY, &v6only);
	if (r < 0)
		return r;
	o->has_freebind = o->freebind = freebind != 0;
	o->has_pktinfo = o->pktinfo = pktinfo != 0;
	o->tos = (uint32_t)tos;
	o->has_tos = tos > 0;
	o->ttl = (uint32_t)ttl;
	o->has_ttl = ttl > 0;
	e->ip_opts = o;
	e->has_v6only = e->family == AF_INET6;
	e->v6only = v6only != 0;
	return 0;
}

static int dump_tcp(struct dumping *d, int fd, InetSkEntry *e)
{
	TcpOptsEntry *o = arena_msg(d->a, tcp_opts_entry, TcpOptsEntry);
	int cork = 0, nodelay = 0, cnt = 0, idle = 0, intvl = 0, r;

	r = GET(fd, SOL_TCP, TCP_CORK, &cork);
	if (!r)
		r = GET(fd, SOL_TCP, TCP_NODELAY, &nodelay);
	if (!r)
		r = GET(fd, SOL_TCP, TCP_KEEPCNT, &cnt);
	if (!r)
		r = GET(fd, SOL_TCP, TCP_KEEPIDLE, &idle);
	if (!r)
		r = GET(fd, SOL_TCP, TCP_KEEPINTVL, &intvl);
	if (r < 0)
		return r;
	o->has_cork = o->cork = cork != 0;
	o->has_nodelay = o->nodelay = nodelay != 0;
	o->has_keepcnt = o->has_keepidle = o->has_keepintvl = true;
	o->keepcnt = (uint32_t)cnt;
	o->keepidle = (uint32_t)idle;
	o->keepintvl = (uint32_t)intvl;
	e->tcp_opts = o;
	return 0;
}

int inet_opts_dump(struct dumping *d, int fd, InetSkEntry *e)
{
	int r = dump_ip(d, fd, e);

	return r < 0 || !is_tcp(e) ? r : dump_tcp(d, fd, e);
}

int inet_opts_before_bind(int fd, const InetSkEntry *e)
{
	const char *dev = e->opts->so_bound_dev;
	int r = 0;

	if (e->family == AF_INET6 && e->has_v6only)
		r = SET(fd, SOL_IPV6, IPV6_V6ONLY, e->v6only);
	if (!r && e->ip_opts && e->ip_opts->has_freebind && e->ip_opts->freebind)
		r = SET(fd, SOL_IP, IP_FREEBIND, 1);
	if (!r && (is_tcp(e) || (e->opts->has_reuseaddr && e->opts->reuseaddr)))
		r = SET(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!r && e->opts->has_so_reuseport && e->opts->so_reuseport)
		r = SET(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!r && e->src_port == 0)
		r = SET(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	if (!r && dev && dev[0] && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, dev, (socklen_t)strlen(dev) + 1) < 0)
		r = err_set(errno, "bind it to network device %s", dev);
	return r;
}

static int restore_ip(int fd, const IpOptsEntry *o)
{
	int r = 0;

	if (o->has_pktinfo && o->pktinfo)
		r = SET(fd, SOL_IP, IP_PKTINFO, 1);
	if (!r && o->has_tos && o->tos)
		r = SET(fd, SOL_IP, IP_TOS, (int)o->tos);
	if (!r && o->has_ttl)
		r = SET(fd, SOL_IP, IP_TTL, (int)o->ttl);
	return r;
}

static int restore_keepalive(int fd, bool has, uint32_t value, int opt, const char *name)
{
	int now;

	if (!has || (sk_get(fd, SOL_TCP, opt, &now) == 0 && now == (int)value))
		return 0;
	return sk_set(fd, SOL_TCP, opt, (int)value, name);
}

/* Images before tcp_opts had the keep-alive times among the socket options. */
static int restore_tcp(int fd, const InetSkEntry *e)
{
	const SkOptsEntry *s = e->opts;
	const TcpOptsEntry *o = e->tcp_opts;
	const struct {
		bool has;
		uint32_t value;
		int opt;
		const char *name;
	} keep[] = {
		{ o ? o->has_keepcnt : s->has_tcp_keepcnt, o ? o->keepcnt : s->tcp_keepcnt,
		  TCP_KEEPCNT, "TCP_KEEPCNT" },
		{ o ? o->has_keepidle : s->has_tcp_keepidle, o ? o->keepidle : s->tcp_keepidle,
		  TCP_KEEPIDLE, "TCP_KEEPIDLE" },
		{ o ? o->has_keepintvl : s->has_tcp_keepintvl, o ? o->keepintvl : s->tcp_keepintvl,
		  TCP_KEEPINTVL, "TCP_KEEPINTVL" },
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_LEN(keep); i++)
		r = restore_keepalive(fd, keep[i].has, keep[i].value, keep[i].opt, keep[i].name);
	if (!r && o && o->has_nodelay && o->nodelay)
		r = SET(fd, SOL_TCP, TCP_NODELAY, 1);
	if (!r && o && o->has_cork && o->cork)
		r = SET(fd, SOL_TCP, TCP_CORK, 1);
	return r;
}

int inet_opts_after_bind(int fd, const InetSkEntry *e)
{
	int r = e->ip_opts ? restore_ip(fd, e->ip_opts) : 0;

	if (!r && is_tcp(e))
		r = restore_tcp(fd, e);
	return r;
}
