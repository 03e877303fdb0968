/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remains of TCP connections (sockorphan.h), by NETLINK_SOCK_DIAG: listed, then ended one by one.
 *
 * They keep a port for a minute from anybody who binds to it, unless both
 * sides had SO_REUSEADDR, and that was the program's choice, long before the dump. The
 * kernel's check of the bind that follows stays as it is, so nobody alive can lose a port.
 */
#include "kern/sockorphan.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kern/netlink.h"

enum { FOUND_MAX = 65536 };

struct found {
	struct inet_diag_req_v2 *v;
	size_t n, cap;
	const struct sockaddr *local;
};

static bool all_zero(const void *p, size_t len)
{
	static const uint8_t zero[16];

	return !memcmp(p, zero, len);
}

static bool is_at(const struct inet_diag_msg *m, const struct sockaddr *local)
{
	const void *addr = local->sa_family == AF_INET6 ?
				   (const void *)&((const struct sockaddr_in6 *)local)->sin6_addr :
				   (const void *)&((const struct sockaddr_in *)local)->sin_addr;
	size_t len = local->sa_family == AF_INET6 ? 16 : 4;

	if (m->idiag_family != local->sa_family)
		return all_zero(addr, len); /* the wildcard of one family takes the port from the other */
	return all_zero(addr, len) || !memcmp(m->id.idiag_src, addr, len);
}

static int on_message(const struct nlmsghdr *nlh, void *arg)
{
	const struct inet_diag_msg *m = netlink_data(nlh);
	struct found *f = arg;

	if (netlink_len(nlh) < sizeof(*m) || m->idiag_inode || !is_at(m, f->local) || f->n == FOUND_MAX)
		return 0;
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 16;
		void *more = realloc(f->v, cap * sizeof(*f->v));

		if (!more)
			return -ENOMEM;
		f->v = more;
		f->cap = cap;
	}
	f->v[f->n++] = (struct inet_diag_req_v2){ .sdiag_family = m->idiag_family,
						  .sdiag_protocol = IPPROTO_TCP,
						  .id = m->id };
	return 0;
}

static int list(struct netlink *nl, uint8_t family, struct found *f)
{
	const uint32_t live = 1u << TCP_LISTEN | 1u << TCP_CLOSE;
	struct inet_diag_req_v2 req = { .sdiag_family = family,
					.sdiag_protocol = IPPROTO_TCP,
					.idiag_states = 0xfffu & ~live };
	const struct netlink_question q = { SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req) };

	/* the port is at the same place in both families */
	req.id.idiag_sport = ((const struct sockaddr_in *)f->local)->sin_port;
	return netlink_ask(nl, &q, on_message, f);
}

int sockorphan_end(const struct sockaddr *local)
{
	struct found f = { .local = local };
	struct netlink nl;
	int r = netlink_open(&nl, NETLINK_SOCK_DIAG), ended = 0;

	if (r < 0)
		return err_set(-r, "open a NETLINK_SOCK_DIAG socket");
	r = list(&nl, AF_INET, &f);
	if (!r || r == -ENOENT)
		r = list(&nl, AF_INET6, &f);
	if (r == -ENOENT)
		r = 0;
	for (size_t i = 0; !r && i < f.n; i++) {
		const struct netlink_question q = { SOCK_DESTROY, NLM_F_ACK, &f.v[i], sizeof(f.v[i]) };

		r = netlink_ask(&nl, &q, NULL, NULL);
		ended += !r;
		if (r == -ENOENT) /* it ended by itself */
			r = 0;
	}
	free(f.v);
	netlink_close(&nl);
	return r < 0 ? err_set(-r, "end the remains of TCP connections") : ended;
}
