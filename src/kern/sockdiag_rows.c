/* SPDX-License-Identifier: Apache-2.0 */
/* The families on the wire of NETLINK_SOCK_DIAG (sockdiag_rows.h). */
#include "kern/sockdiag_rows.h"

#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "kern/netlink.h"
#include "kern/sockdiag.h"

size_t sockdiag_request(struct sockdiag_request *q, uint8_t family, uint8_t proto, uint32_t ino)
{
	memset(q, 0, sizeof(*q));
	switch (family) {
	case AF_UNIX:
		q->unix_req = (struct unix_diag_req){
			.sdiag_family = AF_UNIX, .udiag_states = UINT32_MAX, .udiag_ino = ino,
			.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS |
				      UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID,
			.udiag_cookie = { UINT32_MAX, UINT32_MAX }, /* none */
		};
		return sizeof(q->unix_req);
	case AF_NETLINK:
		q->netlink = (struct netlink_diag_req){ .sdiag_family = AF_NETLINK, .sdiag_protocol = NDIAG_PROTO_ALL };
		return sizeof(q->netlink);
	case AF_PACKET:
		q->packet = (struct packet_diag_req){ .sdiag_family = AF_PACKET, .pdiag_show = PACKET_SHOW_INFO };
		return sizeof(q->packet);
	default:
		q->inet = (struct inet_diag_req_v2){ .sdiag_family = family, .sdiag_protocol = proto,
						     .idiag_ext = 1U << (INET_DIAG_SHUTDOWN - 1),
						     .idiag_states = UINT32_MAX };
		return sizeof(q->inet);
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
	return netlink_attr_len(attr) >= len;
}

#define each_attr(attr, m, fixed) \
	for ((attr) = netlink_attr((m), (fixed), NULL); (attr); (attr) = netlink_attr((m), (fixed), (attr)))

/* What the attribute says, which has at least these bytes. */
static uint8_t attr_u8(const struct nlattr *attr)
{
	return *(const uint8_t *)netlink_attr_data(attr);
}

static uint32_t attr_u32(const struct nlattr *attr)
{
	uint32_t v;

	memcpy(&v, netlink_attr_data(attr), sizeof(v));
	return v;
}

static void unix_attr(struct sockdiag_unix *s, const struct nlattr *attr, struct arena *a)
{
	const void *data = netlink_attr_data(attr);
	const struct unix_diag_rqlen *rq = data;
	const struct unix_diag_vfs *vfs = data;
	size_t len = netlink_attr_len(attr);

	switch (netlink_attr_type(attr)) {
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
			s->peer = attr_u32(attr);
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
			s->shutdown = attr_u8(attr);
		break;
	case UNIX_DIAG_UID:
		if (has(attr, sizeof(uint32_t)))
			s->uid = attr_u32(attr);
		break;
	default:
		break;
	}
}

static void *unix_row(const struct nlmsghdr *nlh, struct arena *a, uint32_t *ret_ino)
{
	const struct unix_diag_msg *m = netlink_data(nlh);
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
	const struct inet_diag_msg *m = netlink_data(nlh);
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
		if (netlink_attr_type(attr) == INET_DIAG_SHUTDOWN && has(attr, 1))
			s->shutdown = attr_u8(attr);
		else if (netlink_attr_type(attr) == INET_DIAG_SKV6ONLY && has(attr, 1))
			s->v6only = attr_u8(attr) != 0;
	}
	return s;
}

static void *netlink_row(const struct nlmsghdr *nlh, struct arena *a, uint32_t *ret_ino)
{
	const struct netlink_diag_msg *m = netlink_data(nlh);
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
	const struct packet_diag_msg *m = netlink_data(nlh);
	struct sockdiag_packet *s = arena_alloc(a, sizeof(*s));
	const struct nlattr *attr;

	*s = (struct sockdiag_packet){ .ino = m->pdiag_ino, .type = m->pdiag_type, .proto = m->pdiag_num };
	*ret_ino = m->pdiag_ino;
	each_attr(attr, nlh, sizeof(*m))
		if (netlink_attr_type(attr) == PACKET_DIAG_INFO && has(attr, sizeof(struct packet_diag_info)))
			s->ifindex = ((const struct packet_diag_info *)netlink_attr_data(attr))->pdi_index;
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
