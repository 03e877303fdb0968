/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extended registers (xsave.h). Runs in the engine.
 *
 * The wire format has one array for each component up to AVX-512 and protection
 * keys, present at full size for whatever the CPU has, with zeros where the
 * component is in its initial state; xstate_bv tells which count. For later
 * components (AMX and what comes after it) it has no field: the whole raw area
 * goes into thaw_xsave then, and only then, so that other images are as CRIU's.
 */
#include "arch/x86_64/xsave.h"

#include <cpuid.h>
#include <inttypes.h>
#include <string.h>

#include "arch/x86_64/regs.h"
#include "base/cleanup.h"

#define BIT(n) (UINT64_C(1) << (n))
/* x87 and SSE lie in the legacy block. */
#define LEGACY (BIT(0) | BIT(1))

enum { CPUID_XSAVE = 0xd };

/* A component that has a field of its own: its array in the message and the size of one element. */
struct component {
	uint8_t bit, elem;
	uint16_t n_at, v_at;
};
#define COMPONENT(bit, type, field) \
	{ bit, sizeof(type), offsetof(UserX86XsaveEntry, n_##field), offsetof(UserX86XsaveEntry, field) }

static const struct component components[] = {
	COMPONENT(2, uint32_t, ymmh_space),   COMPONENT(3, uint64_t, bndreg_state),
	COMPONENT(4, uint64_t, bndcsr_state), COMPONENT(5, uint64_t, opmask_reg),
	COMPONENT(6, uint64_t, zmm_upper),    COMPONENT(7, uint64_t, hi16_zmm),
	COMPONENT(9, uint32_t, pkru),
};
#define WITH_FIELD (LEGACY | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(9))

static const struct {
	uint64_t features;
	const char *name;
} feature_names[] = {
	{ BIT(2), "AVX" },	{ BIT(3) | BIT(4), "MPX" },  { BIT(5) | BIT(6) | BIT(7), "AVX-512" },
	{ BIT(9), "protection-key" }, { BIT(17) | BIT(18), "AMX" }, { BIT(19), "APX" },
};

uint64_t xsave_available(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

int xsave_layout_read(struct xsave_layout *l)
{
	uint32_t len, off, c, d;

	*l = (struct xsave_layout){ .features = xsave_available() };
	if (!l->features)
		return err_say(ENOTSUP, "this CPU or kernel has no XSAVE, which is not supported");
	for (unsigned i = 2; i < XSAVE_BITS; i++) {
		if (!(l->features & BIT(i)))
			continue;
		__cpuid_count(CPUID_XSAVE, i, len, off, c, d); /* there is this leaf, since there are features */
		if (off < XSAVE_MIN_LEN || off > 1 << 20 || len > 1 << 20)
			return err_say(EINVAL, "the CPU does not say where XSAVE component %u lies", i);
		l->comp[i].off = off;
		l->comp[i].len = len;
	}
	l->features &= BIT(XSAVE_BITS) - 1;
	return 0;
}

size_t xsave_len(const struct xsave_layout *l, uint64_t features)
{
	size_t len = XSAVE_MIN_LEN;

	for (unsigned i = 2; i < XSAVE_BITS; i++)
		if (features & l->features & BIT(i) && l->comp[i].off + l->comp[i].len > len)
			len = l->comp[i].off + l->comp[i].len;
	return len;
}

size_t xsave_counting(const struct xsave_layout *l, const void *raw, size_t len)
{
	size_t most = len < XSAVE_MIN_LEN ? len : xsave_len(l, ~XSAVE_ON_DEMAND | xsave_in_use(raw));

	return len < most ? len : most;
}

uint64_t xsave_in_use(const void *raw)
{
	uint64_t bv;

	memcpy(&bv, (const uint8_t *)raw + XSAVE_LEGACY_LEN, sizeof(bv));
	return bv;
}

/* The FXSAVE block as the CPU has it. */
struct legacy {
	uint16_t cwd, swd, twd, fop;
	uint64_t rip, rdp;
	uint32_t mxcsr, mxcsr_mask;
	uint32_t st[32], xmm[64];
};
_Static_assert(offsetof(struct legacy, xmm) == 160, "the FXSAVE block has no gaps");

static void dump_legacy(struct arena *a, const struct legacy *l, UserX86FpregsEntry *e)
{
	e->cwd = l->cwd;
	e->swd = l->swd;
	e->twd = l->twd;
	e->fop = l->fop;
	e->rip = l->rip;
	e->rdp = l->rdp;
	e->mxcsr = l->mxcsr;
	e->mxcsr_mask = l->mxcsr_mask;
	e->n_st_space = ARRAY_LEN(l->st);
	e->st_space = arena_memdup(a, l->st, sizeof(l->st));
	e->n_xmm_space = ARRAY_LEN(l->xmm);
	e->xmm_space = arena_memdup(a, l->xmm, sizeof(l->xmm));
}

int xsave_dump(const struct xsave_layout *l, struct arena *a, const void *raw, size_t len, CoreEntry *core)
{
	UserX86FpregsEntry *fp = regs_info(a, core)->fpregs;
	UserX86XsaveEntry *x = arena_msg(a, user_x86_xsave_entry, UserX86XsaveEntry);
	const uint8_t *area = raw;
	struct legacy legacy;

	if (len < XSAVE_MIN_LEN || len < xsave_len(l, xsave_in_use(raw)))
		return err_say(EINVAL, "the kernel gave %zu bytes of extended registers, which is too short", len);
	memcpy(&legacy, raw, sizeof(legacy));
	dump_legacy(a, &legacy, fp);
	x->xstate_bv = xsave_in_use(raw);
	for (size_t i = 0; i < ARRAY_LEN(components); i++) {
		const struct component *c = &components[i];
		uint32_t off = l->comp[c->bit].off, size = l->comp[c->bit].len;

		if (!(l->features & BIT(c->bit)) || off + size > len)
			continue;
		*(size_t *)((uint8_t *)x + c->n_at) = size / c->elem;
		*(void **)((uint8_t *)x + c->v_at) = arena_memdup(a, area + off, size);
	}
	if (x->xstate_bv & ~WITH_FIELD) {
		x->has_thaw_xsave = true;
		x->thaw_xsave.len = len;
		x->thaw_xsave.data = arena_memdup(a, raw, len);
	}
	fp->xsave = x;
	return 0;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

static size_t component_bytes(const UserX86XsaveEntry *x, const struct component *c, const uint8_t **ret)
{
	*ret = *(uint8_t *const *)((const uint8_t *)x + c->v_at);
	return *(const size_t *)((const uint8_t *)x + c->n_at) * c->elem;
}

/* Zeros are the initial state of every component that has a field: the same with and without its bit. */
uint64_t xsave_features(const CoreEntry *core)
{
	const UserX86XsaveEntry *x = core->thread_info->fpregs->xsave;
	uint64_t in_use;

	if (!x)
		return LEGACY;
	in_use = x->xstate_bv;
	for (size_t i = 0; i < ARRAY_LEN(components); i++) {
		const uint8_t *p;
		size_t len = component_bytes(x, &components[i], &p);

		if (all_zero(p, len))
			in_use &= ~BIT(components[i].bit);
	}
	return in_use;
}

static int check_sizes(const UserX86FpregsEntry *fp)
{
	static const struct xsave_layout most = {
		.comp = { [2] = { 0, 256 }, [3] = { 0, 64 }, [4] = { 0, 64 }, [5] = { 0, 64 },
			  [6] = { 0, 512 }, [7] = { 0, 1024 }, [9] = { 0, 8 } },
	};

	if (fp->n_st_space != 32 || fp->n_xmm_space != 64)
		return err_say(EINVAL, "its image has %zu and %zu words of x87 and SSE registers, 32 and 64 are needed",
			       fp->n_st_space, fp->n_xmm_space);
	for (size_t i = 0; fp->xsave && i < ARRAY_LEN(components); i++) {
		const uint8_t *p;
		size_t len = component_bytes(fp->xsave, &components[i], &p);

		if (len > most.comp[components[i].bit].len)
			return err_say(EINVAL, "its image has %zu bytes of XSAVE component %u, which is too much", len,
				       components[i].bit);
	}
	return 0;
}

int xsave_check(const CoreEntry *core, uint64_t available, bool drop)
{
	const UserX86FpregsEntry *fp = core->thread_info->fpregs;
	uint64_t in_use, missing;
	int r = check_sizes(fp);

	if (r < 0)
		return r;
	in_use = xsave_features(core);
	missing = drop ? 0 : in_use & ~(available | LEGACY);
	for (size_t i = 0; i < ARRAY_LEN(feature_names); i++)
		if (missing & feature_names[i].features)
			return err_say(ENOTSUP, "its registers hold %s state, this CPU (or its kernel) has none",
				       feature_names[i].name);
	if (missing)
		return err_say(ENOTSUP, "its registers hold XSAVE components 0x%" PRIx64 ", this CPU (or its kernel) lacks them",
			       missing);
	if (in_use & ~WITH_FIELD && (!fp->xsave->has_thaw_xsave || fp->xsave->thaw_xsave.len < XSAVE_MIN_LEN))
		return err_say(EINVAL, "its registers hold XSAVE components 0x%" PRIx64 ", whose contents are not in the image",
			       in_use & ~WITH_FIELD);
	return 0;
}

static void fill_legacy(const UserX86FpregsEntry *e, uint8_t *area)
{
	struct legacy l = {
		.cwd = (uint16_t)e->cwd, .swd = (uint16_t)e->swd, .twd = (uint16_t)e->twd, .fop = (uint16_t)e->fop,
		.rip = e->rip, .rdp = e->rdp, .mxcsr = e->mxcsr, .mxcsr_mask = e->mxcsr_mask,
	};

	memcpy(l.st, e->st_space, sizeof(l.st));
	memcpy(l.xmm, e->xmm_space, sizeof(l.xmm));
	memcpy(area, &l, sizeof(l));
}

/* A raw area has the offsets of the CPU that wrote it; those of AMX and APX are the same on all that have them. */
static void fill_raw(const struct xsave_layout *l, const UserX86XsaveEntry *x, uint64_t features, uint8_t *area)
{
	for (unsigned i = 2; i < XSAVE_BITS; i++)
		if (features & ~WITH_FIELD & BIT(i) && l->comp[i].off + l->comp[i].len <= x->thaw_xsave.len)
			memcpy(area + l->comp[i].off, x->thaw_xsave.data + l->comp[i].off, l->comp[i].len);
}

void xsave_fill(const struct xsave_layout *l, const CoreEntry *core, uint8_t *area)
{
	const UserX86FpregsEntry *fp = core->thread_info->fpregs;
	const UserX86XsaveEntry *x = fp->xsave;
	uint64_t in_use = xsave_features(core) & l->features;

	fill_legacy(fp, area);
	memcpy(area + XSAVE_LEGACY_LEN, &in_use, sizeof(in_use));
	for (size_t i = 0; x && i < ARRAY_LEN(components); i++) {
		const struct component *c = &components[i];
		const uint8_t *p;
		size_t len = component_bytes(x, c, &p);

		if (in_use & BIT(c->bit))
			memcpy(area + l->comp[c->bit].off, p, len < l->comp[c->bit].len ? len : l->comp[c->bit].len);
	}
	if (x && x->has_thaw_xsave)
		fill_raw(l, x, in_use, area);
}
