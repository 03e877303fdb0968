/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits of loaded ELF objects (symtab.h).
 *
 * Only the private copies of pages in this process change; the file does not. Everything read here was checked by the
 * dynamic loader, which works by the same tables.
 */
#include "preload/symtab.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct tables {
	Elf64_Sym *sym;
	const char *str;
	const uint32_t *gnu_hash;
	const Elf64_Rela *rela, *plt;
	size_t rela_n, plt_n;
};

static struct tables tables_of(const Elf64_Dyn *d, Elf64_Addr base)
{
	struct tables t = { 0 };

	for (; d && d->d_tag != DT_NULL; d++) {
		Elf64_Addr at = d->d_un.d_ptr;

		/* the loader has made pointers of these, but for those of the vdso and of some libraries */
		if (at < base)
			at += base;
		switch (d->d_tag) {
		case DT_SYMTAB:
			t.sym = (void *)at;
			break;
		case DT_STRTAB:
			t.str = (void *)at;
			break;
		case DT_GNU_HASH:
			t.gnu_hash = (void *)at;
			break;
		case DT_RELA:
			t.rela = (void *)at;
			break;
		case DT_RELASZ:
			t.rela_n = d->d_un.d_val / sizeof(Elf64_Rela);
			break;
		case DT_JMPREL:
			t.plt = (void *)at;
			break;
		case DT_PLTRELSZ:
			t.plt_n = d->d_un.d_val / sizeof(Elf64_Rela);
			break;
		default:
			break;
		}
	}
	return t;
}

/* How many symbols: the hash table knows the last one of its longest chain. */
static size_t symbols_count(const uint32_t *h)
{
	const uint32_t *bucket = h + 4 + h[2] * (sizeof(Elf64_Addr) / 4), *chain = bucket + h[0];
	uint32_t last = 0;

	for (uint32_t i = 0; i < h[0]; i++)
		if (bucket[i] > last)
			last = bucket[i];
	if (last < h[1])
		return 0;
	while (!(chain[last - h[1]] & 1))
		last++;
	return last + 1;
}

static bool name_is_driver(const char *name)
{
	return name[0] == 'c' && name[1] == 'u' && name[2] >= 'A' && name[2] <= 'Z';
}

static int protect(const void *from, const void *to, int prot)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)from & ~(page - 1);

	return mprotect((void *)at, (uintptr_t)to - at, prot) ? -errno : 0;
}

int symtab_edit(const struct link_map *lib, void *(*stub)(void *real))
{
	struct tables t = tables_of(lib->l_ld, lib->l_addr);
	size_t n = t.sym && t.str && t.gnu_hash ? symbols_count(t.gnu_hash) : 0;
	int r = n ? protect(t.sym, t.sym + n, PROT_READ | PROT_WRITE) : -ENOEXEC;

	if (r < 0)
		return r;
	for (size_t i = 1; i < n; i++) {
		Elf64_Sym *s = &t.sym[i];
		void *to;

		if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx == SHN_UNDEF ||
		    !name_is_driver(t.str + s->st_name))
			continue;
		to = stub((void *)(lib->l_addr + s->st_value));
		if (to)
			s->st_value = (Elf64_Addr)to - lib->l_addr;
	}
	/* as libcuda has it: read-only data before the code */
	return protect(t.sym, t.sym + n, PROT_READ);
}

struct rebinding {
	const struct link_map *lib;
	void *(*known)(void *real);
	int r;
};

/* The pages that the loader made read-only after it had filled them in. */
static const Elf64_Phdr *relro_of(const struct dl_phdr_info *o)
{
	for (size_t i = 0; i < o->dlpi_phnum; i++)
		if (o->dlpi_phdr[i].p_type == PT_GNU_RELRO)
			return &o->dlpi_phdr[i];
	return NULL;
}

static int slot_set(const struct dl_phdr_info *o, void **slot, void *to)
{
	const Elf64_Phdr *relro = relro_of(o);
	Elf64_Addr at = (Elf64_Addr)slot - o->dlpi_addr;
	bool locked = relro && at >= relro->p_vaddr && at < relro->p_vaddr + relro->p_memsz;
	int r = locked ? protect(slot, slot + 1, PROT_READ | PROT_WRITE) : 0;

	if (r < 0)
		return r;
	*slot = to;
	return locked ? protect(slot, slot + 1, PROT_READ) : 0;
}

static int rela_rebind(const struct dl_phdr_info *o, const struct tables *t, const Elf64_Rela *rela, size_t n,
		       struct rebinding *b)
{
	for (size_t i = 0; i < n; i++) {
		Elf64_Xword type = ELF64_R_TYPE(rela[i].r_info), sym = ELF64_R_SYM(rela[i].r_info);
		void **slot = (void **)(o->dlpi_addr + rela[i].r_offset), *to;
		int r;

		if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_64)
			continue;
		if (!name_is_driver(t->str + t->sym[sym].st_name))
			continue;
		to = b->known(*slot);
		r = to ? slot_set(o, slot, to) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int object_rebind(struct dl_phdr_info *o, size_t len, void *arg)
{
	struct rebinding *b = arg;
	const Elf64_Dyn *d = NULL;
	struct tables t;

	(void)len;
	for (size_t i = 0; i < o->dlpi_phnum; i++)
		if (o->dlpi_phdr[i].p_type == PT_DYNAMIC)
			d = (void *)(o->dlpi_addr + o->dlpi_phdr[i].p_vaddr);
	if (!d || d == b->lib->l_ld)
		return 0;
	t = tables_of(d, o->dlpi_addr);
	if (!t.sym || !t.str)
		return 0;
	b->r = rela_rebind(o, &t, t.rela, t.rela_n, b);
	if (b->r >= 0)
		b->r = rela_rebind(o, &t, t.plt, t.plt_n, b);
	return b->r < 0;
}

int symtab_rebind(const struct link_map *lib, void *(*known)(void *real))
{
	struct rebinding b = { lib, known, 0 };

	dl_iterate_phdr(object_rebind, &b);
	return b.r;
}
