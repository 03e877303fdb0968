/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SOL_SOCKET options of sockets of every family, both ways (sk.h). Runs in the engine.
 *
 * Options that are plain ints are rows of a table. A family that does not know an
 * option says so (EOPNOTSUPP, ENOPROTOOPT), and the entry goes without it. Restore sets
 * only what differs from the value a new socket has, since setting the default is refused by some families too.
 */
#include "kind/sk.h"

#include <linux/filter.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/cleanup.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

enum { FILTER_MAX = 4096 }; /* BPF_MAXINSNS */

struct opt_row {
	const char *name;
	int opt;
	bool flag;        /* a bool in the entry, else a uint32_t */
	bool early;       /* matters before bind() */
	bool rare;        /* left out while it has its default */
	uint32_t deflt;
	size_t has, at;   /* offsets in SkOptsEntry */
};

#define ROW(so, field, ...) \
	{ .name = #so, .opt = so, .has = offsetof(SkOptsEntry, has_##field), .at = offsetof(SkOptsEntry, field), \
	  __VA_ARGS__ }

static const struct opt_row rows[] = {
	ROW(SO_REUSEADDR, reuseaddr, .flag = true, .early = true),
	ROW(SO_REUSEPORT, so_reuseport, .flag = true, .early = true),
	ROW(SO_PRIORITY, so_priority),
	ROW(SO_RCVLOWAT, so_rcvlowat, .deflt = 1),
	ROW(SO_MARK, so_mark, .rare = true),
	ROW(SO_PASSCRED, so_passcred, .flag = true),
	ROW(SO_PASSSEC, so_passsec, .flag = true),
	ROW(SO_DONTROUTE, so_dontroute, .flag = true),
	ROW(SO_NO_CHECK, so_no_check, .flag = true),
	ROW(SO_BROADCAST, so_broadcast, .flag = true),
	ROW(SO_KEEPALIVE, so_keepalive, .flag = true),
	ROW(SO_OOBINLINE, so_oobinline),
};

int sk_get(int fd, int level, int opt, int *ret_value)
{
	int value = 0;
	socklen_t len = sizeof(value);

	*ret_value = 0;
	if (getsockopt(fd, level, opt, &value, &len) < 0)
		return -errno;
	*ret_value = value;
	return 0;
}

int sk_set(int fd, int level, int opt, int value, const char *name)
{
	if (setsockopt(fd, level, opt, &value, sizeof(value)) < 0)
		return err_set(errno, "set %s to %d", name, value);
	return 0;
}

/* ---- dump ------------------------------------------------------------------------------------ */

static int dump_rows(int fd, SkOptsEntry *o)
{
	for (const struct opt_row *k = rows; k < rows + ARRAY_LEN(rows); k++) {
		void *at = (char *)o + k->at;
		int value, r = sk_get(fd, SOL_SOCKET, k->opt, &value);

		if (r == -EOPNOTSUPP || r == -ENOPROTOOPT)
			continue;
		if (r < 0)
			return err_set(-r, "get %s", k->name);
		if (k->rare && (uint32_t)value == k->deflt)
			continue;
		*(protobuf_c_boolean *)((char *)o + k->has) = true;
		if (k->flag)
			*(protobuf_c_boolean *)at = value != 0;
		else
			*(uint32_t *)at = (uint32_t)value;
	}
	return 0;
}

static int dump_buffers(int fd, SkOptsEntry *o)
{
	int snd, rcv = 0, lock, r;

	r = sk_get(fd, SOL_SOCKET, SO_SNDBUF, &snd);
	if (!r)
		r = sk_get(fd, SOL_SOCKET, SO_RCVBUF, &rcv);
	if (r < 0)
		return err_set(-r, "get buffer sizes");
	o->so_sndbuf = (uint32_t)snd;
	o->so_rcvbuf = (uint32_t)rcv;
	if (sk_get(fd, SOL_SOCKET, SO_BUF_LOCK, &lock) == 0) {
		o->has_so_buf_lock = true;
		o->so_buf_lock = (uint32_t)lock;
	}
	return 0;
}

static int dump_times(int fd, SkOptsEntry *o)
{
	struct timeval snd, rcv;
	struct linger linger;
	socklen_t snd_len = sizeof(snd), rcv_len = sizeof(rcv), len = sizeof(linger);

	if (getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &snd, &snd_len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &rcv, &rcv_len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) < 0)
		return err_set(errno, "get timeouts");
	o->so_snd_tmo_sec = (uint64_t)snd.tv_sec;
	o->so_snd_tmo_usec = (uint64_t)snd.tv_usec;
	o->so_rcv_tmo_sec = (uint64_t)rcv.tv_sec;
	o->so_rcv_tmo_usec = (uint64_t)rcv.tv_usec;
	if (linger.l_onoff) {
		o->has_so_linger = true;
		o->so_linger = (uint32_t)linger.l_linger;
	}
	return 0;
}

static int dump_device(struct arena *a, int fd, SkOptsEntry *o)
{
	char name[IFNAMSIZ] = "";
	socklen_t len = sizeof(name);

	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len) < 0) {
		if (errno == ENOPROTOOPT || errno == EOPNOTSUPP)
			return 0;
		return err_set(errno, "get SO_BINDTODEVICE");
	}
	if (len > 0 && name[0])
		o->so_bound_dev = arena_strdup(a, name);
	return 0;
}

