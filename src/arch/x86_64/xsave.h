/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extended registers (x87, SSE, AVX, AVX-512, protection keys, AMX, ...): the
 * standard XSAVE format of ptrace and signal frames <-> the fields of an image.
 *
 * An image names components one by one, so where they lie in the area is a
 * matter of the CPU that runs now: xsave_layout, read once by who needs it
 * (CPUID is slow in virtual machines) and handed on.
 */
#ifndef ARCH_XSAVE_H
#define ARCH_XSAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "img/messages.h"

enum {
	XSAVE_LEGACY_LEN = 512, /* the FXSAVE block; the header follows */
	XSAVE_MIN_LEN = 576,    /* both */
	XSAVE_BITS = 32,
};
/* Components that the kernel gives to a process only on demand (arch_prctl ARCH_REQ_XCOMP_PERM): AMX tile data. */
#define XSAVE_ON_DEMAND (UINT64_C(1) << 18)

struct xsave_layout {
	uint64_t features; /* what this CPU and kernel have: XCR0 */
	struct {
		uint32_t off, len;
	} comp[XSAVE_BITS];
};

/* What this CPU and kernel have, without the places: quick. */
uint64_t xsave_available(void);

int xsave_layout_read(struct xsave_layout *ret_layout) must_check;

/* Bytes of an area that holds these features. */
size_t xsave_len(const struct xsave_layout *l, uint64_t features);
/*
 * How much of a raw area says anything: it always has room for what the CPU gives on demand (8 KiB of AMX tiles), and
 * threads that never asked for it have zeros there.
 */
size_t xsave_counting(const struct xsave_layout *l, const void *raw, size_t len);
/* Which features a raw area (of at least XSAVE_MIN_LEN bytes) says to hold other than in their initial state. */
uint64_t xsave_in_use(const void *raw);

/* Fills core's extended registers from the len bytes that PTRACE_GETREGSET gave. */
int xsave_dump(const struct xsave_layout *l, struct arena *a, const void *raw, size_t len, CoreEntry *core) must_check;

/*
 * Refuses by name a thread that uses what this CPU or kernel does not have (components of zeros are not in use).
 * drop: such a thread passes, and xsave_fill() leaves out what is missing.
 *
 * Tile data in use is refused in any case: a fresh thread has no room for it, and the kernel would not fail
 * the frame but take x87 and SSE out of it and forget all the rest.
 */
int xsave_check(const CoreEntry *core, uint64_t available, bool drop) must_check;
/* Features that core's registers hold. */
uint64_t xsave_features(const CoreEntry *core);
/* Writes core's extended registers to an area of at least xsave_len(l, l->features) zeroed bytes. */
void xsave_fill(const struct xsave_layout *l, const CoreEntry *core, uint8_t *area);

#endif
