/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vDSO (vdso.h). Runs in the engine.
 *
 * A thread that was stopped inside the old code goes on in it: all of it but the
 * first bytes of each function is still there. It finds its data pages zeroed,
 * and a zero clock mode sends every function of it into a system call. Only a
 * thread inside those first bytes cannot go on; who restores asks vdso_plan_hits().
 */
#include "arch/x86_64/vdso.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

enum { PAGE = 4096, MAX_SYMS = 256 };

static bool inside(const struct vdso *v, uint64_t off, uint64_t len)
{
	return off <= v->len && len <= v->len - off;
}

static int broken(const char *what)
{
	return err_say(EINVAL, "the vDSO is not usable: %s", what);
}

/* The section table is part of the mapping, and the only place that says how many symbols there are. */
static int find_symbols(const struct vdso *v, Elf64_Shdr *ret_syms, Elf64_Shdr *ret_names)
{
	Elf64_Ehdr eh;
	Elf64_Shdr sh;

	if (!inside(v, 0, sizeof(eh)))
		return broken("it is too short");
	memcpy(&eh, v->bytes, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64)
		return broken("it is no x86-64 ELF image");
	if (eh.e_shentsize != sizeof(sh) || !inside(v, eh.e_shoff, (uint64_t)eh.e_shnum * sizeof(sh)))
		return broken("its section table is not in it");
	for (unsigned i = 0; i < eh.e_shnum; i++) {
		memcpy(&sh, v->bytes + eh.e_shoff + i * sizeof(sh), sizeof(sh));
		if (sh.sh_type != SHT_DYNSYM || sh.sh_link >= eh.e_shnum)
			continue;
		*ret_syms = sh;
		memcpy(ret_names, v->bytes + eh.e_shoff + sh.sh_link * sizeof(sh), sizeof(sh));
		return 0;
	}
	return broken("it has no symbols");
}

static bool is_function(const struct vdso *v, const Elf64_Sym *s)
{
	return ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_shndx != SHN_UNDEF &&
	       inside(v, s->st_value, VDSO_PATCH_LEN);
}

static int by_off(const void *a, const void *b)
{
	const struct vdso_sym *x = a, *y = b;

	return x->off != y->off ? (x->off < y->off ? -1 : 1) : strcmp(x->name, y->name);
}

int vdso_parse(struct arena *a, const void *bytes, size_t len, struct vdso *ret)
{
	struct vdso v = { .bytes = bytes, .len = len };
	Elf64_Shdr syms = { 0 }, names = { 0 };
	int r = find_symbols(&v, &syms, &names);
	uint64_t n = r < 0 ? 0 : syms.sh_size / sizeof(Elf64_Sym);

	if (r < 0)
		return r;
	if (n > MAX_SYMS || !inside(&v, syms.sh_offset, syms.sh_size) || !inside(&v, names.sh_offset, names.sh_size) ||
	    !names.sh_size || v.bytes[names.sh_offset + names.sh_size - 1])
		return broken("its symbol table is damaged");
	v.syms = arena_alloc(a, n * sizeof(*v.syms));
	for (uint64_t i = 0; i < n; i++) {
		Elf64_Sym s;

		memcpy(&s, v.bytes + syms.sh_offset + i * sizeof(s), sizeof(s));
		if (is_function(&v, &s) && s.st_name < names.sh_size)
			v.syms[v.nsyms++] = (struct vdso_sym){
				(const char *)v.bytes + names.sh_offset + s.st_name, s.st_value,
			};
	}
	qsort(v.syms, v.nsyms, sizeof(*v.syms), by_off);
	*ret = v;
	return 0;
}

const void *vdso_own(size_t *ret_len)
{
	const uint8_t *start = (const uint8_t *)getauxval(AT_SYSINFO_EHDR); // NOLINT(performance-no-int-to-ptr)
	Elf64_Ehdr eh;

	if (!start)
		return NULL;
	/* the section table ends it */
	memcpy(&eh, start, sizeof(eh));
	*ret_len = (eh.e_shoff + (size_t)eh.e_shnum * eh.e_shentsize + PAGE - 1) & ~(size_t)(PAGE - 1);
	return start;
}