/* An instruction on the wire is one word: code, jt, jf, k from the top down. */
static int dump_filter(struct arena *a, int fd, SkOptsEntry *o)
{
	struct sock_filter insn[FILTER_MAX];
	socklen_t n = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n) < 0) {
		if (errno == EACCES)
			return err_say(ENOTSUP, "an eBPF socket filter is not supported yet");
		return errno == EOPNOTSUPP || errno == ENOPROTOOPT ? 0 : err_set(errno, "get the socket filter");
	}
	if (!n)
		return 0;
	if (n > FILTER_MAX || getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, insn, &n) < 0)
		return err_set(n > FILTER_MAX ? E2BIG : errno, "get the socket filter");
	o->so_filter = arena_alloc(a, n * sizeof(*o->so_filter));
	o->n_so_filter = n;
	for (socklen_t i = 0; i < n; i++)
		o->so_filter[i] = (uint64_t)insn[i].code << 48 | (uint64_t)insn[i].jt << 40 |
				  (uint64_t)insn[i].jf << 32 | insn[i].k;
	return 0;
}

int sk_opts_dump(struct dumping *d, int fd, SkOptsEntry **ret_opts)
{
	SkOptsEntry *o = arena_msg(d->a, sk_opts_entry, SkOptsEntry);
	int r = dump_buffers(fd, o);

	if (!r)
		r = dump_rows(fd, o);
	if (!r)
		r = dump_times(fd, o);
	if (!r)
		r = dump_device(d->a, fd, o);
	if (!r)
		r = dump_filter(d->a, fd, o);
	if (!r)
		*ret_opts = o;
	return r;
}

/* ---- restore --------------------------------------------------------------------------------- */

int sk_opts_check(const SkOptsEntry *o)
{
	if (o->n_so_filter > FILTER_MAX)
		return err_say(EINVAL, "a socket filter of %zu instructions", o->n_so_filter);
	if (o->so_sndbuf > INT32_MAX || o->so_rcvbuf > INT32_MAX)
		return err_say(EINVAL, "buffers of %u and %u bytes", o->so_sndbuf, o->so_rcvbuf);
	if (o->so_bound_dev && o->so_bound_dev[0] && !if_nametoindex(o->so_bound_dev))
		return err_say(ENODEV, "it is bound to network device %s, which is not here", o->so_bound_dev);
	return 0;
}

int sk_opts_grow(int fd)
{
	int value = INT32_MAX / 2;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof(value)) < 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof(value)) < 0)
		return err_set(errno, "make room for a socket's queue");
	return 0;
}

/* The kernel doubles what it is given and tells the double. Without CAP_NET_ADMIN the system's limit caps it. */
static int restore_buffer(int fd, int force, int opt, uint32_t size, const char *name)
{
	int value = (int)(size / 2), now;

	if (sk_get(fd, SOL_SOCKET, opt, &now) == 0 && now == (int)size)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof(value)) < 0)
		return sk_set(fd, SOL_SOCKET, opt, value, name);
	return 0;
}

static int restore_rows(int fd, const SkOptsEntry *o)
{
	for (const struct opt_row *k = rows; k < rows + ARRAY_LEN(rows); k++) {
		const void *at = (const char *)o + k->at;
		uint32_t value;
		int r;

		if (k->early || !*(const protobuf_c_boolean *)((const char *)o + k->has))
			continue;
		value = k->flag ? *(const protobuf_c_boolean *)at != 0 : *(const uint32_t *)at;
		if (value == k->deflt)
			continue;
		r = sk_set(fd, SOL_SOCKET, k->opt, (int)value, k->name);
		if (r < 0)
			return r;
	}
	return 0;
}

static int restore_times(int fd, const SkOptsEntry *o)
{
	struct timeval snd = { (time_t)o->so_snd_tmo_sec, (suseconds_t)o->so_snd_tmo_usec };
	struct timeval rcv = { (time_t)o->so_rcv_tmo_sec, (suseconds_t)o->so_rcv_tmo_usec };
	struct linger linger = { 1, (int)o->so_linger };

	if ((snd.tv_sec || snd.tv_usec) && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &snd, sizeof(snd)) < 0)
		return err_set(errno, "set SO_SNDTIMEO");
	if ((rcv.tv_sec || rcv.tv_usec) && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &rcv, sizeof(rcv)) < 0)
		return err_set(errno, "set SO_RCVTIMEO");
	if (o->has_so_linger && setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0)
		return err_set(errno, "set SO_LINGER");
	return 0;
}

static int restore_filter(int fd, const SkOptsEntry *o)
{
	struct sock_filter insn[FILTER_MAX];
	struct sock_fprog prog = { .len = (unsigned short)o->n_so_filter, .filter = insn };

	if (!o->n_so_filter)
		return 0;
	for (size_t i = 0; i < o->n_so_filter; i++)
		insn[i] = (struct sock_filter){
			.code = (uint16_t)(o->so_filter[i] >> 48),
			.jt = (uint8_t)(o->so_filter[i] >> 40),
			.jf = (uint8_t)(o->so_filter[i] >> 32),
			.k = (uint32_t)o->so_filter[i],
		};
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
		return err_set(errno, "attach the socket filter");
	return 0;
}

int sk_opts_restore(int fd, const SkOptsEntry *o)
{
	int r = restore_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, o->so_sndbuf, "SO_SNDBUF");

	if (!r)
		r = restore_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, o->so_rcvbuf, "SO_RCVBUF");
	if (!r)
		r = restore_rows(fd, o);
	if (!r)
		r = restore_times(fd, o);
	if (!r)
		r = restore_filter(fd, o);
	/* the last word about buffers: setting their sizes locked them */
	if (!r && o->has_so_buf_lock &&
	    setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &o->so_buf_lock, sizeof(o->so_buf_lock)) < 0)
		r = err_set(errno, "set SO_BUF_LOCK");
	return r;
}
