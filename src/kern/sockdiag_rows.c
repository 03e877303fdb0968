/* SPDX-License-Identifier: Apache-2.0 */
/* The families on the wire of NETLINK_SOCK_DIAG (sockdiag_rows.h). */
#include "kern/sockdiag_rows.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "kern/sockdiag.h"

void sockdiag_request(struct nlmsghdr *nlh, uint8_t family, uint8_t proto, uint32_t ino)
{
	const uint32_t ext = INET_DIAG_SHUTDOWN;

	if (family == AF_UNIX) {
		struct unix_diag_req *q = mnl_nlmsg_put_extra_header(nlh, sizeof(*q));

		q->sdiag_family = AF_UNIX;
		q->udiag_states = UINT32_MAX;
		q->udiag_ino = ino;
		q->udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS |
				UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID;
		memset(q->udiag_cookie, 0xff, sizeof(q->udiag_cookie)); /* none */
	} else if (family == AF_NETLINK) {
		struct netlink_diag_req *q = mnl_nlmsg_put_extra_header(nlh, sizeof(*q));

		q->sdiag_family = AF_NETLINK;
		q->sdiag_protocol = NDIAG_PROTO_ALL;
	} else if (family == AF_PACKET) {
		struct packet_diag_req *q = mnl_nlmsg_put_extra_header(nlh, sizeof(*q));

		q->sdiag_family = AF_PACKET;
		q->pdiag_show = PACKET_SHOW_INFO;
	} else {
		struct inet_diag_req_v2 *q = mnl_nlmsg_put_extra_header(nlh, sizeof(*q));

		q->sdiag_family = family;
		q->sdiag_protocol = proto;
		q->idiag_ext = (uint8_t)(1U << (ext - 1));
		q->idiag_states = UINT32_MAX;
	}
}

size_t sockdiag_row_min(uint8_t family)
{
	switch (family) {
	case AF_UNIX:
		return sizeof(struct unix_diag_msg);
	case AF_NETLINK:
		return sizeof(struct netlink_diag_msg);
	case AF_PACKET:
		return sizeof(struct packet_diag_msg);
	default:
		return sizeof(struct inet_diag_msg);
	}
}

/* Whether the attribute is there and has at least len bytes. */
static bool has(const struct nlattr *attr, size_t len)
{
	return mnl_attr_get_payload_len(attr) >= len;
}

/* mnl_attr_for_each() without its silent narrowing. */
#define each_attr(attr, nlh, offset)                                                                      \
	for ((attr) = mnl_nlmsg_get_payload_offset((nlh), (offset));                                      \
	     mnl_attr_ok((attr), (int)((char *)mnl_nlmsg_get_payload_tail(nlh) - (const char *)(attr))); \
	     (attr) = mnl_attr_next(attr))

static void unix_attr(struct sockdiag_unix *s, const struct nlattr *attr, struct arena *a)
{
	const void *data = mnl_attr_get_payload(attr);
	const struct unix_diag_rqlen *rq = data;
	const struct unix_diag_vfs *vfs = data;
	size_t len = mnl_attr_get_payload_len(attr);

	switch (mnl_attr_get_type(attr)) {
	case UNIX_DIAG_NAME:
		s->name = arena_memdup(a, data, len);
		s->name_len = len;
		break;
	case UNIX_DIAG_VFS:
		if (!has(attr, sizeof(*vfs)))
			break;
		s->has_vfs = true;
		s->vfs_ino = vfs->udiag_vfs_ino;
		s->vfs_dev = vfs->udiag_vfs_dev;
		break;
	case UNIX_DIAG_PEER:
		if (has(attr, sizeof(uint32_t)))
			s->peer = mnl_attr_get_u32(attr);
		break;
	case UNIX_DIAG_ICONS:
		s->pending = arena_memdup(a, data, len);
		s->n_pending = len / sizeof(*s->pending);
		break;
	case UNIX_DIAG_RQLEN:
		if (!has(attr, sizeof(*rq)))
			break;
		s->rqlen = rq->udiag_rqueue;
		s->wqlen = rq->udiag_wqueue;
		break;
	case UNIX_DIAG_SHUTDOWN:
		if (has(attr, 1))
			s->shutdown = mnl_attr_get_u8(attr);
		break;
	case UNIX_DIAG_UID:
		if (has(attr, sizeof(uint32_t)))
			s->uid = mnl_attr_get_u32(attr);
		break;
	default:
		break;
	}
}

