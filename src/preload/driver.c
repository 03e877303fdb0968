/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real driver (driver.h): found once, at the start of the program, and put behind the gate.
 *
 * It is loaded here rather than when the program asks for it: only then nobody can have got hold of an entry point
 * before. A program that never uses CUDA pays a few milliseconds for that and nothing else.
 */
#include "preload/driver.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#include "preload/gate.h"
#include "preload/symtab.h"

struct driver driver;

/* Where the driver's code lies. */
static struct {
	const struct link_map *lib;
	uintptr_t code, code_end;
} self;

static unsigned ungated;

unsigned driver_ungated(void)
{
	return ungated;
}

static bool driver_has_code(const void *at)
{
	return (uintptr_t)at >= self.code && (uintptr_t)at < self.code_end;
}

static int code_find(struct dl_phdr_info *o, size_t len, void *arg)
{
	(void)len;
	(void)arg;
	if (o->dlpi_addr != self.lib->l_addr || strcmp(o->dlpi_name, self.lib->l_name) != 0)
		return 0;
	for (size_t i = 0; i < o->dlpi_phnum; i++)
		if (o->dlpi_phdr[i].p_type == PT_LOAD && o->dlpi_phdr[i].p_flags & PF_X) {
			self.code = o->dlpi_addr + o->dlpi_phdr[i].p_vaddr;
			self.code_end = self.code + o->dlpi_phdr[i].p_memsz;
		}
	return 1;
}

static void *stub_known(void *real)
{
	return driver_has_code(real) ? gate_stub(real) : NULL;
}

static bool calls_complete(void)
{
#define DRIVER_MISSES(name, args) !driver.name ||
	return !(DRIVER_CALLS(DRIVER_MISSES) false);
}

bool driver_load(void)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	void *map = NULL;

	if (!lib || dlinfo(lib, RTLD_DI_LINKMAP, &map))
		return false;
	self.lib = map;
	dl_iterate_phdr(code_find, NULL);
#define DRIVER_FIND(name, args) driver.name = (cu_result(*) args)dlsym(lib, #name);
	DRIVER_CALLS(DRIVER_FIND)
	DRIVER_TAKES(DRIVER_FIND)
	if (symtab_edit(self.lib, gate_stub) < 0)
		return false;
	/* one that is too old for virtual memory keeps its memory, behind the gate */
	if (!calls_complete())
		return symtab_rebind(self.lib, stub_known) >= 0;
#define DRIVER_DIVERT(name, args) \
	if (driver.name) \
		gate_divert((void *)driver.name, (void *)take_##name);
	DRIVER_TAKES(DRIVER_DIVERT)
	return symtab_rebind(self.lib, stub_known) >= 0;
}

/*
 * Entry points that are in no symbol table come from here. The tables of nameless functions that cuGetExportTable gives
 * are left as they are: the runtime checks their addresses ("integrity checks failed"), and what is known of them
 * loads modules and keeps thread data; work on memory goes by the calls that have names.
 */
static cu_result address_gate(cu_result r, void **fn)
{
	void *stub = r == CU_SUCCESS && fn && *fn ? stub_known(*fn) : NULL;

	if (stub)
		*fn = stub;
	else if (r == CU_SUCCESS && fn && *fn && !gate_has(*fn))
		__atomic_fetch_add(&ungated, 1, __ATOMIC_RELAXED);
	return r;
}

cu_result take_cuGetProcAddress(const char *name, void **fn, int version, uint64_t flags)
{
	return address_gate(driver.cuGetProcAddress(name, fn, version, flags), fn);
}

cu_result take_cuGetProcAddress_v2(const char *name, void **fn, int version, uint64_t flags, int *status)
{
	return address_gate(driver.cuGetProcAddress_v2(name, fn, version, flags, status), fn);
}
