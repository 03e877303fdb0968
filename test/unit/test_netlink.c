/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes that are longer than what holds them are not looked at; the kernel's own errors come back. */
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "kern/netlink.h"

enum { FIXED = 6 }; /* the attributes begin behind 8 */

struct message {
	struct nlmsghdr h;
	char fixed[8];
	struct nlattr first;
	char one[4];
	struct nlattr second;
	char two[4];
};

static struct message message(uint16_t second_len)
{
	struct message m = { .h.nlmsg_len = sizeof(m), .first = { 5, 1 }, .one = "a", .second = { second_len, 2 },
			     .two = "bcd" };

	return m;
}

static void test_attributes(void **state)
{
	struct message m = message(8);
	const struct nlattr *a = netlink_attr(&m.h, FIXED, NULL), *b = netlink_attr(&m.h, FIXED, a);

	(void)state;
	assert_ptr_equal(a, &m.first);
	assert_int_equal(netlink_attr_len(a), 1);
	assert_ptr_equal(b, &m.second);
	assert_int_equal(netlink_attr_type(b), 2);
	assert_memory_equal(netlink_attr_data(b), "bcd", 4);
	assert_null(netlink_attr(&m.h, FIXED, b));
}

static void test_attributes_cut(void **state)
{
	struct message longer = message(9), shorter = message(3), none = message(8);

	(void)state;
	assert_null(netlink_attr(&longer.h, FIXED, &longer.first));
	assert_null(netlink_attr(&shorter.h, FIXED, &shorter.first));
	none.h.nlmsg_len = NLMSG_HDRLEN + FIXED;
	assert_null(netlink_attr(&none.h, FIXED, NULL));
}

static int count(const struct nlmsghdr *m, void *arg)
{
	assert_true(netlink_len(m) >= sizeof(struct unix_diag_msg));
	++*(int *)arg;
	return 0;
}

static void test_ask(void **state)
{
	struct unix_diag_req req = { .sdiag_family = AF_UNIX, .udiag_states = UINT32_MAX };
	const struct netlink_question q = { SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req) };
	int pair[2], n = 0, r;
	struct netlink nl;

	(void)state;
	assert_int_equal(netlink_open(&nl, NETLINK_SOCK_DIAG), 0);
	do
		r = netlink_ask(&nl, &q, NULL, NULL);
	while (r == -EINTR);
	assert_int_equal(r, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	do
		r = netlink_ask(&nl, &q, count, (n = 0, &n));
	while (r == -EINTR);
	assert_int_equal(r, 0);
	assert_true(n >= 2);
	req.sdiag_family = AF_MAX;
	assert_true(netlink_ask(&nl, &q, count, &n) < 0);
	close(pair[0]);
	close(pair[1]);
	netlink_close(&nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_attributes_cut),
		cmocka_unit_test(test_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
