/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets through NETLINK_SOCK_DIAG (sockdiag.h): the tables and the talking. What
 * the messages of the families mean: sockdiag_rows.c.
 */
#include "kern/sockdiag.h"

#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <uthash.h>

#include "kern/netlink.h"
#include "kern/sockdiag_rows.h"

enum { TRIES = 5 };

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
	struct netlink nl;
	struct table *tables;
};

struct filling {
	struct sockdiag *sd;
	struct table *table;
};

struct sockdiag *sockdiag_new(struct arena *a)
{
	struct sockdiag *sd = arena_alloc(a, sizeof(*sd));
	int r;

	sd->a = a;
	r = netlink_open(&sd->nl, NETLINK_SOCK_DIAG);
	if (r < 0) {
		err_set(-r, "open a NETLINK_SOCK_DIAG socket");
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
	netlink_close(&sd->nl);
}

static int on_message(const struct nlmsghdr *nlh, void *arg)
{
	struct filling *f = arg;
	struct entry *e;
	uint32_t ino = 0;
	void *row;

	if (netlink_len(nlh) < sockdiag_row_min(f->table->family))
		return 0; /* cut short: of no use */
	row = sockdiag_row(nlh, f->table->family, f->table->proto, f->sd->a, &ino);
	if (!row || !ino)
		return 0;
	HASH_FIND(hh, f->table->by_ino, &ino, sizeof(ino), e);
	if (e)
		return 0;
	e = arena_alloc(f->sd->a, sizeof(*e));
	e->ino = ino;
	e->row = row;
	HASH_ADD(hh, f->table->by_ino, ino, sizeof(ino), e);
	return 0;
}

/* One question, for the socket of inode ino or (0) all of the family. -EINTR: the table changed on the way. */
static int ask(struct sockdiag *sd, struct table *t, uint32_t ino)
{
	struct filling f = { sd, t };
	struct sockdiag_request body;
	struct netlink_question q = { .type = SOCK_DIAG_BY_FAMILY, .flags = ino ? 0 : NLM_F_DUMP, .body = &body };

	q.len = sockdiag_request(&body, t->family, t->proto, ino);
	return netlink_ask(&sd->nl, &q, on_message, &f);
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
