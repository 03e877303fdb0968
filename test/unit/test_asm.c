/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler: records stay where they are, pieces are joined by jumps, results and labels are found again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "prog/asm.h"

enum { SPACE = 1 << 20, BASE = 0x700000000 };

struct fixture {
	struct arena *a;
	uint8_t *map;
	struct prog_space s;
};

static void begin(struct fixture *f, size_t len)
{
	f->a = arena_new();
	f->map = aligned_alloc(64, len);
	memset(f->map, 0, len);
	assert_int_equal(prog_space_init(&f->s, f->a, f->map, BASE, len), 0);
}

static void end(struct fixture *f)
{
	prog_space_done(&f->s);
	arena_free(f->a);
	free(f->map);
	err_clear();
}

static const struct prog_rec *at(const struct fixture *f, uint64_t va)
{
	assert_true(va >= BASE && va + sizeof(struct prog_rec) <= BASE + SPACE && va % 64 == 0);
	return (const struct prog_rec *)(f->map + (va - BASE));
}

/* Two programs that grow side by side: each one's records come in order. */
static void programs_grow_side_by_side(void **state)
{
	struct fixture f;
	struct prog p[2];

	(void)state;
	begin(&f, SPACE);
	for (int k = 0; k < 2; k++)
		p[k] = prog_begin(&f.s);
	for (uint64_t i = 0; i < 500; i++)
		for (int k = 0; k < 2; k++) {
			prog_label(&p[k], "program %d, step %d", k, (int)i);
			prog_sys(&p[k], SYS_getpid, i, (uint64_t)k);
		}
	for (int k = 0; k < 2; k++) {
		uint64_t va = p[k].start_va;

		for (uint64_t i = 0; i < 500; i++, va += 64) {
			char label[64];

			if (at(&f, va)->op == OP_JUMP)
				va = at(&f, va)->arg[0];
			assert_int_equal(at(&f, va)->op, OP_SYSCALL);
			assert_int_equal(at(&f, va)->arg[0], i);
			assert_int_equal(at(&f, va)->arg[1], k);
			snprintf(label, sizeof(label), "program %d, step %d", k, (int)i);
			assert_string_equal(prog_label_of(&f.s, va), label);
		}
	}
	assert_int_equal(prog_space_full(&f.s), 0);
	end(&f);
}

static void results_are_found(void **state)
{
	struct fixture f;
	struct prog_rec *must, *may, *ref;
	struct prog p;

	(void)state;
	begin(&f, SPACE);
	p = prog_begin(&f.s);
	for (int i = 0; i < 100; i++)
		prog_sys(&p, SYS_getpid, 0);
	prog_label(&p, "may fail");
	may = prog_try(&p, SYS_close, 99);
	prog_label(&p, "must not fail");
	must = prog_sys(&p, SYS_open, 1);
	ref = prog_sys(&p, SYS_close, 0);
	prog_ref(&p, ref, 0, must);
	prog_do(&p, OP_PARK, 0);
	assert_int_equal(ref->ref, 1);
	assert_ptr_equal(at(&f, ref->arg[0]), must);
	may->ret = -EBADF;
	assert_int_equal(prog_results(&f.s, p.start_va), 0);
	must->ret = -ENOENT;
	assert_int_equal(prog_results(&f.s, p.start_va), -ENOENT);
	assert_non_null(strstr(err_text(), "must not fail: No such file"));
	must->ret = -5000; /* an address, say */
	assert_int_equal(prog_results(&f.s, p.start_va), 0);
	end(&f);
}

static void ranges_are_labelled_when_asked(void **state)
{
	struct fixture f;
	struct prog p;
	uint64_t va;

	(void)state;
	begin(&f, SPACE);
	p = prog_begin(&f.s);
	va = p.start_va;
	prog_label(&p, "@protect");
	prog_sys(&p, SYS_mprotect, 0x7000, 0x2000, 1);
	prog_sys(&p, SYS_mprotect, 0x10000, 0x1000, 1);
	prog_label(&p, "%s", "done");
	prog_sys(&p, SYS_getpid, 0);
	assert_string_equal(prog_label_of(&f.s, va), "protect 7000-9000");
	assert_string_equal(prog_label_of(&f.s, va + 64), "protect 10000-11000");
	assert_string_equal(prog_label_of(&f.s, va + 128), "done");
	end(&f);
}

/* What does not fit is written where nobody runs, and said once. */
static void overflow_is_remembered(void **state)
{
	struct fixture f;
	struct prog p;
	uint64_t va;

	(void)state;
	begin(&f, 8192);
	p = prog_begin(&f.s);
	assert_int_equal(prog_space_full(&f.s), 0);
	assert_non_null(prog_alloc(&f.s, 9000, &va));
	assert_int_equal(va, 0);
	for (int i = 0; i < 1000; i++) {
		prog_label(&p, "step %d", i);
		prog_sys(&p, SYS_getpid, prog_data(&f.s, &i, sizeof(i)));
	}
	assert_int_equal(prog_space_full(&f.s), -ENOSPC);
	assert_string_equal(prog_label_of(&f.s, BASE + 8192), "?");
	assert_string_equal(prog_label_of(&f.s, BASE - 64), "?");
	assert_string_equal(prog_label_of(&f.s, BASE + 1), "?");
	end(&f);
}

static void data_is_aligned(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, SPACE);
	for (size_t len = 1; len < 200; len++) {
		uint8_t bytes[200];
		uint64_t va;

		memset(bytes, (int)len, sizeof(bytes));
		va = prog_data(&f.s, bytes, len);
		assert_int_equal(va % 64, 0);
		assert_memory_equal(f.map + (va - BASE), bytes, len);
		assert_int_equal(prog_va(&f.s, f.map + (va - BASE)), va);
	}
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_grow_side_by_side),
		cmocka_unit_test(results_are_found),
		cmocka_unit_test(ranges_are_labelled_when_asked),
		cmocka_unit_test(overflow_is_remembered),
		cmocka_unit_test(data_is_aligned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
