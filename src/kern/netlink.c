/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink (netlink.h). Every length is compared with what was received before it is believed. */
#include "kern/netlink.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BUF_LEN = 32768, MORE = 0, END = 1 };

struct answer {
	uint32_t seq;
	bool torn;
	netlink_each *each;
	void *arg;
};

int netlink_open(struct netlink *nl, int protocol)
{
	*nl = (struct netlink){ .fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol) };
	return nl->fd < 0 ? -errno : 0;
}

void netlink_close(struct netlink *nl)
{
	if (nl->fd >= 0)
		close(nl->fd);
	nl->fd = -1;
}

static int question_send(struct netlink *nl, const struct netlink_question *q)
{
	struct nlmsghdr h = { .nlmsg_len = (uint32_t)(NLMSG_HDRLEN + q->len), .nlmsg_type = q->type,
			      .nlmsg_flags = q->flags | NLM_F_REQUEST, .nlmsg_seq = ++nl->seq };
	struct iovec iov[] = { { &h, sizeof(h) }, { (void *)q->body, q->len } };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct msghdr msg = { .msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = iov, .msg_iovlen = 2 };

	return sendmsg(nl->fd, &msg, 0) < 0 ? -errno : 0;
}

/* The kernel's word on how it went, which is the start of both kinds of last messages. */
static int verdict(const struct nlmsghdr *m)
{
	const int *error = netlink_data(m);

	if (netlink_len(m) < sizeof(*error))
		return m->nlmsg_type == NLMSG_DONE ? END : -EBADMSG;
	return *error < 0 ? *error : END;
}

static int message_take(struct answer *a, const struct nlmsghdr *m)
{
	int r;

	if (m->nlmsg_seq != a->seq) /* of a question whose answer was not heard out */
		return MORE;
	a->torn = a->torn || m->nlmsg_flags & NLM_F_DUMP_INTR;
	if (m->nlmsg_type == NLMSG_ERROR || m->nlmsg_type == NLMSG_DONE)
		return verdict(m);
	r = a->each ? a->each(m, a->arg) : 0;
	return r < 0 ? r : MORE;
}

static int packet_take(struct answer *a, const char *buf, size_t len)
{
	int r = MORE;

	while (r == MORE && len >= NLMSG_HDRLEN) {
		const struct nlmsghdr *m = (const void *)buf;
		size_t step = NLMSG_ALIGN((size_t)m->nlmsg_len);

		if (m->nlmsg_len < NLMSG_HDRLEN || m->nlmsg_len > len)
			return -EBADMSG;
		r = message_take(a, m);
		buf += step;
		len -= step < len ? step : len;
	}
	return r;
}

int netlink_ask(struct netlink *nl, const struct netlink_question *q, netlink_each *each, void *arg)
{
	_Alignas(struct nlmsghdr) char buf[BUF_LEN];
	bool several = q->flags & (NLM_F_DUMP | NLM_F_ACK); /* other answers are one packet, without an end */
	struct answer a = { .each = each, .arg = arg };
	int r = question_send(nl, q);

	a.seq = nl->seq;
	while (r == MORE) {
		ssize_t n = recv(nl->fd, buf, sizeof(buf), MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || n > BUF_LEN)
			return n < 0 ? -errno : -ENOSPC;
		r = packet_take(&a, buf, (size_t)n);
		if (!several && r == MORE)
			r = END;
	}
	return r < 0 ? r : a.torn ? -EINTR : 0;
}

const struct nlattr *netlink_attr(const struct nlmsghdr *m, size_t fixed, const struct nlattr *prev)
{
	const char *end = (const char *)m + m->nlmsg_len;
	const char *at = prev ? (const char *)prev + NLA_ALIGN(prev->nla_len) :
				(const char *)m + NLMSG_HDRLEN + NLMSG_ALIGN(fixed);
	const struct nlattr *attr = (const void *)at;

	if (at > end || (size_t)(end - at) < sizeof(struct nlattr))
		return NULL;
	return attr->nla_len < sizeof(struct nlattr) || attr->nla_len > end - at ? NULL : attr;
}
