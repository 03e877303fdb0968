/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remains of TCP connections (sockorphan.h), by NETLINK_SOCK_DIAG: listed, then ended one by one.
 *
 * They keep a port for a minute from anybody who binds to it, unless both
 * sides had SO_REUSEADDR, and that was the program's choice, long before the dump. The
 * kernel's check of the bind that follows stays as it is, so nobody alive can lose a port.
 */
#include "kern/sockorphan.h"

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_LEN = 32768, FOUND_MAX = 65536 };

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
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct found *f = arg;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*m) || m->idiag_inode || !is_at(m, f->local) || f->n == FOUND_MAX)
		return MNL_CB_OK;
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 16;
		void *more = realloc(f->v, cap * sizeof(*f->v));

		if (!more)
			return MNL_CB_ERROR;
		f->v = more;
		f->cap = cap;
	}
	f->v[f->n++] = (struct inet_diag_req_v2){ .sdiag_family = m->idiag_family,
						  .sdiag_protocol = IPPROTO_TCP,
						  .id = m->id };
	return MNL_CB_OK;
}

static int talk(struct mnl_socket *nl, uint16_t type, uint16_t flags, const struct inet_diag_req_v2 *req,
		struct found *f)
{
	_Alignas(struct nlmsghdr) char buf[BUF_LEN];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	int r;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	memcpy(mnl_nlmsg_put_extra_header(nlh, sizeof(*req)), req, sizeof(*req));
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)n, 0, mnl_socket_get_portid(nl), f ? on_message : NULL, f);
	} while (r > MNL_CB_STOP);
	return r < 0 ? -errno : 0;
}

static int list(struct mnl_socket *nl, uint8_t family, struct found *f)
{
	const uint32_t live = 1u << TCP_LISTEN | 1u << TCP_CLOSE;
	struct inet_diag_req_v2 req = { .sdiag_family = family,
					.sdiag_protocol = IPPROTO_TCP,
					.idiag_states = 0xfffu & ~live };

	/* the port is at the same place in both families */
	req.id.idiag_sport = ((const struct sockaddr_in *)f->local)->sin_port;
	return talk(nl, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, f);
}

int sockorphan_end(const struct sockaddr *local)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	struct found f = { .local = local };
	int r, ended = 0;

	if (!nl)
		return err_set(errno, "open a NETLINK_SOCK_DIAG socket");
	r = list(nl, AF_INET, &f);
	if (!r || r == -ENOENT)
		r = list(nl, AF_INET6, &f);
	if (r == -ENOENT)
		r = 0;
	for (size_t i = 0; !r && i < f.n; i++) {
		r = talk(nl, SOCK_DESTROY, NLM_F_ACK, &f.v[i], NULL);
		ended += !r;
		if (r == -ENOENT) /* it ended by itself */
			r = 0;
	}
	free(f.v);
	mnl_socket_close(nl);
	return r < 0 ? err_set(-r, "end the remains of TCP connections") : ended;
}