static void *unix_row(const struct nlmsghdr *nlh, struct arena *a, uint32_t *ret_ino)
{
	const struct unix_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct sockdiag_unix *s = arena_alloc(a, sizeof(*s));
	const struct nlattr *attr;

	s->ino = *ret_ino = m->udiag_ino;
	s->type = m->udiag_type;
	s->state = m->udiag_state;
	each_attr(attr, nlh, sizeof(*m))
		unix_attr(s, attr, a);
	return s;
}

static void *inet_row(const struct nlmsghdr *nlh, uint8_t proto, struct arena *a, uint32_t *ret_ino)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct sockdiag_inet *s = arena_alloc(a, sizeof(*s));
	size_t addr_len = m->idiag_family == AF_INET ? 4 : 16;
	const struct nlattr *attr;

	s->ino = *ret_ino = m->idiag_inode;
	s->family = m->idiag_family;
	s->proto = proto;
	s->state = m->idiag_state;
	s->src_port = ntohs(m->id.idiag_sport);
	s->dst_port = ntohs(m->id.idiag_dport);
	memcpy(s->src, m->id.idiag_src, addr_len);
	memcpy(s->dst, m->id.idiag_dst, addr_len);
	s->ifindex = m->id.idiag_if;
	s->uid = m->idiag_uid;
	s->rqueue = m->idiag_rqueue;
	s->wqueue = m->idiag_wqueue;
	each_attr(attr, nlh, sizeof(*m)) {
		if (mnl_attr_get_type(attr) == INET_DIAG_SHUTDOWN && has(attr, 1))
			s->shutdown = mnl_attr_get_u8(attr);
		else if (mnl_attr_get_type(attr) == INET_DIAG_SKV6ONLY && has(attr, 1))
			s->v6only = mnl_attr_get_u8(attr) != 0;
	}
	return s;
}

static void *netlink_row(const struct nlmsghdr *nlh, struct arena *a, uint32_t *ret_ino)
{
	const struct netlink_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct sockdiag_netlink *s = arena_alloc(a, sizeof(*s));

	*s = (struct sockdiag_netlink){
		.ino = m->ndiag_ino, .proto = m->ndiag_protocol, .state = m->ndiag_state, .portid = m->ndiag_portid,
		.dst_portid = m->ndiag_dst_portid, .dst_group = m->ndiag_dst_group,
	};
	*ret_ino = m->ndiag_ino;
	return s;
}

static void *packet_row(const struct nlmsghdr *nlh, struct arena *a, uint32_t *ret_ino)
{
	const struct packet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct sockdiag_packet *s = arena_alloc(a, sizeof(*s));
	const struct nlattr *attr;

	*s = (struct sockdiag_packet){ .ino = m->pdiag_ino, .type = m->pdiag_type, .proto = m->pdiag_num };
	*ret_ino = m->pdiag_ino;
	each_attr(attr, nlh, sizeof(*m))
		if (mnl_attr_get_type(attr) == PACKET_DIAG_INFO && has(attr, sizeof(struct packet_diag_info)))
			s->ifindex = ((const struct packet_diag_info *)mnl_attr_get_payload(attr))->pdi_index;
	return s;
}

void *sockdiag_row(const struct nlmsghdr *nlh, uint8_t family, uint8_t proto, struct arena *a, uint32_t *ret_ino)
{
	switch (family) {
	case AF_UNIX:
		return unix_row(nlh, a, ret_ino);
	case AF_NETLINK:
		return netlink_row(nlh, a, ret_ino);
	case AF_PACKET:
		return packet_row(nlh, a, ret_ino);
	default:
		return inet_row(nlh, proto, a, ret_ino);
	}
}
