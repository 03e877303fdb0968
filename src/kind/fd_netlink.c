/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netlink sockets: protocol, port id, groups, the port they are connected to.
 * Runs in the engine, in its own network namespace.
 *
 * Unread messages belong to a conversation with the kernel that cannot be had
 * again, and some protocols (connector, netfilter queues) keep state per port: both are refused by name.
 */
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kind/description.h"
#include "kind/registry.h"
#include "kind/sk.h"

enum { GROUP_WORDS = 64 };

static bool netlink_match(const struct fd_facts *f)
{
	return sk_family(f) == AF_NETLINK;
}

static const char *protocol_name(uint32_t protocol)
{
	switch (protocol) {
	case NETLINK_ROUTE:
		return "route";
	case NETLINK_SOCK_DIAG:
		return "sock_diag";
	case NETLINK_XFRM:
		return "xfrm";
	case NETLINK_KOBJECT_UEVENT:
		return "uevent";
	case NETLINK_GENERIC:
		return "generic";
	}
	return NULL;
}

static int check_protocol(uint32_t protocol)
{
	if (protocol_name(protocol))
		return 0;
	return err_say(ENOTSUP, "a netlink socket of protocol %u is not supported yet", protocol);
}

/* ---- dump ------------------------------------------------------------------------------------ */

static int dump_protocol(int fd, NetlinkSkEntry *k)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int protocol, r = sk_get(fd, SOL_SOCKET, SO_PROTOCOL, &protocol);

	if (r < 0)
		return err_set(-r, "get SO_PROTOCOL");
	k->protocol = (uint32_t)protocol;
	r = check_protocol(k->protocol);
	if (!r && poll(&p, 1, 0) > 0 && (p.revents & POLLIN))
		r = err_say(ENOTSUP, "a netlink socket with unread messages is not supported yet");
	return r;
}

static int dump_ports(int fd, NetlinkSkEntry *k)
{
	struct sockaddr_nl src = { 0 }, dst = { 0 };
	socklen_t src_len = sizeof(src), dst_len = sizeof(dst);

	if (getsockname(fd, (struct sockaddr *)&src, &src_len) < 0 ||
	    getpeername(fd, (struct sockaddr *)&dst, &dst_len) < 0)
		return err_set(errno, "get the addresses of a netlink socket");
	k->portid = src.nl_pid;
	k->dst_portid = dst.nl_pid;
	k->dst_group = dst.nl_groups;
	return 0;
}

/* All groups as a bitmap; those without members at the end are left out. */
static int dump_groups(struct dumping *d, int fd, NetlinkSkEntry *k)
{
	uint32_t words[GROUP_WORDS] = { 0 };
	socklen_t len = sizeof(words);
	size_t n;

	if (getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &len) < 0)
		return err_set(errno, "get the groups of a netlink socket");
	if (len > sizeof(words))
		return err_say(ENOTSUP, "a netlink socket with %u bytes of groups is not supported yet", len);
	for (n = len / sizeof(*words); n && !words[n - 1];)
		n--;
	k->groups = arena_memdup(d->a, words, n * sizeof(*words));
	k->n_groups = n;
	return 0;
}

static int netlink_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	NetlinkSkEntry *k = arena_msg(d->a, netlink_sk_entry, NetlinkSkEntry);
	const struct sockdiag_netlink *row;
	int r;

	k->id = e->id;
	k->ino = (uint32_t)f->st.st_ino;
	k->flags = f->flags;
	k->fown = dumping_fown(d, f->fd);
	r = sk_same_netns(d, f->fd);
	if (!r)
		r = dump_protocol(f->fd, k);
	if (!r)
		r = sk_lost_check(f, AF_NETLINK, 0);
	if (!r)
		r = dump_ports(f->fd, k);
	if (!r)
		r = dump_groups(d, f->fd, k);
	if (!r)
		r = sockdiag_netlink(sk_dump_get(d)->sd, k->ino, &row);
	if (!r)
		r = sk_opts_dump(d, f->fd, &k->opts);
	if (!r)
		k->state = row ? row->state : 0;
	e->nlsk = k;
	return r;
}

static int netlink_finish(struct dumping *d)
{
	const struct img_msgs *files = &d->snap->list[IMG_FILES];

	for (size_t i = 0; i < files->n; i++) {
		FileEntry *e = (FileEntry *)files->v[i].msg;

		if (e->nlsk)
			e->nlsk->has_ns_id = sk_netns_id(d, &e->nlsk->ns_id);
	}
	return 0;
}

/* ---- restore --------------------------------------------------------------------------------- */

static int netlink_check(struct restoring *r, const FileEntry *e)
{
	int err;

	(void)r;
	if (!e->nlsk)
		return err_say(EINVAL, "the entry has no socket in it");
	if (e->nlsk->n_groups > GROUP_WORDS)
		return err_say(EINVAL, "a netlink socket with %zu words of groups", e->nlsk->n_groups);
	err = check_protocol(e->nlsk->protocol);
	return err < 0 ? err : sk_opts_check(e->nlsk->opts);
}

static int join_groups(int fd, const NetlinkSkEntry *k)
{
	for (uint32_t i = 0; i < k->n_groups * 32; i++) {
		int r = 0;

		if (k->groups[i / 32] & (1u << i % 32))
			r = sk_set(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, (int)i + 1, "NETLINK_ADD_MEMBERSHIP");
		if (r < 0)
			return r;
	}
	return 0;
}

/* Port ids are mostly PIDs, and so free again; one that is taken is no reason to take another. */
static int bind_ports(int fd, const NetlinkSkEntry *k)
{
	struct sockaddr_nl src = { .nl_family = AF_NETLINK, .nl_pid = k->portid };
	struct sockaddr_nl dst = { .nl_family = AF_NETLINK, .nl_pid = k->dst_portid, .nl_groups = k->dst_group };

	if (k->portid && bind(fd, (struct sockaddr *)&src, sizeof(src)) < 0)
		return err_set(errno, "bind to netlink (%s) port %u", protocol_name(k->protocol), k->portid);
	if ((k->dst_portid || k->dst_group) && connect(fd, (struct sockaddr *)&dst, sizeof(dst)) < 0)
		return err_set(errno, "connect to netlink port %u", k->dst_portid);
	return 0;
}

static int netlink_open(struct restoring *r, const FileEntry *e)
{
	const NetlinkSkEntry *k = e->nlsk;
	auto_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, (int)k->protocol);
	int err;

	(void)r;
	if (fd < 0)
		return err_set(errno, "socket()");
	err = bind_ports(fd, k);
	if (!err)
		err = join_groups(fd, k);
	if (!err)
		err = sk_opts_restore(fd, k->opts);
	if (!err)
		err = description_flags(fd, k->flags);
	return err < 0 ? err : take_fd(&fd);
}

static int netlink_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	(void)r;
	description_owner(e->nlsk->fown, tfd, p);
	description_async(e->nlsk->flags, tfd, p);
	return 0;
}

static void netlink_describe(const FileEntry *e, char *text, size_t len)
{
	const char *name = e->nlsk ? protocol_name(e->nlsk->protocol) : NULL;

	if (e->nlsk)
		snprintf(text, len, "%s, port %u", name ? name : "?", e->nlsk->portid);
}

const struct kind_fd kind_fd_netlink = {
	.name = "netlink socket",
	.type = FD_TYPES__NETLINKSK,
	.match = netlink_match,
	.dump = netlink_dump,
	.finish = netlink_finish,
	.check = netlink_check,
	.open = netlink_open,
	.emit = netlink_emit,
	.describe = netlink_describe,
};
