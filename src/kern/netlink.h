/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the kernel by netlink, and the messages that answer them.
 *
 * It is little, and our own, because a library for it is one more that has to be found, mapped and relocated
 * whenever thaw starts, though few dumps ask anything.
 */
#ifndef KERN_NETLINK_H
#define KERN_NETLINK_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct netlink {
	int fd;
	uint32_t seq; /* of the last question */
};

struct netlink_question {
	uint16_t type, flags; /* NLM_F_REQUEST goes without saying */
	const void *body;
	size_t len;
};

/* Called for each message; what it returns below 0 ends the answer. */
typedef int netlink_each(const struct nlmsghdr *m, void *arg);

/* -errno without a trail. */
int netlink_open(struct netlink *nl, int protocol) must_check;
void netlink_close(struct netlink *nl);
/*
 * Asks, and hands what answers to each() (may be NULL). Returns -errno without a trail: the kernel's own;
 * -EINTR: what it listed changed on the way.
 */
int netlink_ask(struct netlink *nl, const struct netlink_question *q, netlink_each *each, void *arg) must_check;

static inline const void *netlink_data(const struct nlmsghdr *m)
{
	return (const char *)m + NLMSG_HDRLEN;
}

static inline size_t netlink_len(const struct nlmsghdr *m)
{
	return m->nlmsg_len - NLMSG_HDRLEN;
}

/* The attribute behind prev, or (prev NULL) the first one behind the message's fixed part; NULL: there is no more. */
const struct nlattr *netlink_attr(const struct nlmsghdr *m, size_t fixed, const struct nlattr *prev);

static inline unsigned netlink_attr_type(const struct nlattr *attr)
{
	return attr->nla_type & (unsigned)NLA_TYPE_MASK;
}

static inline const void *netlink_attr_data(const struct nlattr *attr)
{
	return (const char *)attr + sizeof(struct nlattr);
}

static inline size_t netlink_attr_len(const struct nlattr *attr)
{
	return (size_t)attr->nla_len - sizeof(struct nlattr);
}

#endif
