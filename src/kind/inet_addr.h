/* SPDX-License-Identifier: Apache-2.0 */
/* An internet address with its port, between the kernel's form, the wire's (words in network order) and a reader's. */
#ifndef KIND_INET_ADDR_H
#define KIND_INET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/err.h"
#include "img/messages.h"

union inet_addr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

enum { INET_ADDR_TEXT = 64 };

socklen_t inet_addr_len(const union inet_addr *a);
/* "TCP", "UDP", "UDP-Lite". */
const char *inet_proto_name(uint32_t proto);
/* Host order. */
uint16_t inet_addr_port(const union inet_addr *a);
bool inet_addr_any(const union inet_addr *a);
/* "127.0.0.1:80", "[::1]:80"; returns text. */
const char *inet_addr_text(const union inet_addr *a, char text[static INET_ADDR_TEXT]);
/* The address as words in the arena. */
void inet_addr_words(const union inet_addr *a, struct arena *arena, uint32_t **ret_words, size_t *ret_n);

/* Of a checked entry: its own address and the peer's. ifname becomes the scope of link-local ones. */
union inet_addr inet_addr_src(const InetSkEntry *e);
union inet_addr inet_addr_dst(const InetSkEntry *e);

#endif
