/* SPDX-License-Identifier: Apache-2.0 */
/* Internet addresses in three forms (inet_addr.h). */
#include "kind/inet_addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

const char *inet_proto_name(uint32_t proto)
{
	return proto == IPPROTO_TCP ? "TCP" : proto == IPPROTO_UDP ? "UDP" : "UDP-Lite";
}

socklen_t inet_addr_len(const union inet_addr *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

uint16_t inet_addr_port(const union inet_addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

bool inet_addr_any(const union inet_addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
	return a->v4.sin_addr.s_addr == INADDR_ANY;
}

const char *inet_addr_text(const union inet_addr *a, char text[static INET_ADDR_TEXT])
{
	bool six = a->sa.sa_family == AF_INET6;
	char ip[INET6_ADDRSTRLEN] = "?";

	inet_ntop(a->sa.sa_family, six ? (const void *)&a->v6.sin6_addr : (const void *)&a->v4.sin_addr, ip,
		  sizeof(ip));
	snprintf(text, INET_ADDR_TEXT, six ? "[%s]:%u" : "%s:%u", ip, inet_addr_port(a));
	return text;
}

void inet_addr_words(const union inet_addr *a, struct arena *arena, uint32_t **ret_words, size_t *ret_n)
{
	bool six = a->sa.sa_family == AF_INET6;
	size_t len = six ? sizeof(a->v6.sin6_addr) : sizeof(a->v4.sin_addr);

	*ret_words = arena_memdup(arena, six ? (const void *)&a->v6.sin6_addr : (const void *)&a->v4.sin_addr, len);
	*ret_n = len / sizeof(uint32_t);
}

static union inet_addr from_entry(const InetSkEntry *e, const uint32_t *words, size_t n, uint32_t port)
{
	union inet_addr a = { .sa.sa_family = (sa_family_t)e->family };
	uint16_t be_port = htons((uint16_t)port);

	if (e->family == AF_INET6) {
		a.v6.sin6_port = be_port;
		if (n == 4)
			memcpy(&a.v6.sin6_addr, words, sizeof(a.v6.sin6_addr));
		if (e->ifname && IN6_IS_ADDR_LINKLOCAL(&a.v6.sin6_addr))
			a.v6.sin6_scope_id = if_nametoindex(e->ifname);
	} else {
		a.v4.sin_port = be_port;
		if (n == 1)
			a.v4.sin_addr.s_addr = words[0];
	}
	return a;
}

union inet_addr inet_addr_src(const InetSkEntry *e)
{
	return from_entry(e, e->src_addr, e->n_src_addr, e->src_port);
}

union inet_addr inet_addr_dst(const InetSkEntry *e)
{
	return from_entry(e, e->dst_addr, e->n_dst_addr, e->dst_port);
}
