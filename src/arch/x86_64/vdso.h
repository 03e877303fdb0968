/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vDSO: code that the kernel maps into every process, and that programs
 * remember the addresses of (AT_SYSINFO_EHDR, libc's function pointers).
 *
 * A restored task needs code at those addresses that works on the running kernel:
 *   - the image's vDSO is the running kernel's: the real one (with its data pages) is moved there;
 *   - it is not: the image's pages are restored as ordinary memory, the real one is
 *     put elsewhere, and every function of the image's jumps to its namesake there.
 * Images are untrusted: parsing checks everything.
 */
#ifndef ARCH_VDSO_H
#define ARCH_VDSO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct vdso_sym {
	const char *name; /* points into the image */
	uint64_t off;     /* from the start of the mapping */
};

struct vdso {
	const uint8_t *bytes;
	size_t len; /* of the mapping, whole pages */
	struct vdso_sym *syms; /* functions; several names of one function follow each other */
	size_t nsyms;
};

/* bytes must live as long as the result. */
int vdso_parse(struct arena *a, const void *bytes, size_t len, struct vdso *ret) must_check;
/* The address of our own and its length; NULL when this kernel maps none. */
const void *vdso_own(size_t *ret_len);

/* Byte for byte; of unequal lengths when the longer one goes on with zeros. */
bool vdso_same(const void *a, size_t a_len, const void *b, size_t b_len);

enum { VDSO_PATCH_LEN = 12 };

struct vdso_patch {
	uint64_t va; /* in the image's vDSO */
	uint8_t bytes[VDSO_PATCH_LEN];
};

struct vdso_plan {
	bool keep; /* move the running one (data pages before it included) to where the image has its own */
	struct vdso_patch *patches;
	size_t npatches;
};

/*
 * image at image_va as in the image, run as it is in this kernel; data_len: bytes
 * of data pages ([vvar], [vvar_vclock]) in front of each. run_va is where the running
 * one will be if it is not kept. -EINVAL when the image's is no vDSO.
 */
int vdso_plan(struct arena *a, const void *image, size_t image_len, uint64_t image_va, size_t image_data_len,
	      const void *run, size_t run_len, uint64_t run_va, size_t run_data_len, struct vdso_plan *ret) must_check;

/* Whether a thread with this ip would run into the middle of a patch. */
bool vdso_plan_hits(const struct vdso_plan *plan, uint64_t ip);

#endif
