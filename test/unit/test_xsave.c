/* SPDX-License-Identifier: Apache-2.0 */
/* arch/x86_64/xsave.h: what a thread has in its extended registers survives the way through an image. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86_64/regs.h"
#include "arch/x86_64/xsave.h"
#include "base/cleanup.h"

enum { AREA = 16384, AVX = 2, MPX = 3, OPMASK = 5, PKRU = 9, TILES = 18 };

static int setup(void **state)
{
	*state = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

/* A CPU that has everything, laid out as on Intel. */
static struct xsave_layout big_cpu(void)
{
	return (struct xsave_layout){
		.features = 0x602ff & ~0x100ull,
		.comp = { [2] = { 576, 256 }, [3] = { 960, 64 }, [4] = { 1024, 64 }, [5] = { 1088, 64 },
			  [6] = { 1152, 512 }, [7] = { 1664, 1024 }, [9] = { 2688, 8 }, [17] = { 2752, 64 },
			  [18] = { 2816, 8192 } },
	};
}

static void set_bv(uint8_t *area, uint64_t bv)
{
	memcpy(area + XSAVE_LEGACY_LEN, &bv, sizeof(bv));
}

static void noise(uint8_t *area, size_t from, size_t len)
{
	for (size_t i = from; i < from + len; i++)
		area[i] = (uint8_t)(i * 7 + (i >> 8)) | 1;
}

static void all_comes_back(void **state)
{
	struct xsave_layout l = big_cpu();
	static uint8_t raw[AREA], out[AREA];
	CoreEntry core = CORE_ENTRY__INIT;
	const UserX86XsaveEntry *x;

	memset(raw, 0, sizeof(raw));
	memset(out, 0, sizeof(out));
	noise(raw, 0, 416);
	for (unsigned i = 2; i < XSAVE_BITS; i++)
		noise(raw, l.comp[i].off, l.comp[i].len);
	set_bv(raw, l.features);
	assert_int_equal(xsave_dump(&l, *state, raw, xsave_len(&l, l.features), &core), 0);
	x = core.thread_info->fpregs->xsave;
	assert_int_equal(x->n_ymmh_space, 64);
	assert_int_equal(x->n_opmask_reg, 8);
	assert_int_equal(x->n_zmm_upper, 64);
	assert_int_equal(x->n_hi16_zmm, 128);
	assert_int_equal(x->n_pkru, 2);
	assert_true(x->has_thaw_xsave);
	xsave_fill(&l, &core, out);
	assert_memory_equal(raw, out, xsave_len(&l, l.features));
}

static void raw_bytes_only_where_fields_end(void **state)
{
	struct xsave_layout l = big_cpu();
	static uint8_t raw[AREA];
	CoreEntry core = CORE_ENTRY__INIT;

	memset(raw, 0, sizeof(raw));
	set_bv(raw, 0xa2);
	noise(raw, l.comp[OPMASK].off, l.comp[OPMASK].len);
	assert_int_equal(xsave_dump(&l, *state, raw, xsave_len(&l, l.features), &core), 0);
	assert_false(core.thread_info->fpregs->xsave->has_thaw_xsave);
	assert_int_equal(core.thread_info->fpregs->xsave->xstate_bv, 0xa2);
	/* hi16_zmm is said to be in use and holds zeros: it is not */
	assert_int_equal(xsave_features(&core), 0x22);
}

/* A component at another place of another CPU: only its contents travel. */
static void places_do_not_matter(void **state)
{
	struct xsave_layout intel = big_cpu();
	struct xsave_layout amd = { .features = 0x207, .comp = { [2] = { 576, 256 }, [9] = { 832, 8 } } };
	static uint8_t raw[AREA], out[AREA];
	CoreEntry core = CORE_ENTRY__INIT;

	memset(raw, 0, sizeof(raw));
	memset(out, 0, sizeof(out));
	noise(raw, intel.comp[PKRU].off, 8);
	set_bv(raw, 1u << PKRU);
	assert_int_equal(xsave_dump(&intel, *state, raw, xsave_len(&intel, intel.features), &core), 0);
	xsave_fill(&amd, &core, out);
	assert_memory_equal(out + 832, raw + 2688, 8);
	assert_int_equal(xsave_in_use(out), 1u << PKRU);
}

static void what_the_cpu_lacks_is_refused(void **state)
{
	struct xsave_layout big = big_cpu(), here;
	static uint8_t raw[AREA];
	unsigned tried = 0;

	assert_int_equal(xsave_layout_read(&here), 0);
	for (unsigned i = 2; i < XSAVE_BITS; i++) {
		CoreEntry core = CORE_ENTRY__INIT;
		bool has = here.features & 1u << i;

		if (!big.comp[i].len)
			continue;
		memset(raw, 0, sizeof(raw));
		set_bv(raw, 1u << i);
		noise(raw, big.comp[i].off, big.comp[i].len);
		assert_int_equal(xsave_dump(&big, *state, raw, xsave_len(&big, big.features), &core), 0);
		assert_int_equal(xsave_check(&core, xsave_available(), false), has ? 0 : -ENOTSUP);
		if (!has) {
			assert_non_null(strstr(err_text(), "its registers hold"));
			assert_int_equal(xsave_check(&core, xsave_available(), true), 0);
		}
		tried += !has;
	}
	assert_true(tried); /* no CPU has all of them */
}

static void sizes_are_checked(void **state)
{
	struct xsave_layout l = big_cpu();
	static uint8_t raw[AREA];
	CoreEntry core = CORE_ENTRY__INIT;
	UserX86FpregsEntry *fp;

	memset(raw, 0, sizeof(raw));
	assert_int_equal(xsave_dump(&l, *state, raw, 100, &core), -EINVAL);
	set_bv(raw, 1u << TILES);
	assert_int_equal(xsave_dump(&l, *state, raw, 2816, &core), -EINVAL);
	set_bv(raw, 0);
	assert_int_equal(xsave_dump(&l, *state, raw, xsave_len(&l, l.features), &core), 0);
	assert_int_equal(xsave_check(&core, xsave_available(), false), 0);
	fp = core.thread_info->fpregs;
	fp->xsave->n_ymmh_space = 65;
	assert_int_equal(xsave_check(&core, xsave_available(), false), -EINVAL);
	fp->xsave->n_ymmh_space = 3; /* a shorter one is the rest in zeros */
	assert_int_equal(xsave_check(&core, xsave_available(), false), 0);
	xsave_fill(&l, &core, raw);
	fp->n_xmm_space = 63;
	assert_int_equal(xsave_check(&core, xsave_available(), false), -EINVAL);
	fp->n_xmm_space = 64;
	fp->xsave->xstate_bv = 1u << TILES; /* whose contents are nowhere */
	assert_true(xsave_check(&core, xsave_available(), false) < 0);
}

static void this_cpu_is_described(void **state)
{
	struct xsave_layout l;

	(void)state;
	assert_int_equal(xsave_layout_read(&l), 0);
	assert_int_equal(l.features & 3, 3);
	if (l.features & 1 << AVX)
		assert_int_equal(xsave_len(&l, 7), 832);
	assert_true(xsave_len(&l, 3) == XSAVE_MIN_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(raw_bytes_only_where_fields_end, setup, teardown),
		cmocka_unit_test_setup_teardown(places_do_not_matter, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_cpu_lacks_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(this_cpu_is_described, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
