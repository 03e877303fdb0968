/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets through NETLINK_SOCK_DIAG (sockdiag.h): the tables and the talking. What
 * the messages of the families mean: sockdiag_rows.c.
 */
#include "kern/sockdiag.h"

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <uthash.h>

#include "kern/sockdiag_rows.h"

enum { BUF_LEN = 32768, TRIES = 5 };

struct entry {
	uint32_t ino;
	void *row;
	UT_hash_handle hh;
};

struct table { /* one dump */
	uint8_t family, proto;
	struct entry *by_ino; /* uthash */
	struct table *next;
};

struct sockdiag {
	struct arena *a;
	struct mnl_socket *nl;
	struct table *tables;
	unsigned int seq;
};

struct filling {
	struct sockdiag *sd;
	struct table *table;
};

struct sockdiag *sockdiag_new(struct arena *a, int nl_fd)
{
	struct sockdiag *sd = arena_alloc(a, sizeof(*sd));

	sd->a = a;
	sd->nl = nl_fd < 0 ? mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC) : mnl_socket_fdopen(nl_fd);
	if (!sd->nl) {
		err_set(errno, "open a NETLINK_SOCK_DIAG socket");
		return NULL;
	}
	return sd;
}

static void table_clear(struct table *t)
{
	struct entry *e, *tmp;

	HASH_ITER(hh, t->by_ino, e, tmp)
		HASH_DEL(t->by_ino, e);
}

void sockdiag_free(struct sockdiag *sd)
{
	if (!sd)
		return;
	for (struct table *t = sd->tables; t; t = t->next)
		table_clear(t);
	mnl_socket_close(sd->nl);
}

static int on_message(const struct nlmsghdr *nlh, void *arg)
{
	struct filling *f = arg;
	struct entry *e;
	uint32_t ino = 0;
	void *row;

	if (mnl_nlmsg_get_payload_len(nlh) < sockdiag_row_min(f->table->family))
		return MNL_CB_OK; /* cut short: of no use */
	row = sockdiag_row(nlh, f->table->family, f->table->proto, f->sd->a, &ino);
	if (!row || !ino)
		return MNL_CB_OK;
	HASH_FIND(hh, f->table->by_ino, &ino, sizeof(ino), e);
	if (e)
		return MNL_CB_OK;
	e = arena_alloc(f->sd->a, sizeof(*e));
	e->ino = ino;
	e->row = row;
	HASH_ADD(hh, f->table->by_ino, ino, sizeof(ino), e);
	return MNL_CB_OK;
}

/* The request, its fixed part alone; ino 0: all of the family. Returns the message in buf. */
static struct nlmsghdr *request(char *buf, const struct table *t, uint32_t ino, unsigned int seq)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (ino ? 0 : NLM_F_DUMP));
	nlh->nlmsg_seq = seq;
	sockdiag_request(nlh, t->family, t->proto, ino);
	return nlh;
}

/* One question and all of its answers. -EINTR: the table changed on the way. */
static int ask(struct sockdiag *sd, struct table *t, uint32_t ino)
{
	_Alignas(struct nlmsghdr) char buf[BUF_LEN];
	struct filling f = { sd, t };
	struct nlmsghdr *nlh = request(buf, t, ino, ++sd->seq);
	ssize_t n;
	int r;

	if (mnl_socket_sendto(sd->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(sd->nl, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)n, sd->seq, mnl_socket_get_portid(sd->nl), on_message, &f);
	} while (!ino && r > MNL_CB_STOP);
	return r < 0 ? -errno : 0;
}

static int table_load(struct sockdiag *sd, struct table *t)
{
	int r = -EINTR;

	for (int i = 0; r == -EINTR && i < TRIES; i++) {
		table_clear(t);
		r = ask(sd, t, 0);
	}
	/* no such protocol, or none that can be asked, in this kernel: then it has no rows */
	return r == -ENOENT || r == -EINTR || r == -EOPNOTSUPP ? 0 : r;
}

/* NULL with a trail if it cannot be had. */
static struct table *table_get(struct sockdiag *sd, int family, int proto)
{
	struct table *t;
	int r;

	for (t = sd->tables; t; t = t->next)
		if (t->family == family && t->proto == proto)
			break;
	if (!t) {
		t = arena_alloc(sd->a, sizeof(*t));
		t->family = (uint8_t)family;
		t->proto = (uint8_t)proto;
		r = table_load(sd, t);
		if (r < 0) {
			table_clear(t);
			err_set(-r, "ask for the sockets of family %d, protocol %d", family, proto);
			errno = -r;
			return NULL;
		}
		t->next = sd->tables;
		sd->tables = t;
	}
	return t;
}

static int look_up(struct sockdiag *sd, int family, int proto, uint32_t ino, const void **ret_row)
{
	struct table *t;
	struct entry *e;
	int r;

	if (proto < 0 || proto > UINT8_MAX)
		return err_say(EINVAL, "sockets of protocol %d cannot be asked for", proto);
	t = table_get(sd, family, proto);
	if (!t)
		return -errno;
	HASH_FIND(hh, t->by_ino, &ino, sizeof(ino), e);
	if (!e && family == AF_UNIX && ino) {
		/* all of these are in the kernel's table: the dump may have missed it while others came and went */
		r = ask(sd, t, ino);
		if (r < 0 && r != -ENOENT)
			return err_set(-r, "ask for unix socket %u", ino);
		HASH_FIND(hh, t->by_ino, &ino, sizeof(ino), e);
	}
	*ret_row = e ? e->row : NULL;
	return 0;
}

int sockdiag_unix(struct sockdiag *sd, uint32_t ino, const struct sockdiag_unix **ret_row)
{
	return look_up(sd, AF_UNIX, 0, ino, (const void **)ret_row);
}

int sockdiag_inet(struct sockdiag *sd, int family, int proto, uint32_t ino, const struct sockdiag_inet **ret_row)
{
	if (family != AF_INET && family != AF_INET6)
		return err_say(EINVAL, "family %d is not an internet family", family);
	return look_up(sd, family, proto, ino, (const void **)ret_row);
}

int sockdiag_netlink(struct sockdiag *sd, uint32_t ino, const struct sockdiag_netlink **ret_row)
{
	return look_up(sd, AF_NETLINK, 0, ino, (const void **)ret_row);
}

int sockdiag_packet(struct sockdiag *sd, uint32_t ino, const struct sockdiag_packet **ret_row)
{
	return look_up(sd, AF_PACKET, 0, ino, (const void **)ret_row);
}