static bool zeros(const uint8_t *p, size_t len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

bool vdso_same(const void *a, size_t a_len, const void *b, size_t b_len)
{
	size_t len = a_len < b_len ? a_len : b_len;

	return !memcmp(a, b, len) && zeros((const uint8_t *)a + len, a_len - len) &&
	       zeros((const uint8_t *)b + len, b_len - len);
}

static const struct vdso_sym *find(const struct vdso *v, const char *name)
{
	for (size_t i = 0; i < v->nsyms; i++)
		if (!strcmp(v->syms[i].name, name))
			return &v->syms[i];
	return NULL;
}

/* movabs target, %rax; jmp *%rax. rax is free in every function: it returns in it. */
static void jump_to(uint8_t bytes[VDSO_PATCH_LEN], uint64_t target_va)
{
	static const uint8_t code[VDSO_PATCH_LEN] = { 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0 };

	memcpy(bytes, code, sizeof(code));
	memcpy(bytes + 2, &target_va, sizeof(target_va));
}

/* mov $-ENOSYS, %rax; ret: what the C library takes as "use the system call". */
static void say_enosys(uint8_t bytes[VDSO_PATCH_LEN])
{
	static const uint8_t code[] = { 0x48, 0xc7, 0xc0, 0, 0, 0, 0, 0xc3 };
	const int32_t value = -ENOSYS;

	memset(bytes, 0xcc, VDSO_PATCH_LEN);
	memcpy(bytes, code, sizeof(code));
	memcpy(bytes + 3, &value, sizeof(value));
}

static void bridge(struct arena *a, const struct vdso *image, uint64_t image_va, const struct vdso *run,
		   uint64_t run_va, struct vdso_plan *plan)
{
	plan->patches = arena_alloc(a, image->nsyms * sizeof(*plan->patches));
	for (size_t i = 0; i < image->nsyms; i++) {
		const struct vdso_sym *to = find(run, image->syms[i].name);
		struct vdso_patch *last = plan->npatches ? &plan->patches[plan->npatches - 1] : NULL, *p;
		bool again = last && last->va == image_va + image->syms[i].off;

		/* another name of the same function: it counts only if the first one led nowhere */
		if (again && !to)
			continue;
		p = again ? last : &plan->patches[plan->npatches++];
		/* the analyzer believes that an arena may give NULL for no patches */
		p->va = image_va + image->syms[i].off; // NOLINT(clang-analyzer-core.NullDereference)
		if (to)
			jump_to(p->bytes, run_va + to->off);
		else
			say_enosys(p->bytes);
	}
}

int vdso_plan(struct arena *a, const void *image, size_t image_len, uint64_t image_va, size_t image_data_len,
	      const void *run, size_t run_len, uint64_t run_va, size_t run_data_len, struct vdso_plan *ret)
{
	struct vdso_plan plan = { 0 };
	struct vdso from, to;
	int r;

	if (image_len == run_len && image_data_len == run_data_len && vdso_same(image, image_len, run, run_len)) {
		ret->keep = true;
		ret->npatches = 0;
		return 0;
	}
	r = err_ctx(vdso_parse(a, image, image_len, &from), "the image's");
	if (r < 0)
		return r;
	r = err_ctx(vdso_parse(a, run, run_len, &to), "this kernel's");
	if (r < 0)
		return r;
	bridge(a, &from, image_va, &to, run_va, &plan);
	for (size_t i = 1; i < plan.npatches; i++)
		if (plan.patches[i].va - plan.patches[i - 1].va < VDSO_PATCH_LEN)
			return broken("two functions of the image's lie too close to each other");
	*ret = plan;
	return 0;
}

bool vdso_plan_hits(const struct vdso_plan *plan, uint64_t ip)
{
	for (size_t i = 0; i < plan->npatches; i++)
		if (ip > plan->patches[i].va && ip < plan->patches[i].va + VDSO_PATCH_LEN)
			return true;
	return false;
}
