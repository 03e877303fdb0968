/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings of a task (maps.h).
 *
 * The text is read whole (a seq file gives 4 KiB a call, whatever is asked for) and
 * scanned in place. PROCMAP_QUERY was tried instead: one call per mapping is no quicker than the
 * text of maps, and it does not tell VmFlags either.
 */
#include "kern/maps.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "kern/procfile.h"

static const char flag_words[MAP_VM_FLAGS][3] = {
	[MAP_VM_RD] = "rd", [MAP_VM_WR] = "wr", [MAP_VM_EX] = "ex", [MAP_VM_SH] = "sh", [MAP_VM_MR] = "mr",
	[MAP_VM_MW] = "mw", [MAP_VM_ME] = "me", [MAP_VM_MS] = "ms", [MAP_VM_GD] = "gd", [MAP_VM_PF] = "pf",
	[MAP_VM_LO] = "lo", [MAP_VM_IO] = "io", [MAP_VM_SR] = "sr", [MAP_VM_RR] = "rr", [MAP_VM_DC] = "dc",
	[MAP_VM_DE] = "de", [MAP_VM_AC] = "ac", [MAP_VM_NR] = "nr", [MAP_VM_HT] = "ht", [MAP_VM_SF] = "sf",
	[MAP_VM_AR] = "ar", [MAP_VM_WF] = "wf", [MAP_VM_DD] = "dd", [MAP_VM_SD] = "sd", [MAP_VM_MM] = "mm",
	[MAP_VM_HG] = "hg", [MAP_VM_NH] = "nh", [MAP_VM_MG] = "mg", [MAP_VM_UM] = "um", [MAP_VM_UW] = "uw",
	[MAP_VM_UI] = "ui", [MAP_VM_SS] = "ss", [MAP_VM_SL] = "sl", [MAP_VM_LF] = "lf", [MAP_VM_DP] = "dp",
};

static uint64_t flags_scan(const char *p)
{
	uint64_t flags = 0;

	for (scan_blanks(&p); *p && *p != '\n'; scan_blanks(&p)) {
		for (unsigned int i = 0; i < MAP_VM_FLAGS; i++)
			if (p[0] == flag_words[i][0] && p[1] == flag_words[i][1]) {
				flags |= MAP_VM_BIT(i);
				break;
			}
		while (*p && *p != ' ' && *p != '\n')
			p++;
	}
	return flags;
}

static bool scan_char(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static bool scan_prot(const char **p, struct map *m)
{
	const char *s = *p;

	if (strnlen(s, 5) < 5 || s[4] != ' ')
		return false;
	m->prot = (s[0] == 'r' ? PROT_READ : 0) | (s[1] == 'w' ? PROT_WRITE : 0) | (s[2] == 'x' ? PROT_EXEC : 0);
	m->shared = s[3] == 's';
	*p = s + 4;
	return true;
}

/* "start-end rwxp offset major:minor inode   name", behind which *p then stands. */
static bool scan_map(const char **p, struct arena *a, struct map *m)
{
	const char *end;
	char *name;

	*m = (struct map){ 0 };
	if (!scan_u64(p, 16, &m->start_va) || !scan_char(p, '-') || !scan_u64(p, 16, &m->end_va) ||
	    !scan_char(p, ' ') || !scan_prot(p, m) || !scan_u64(p, 16, &m->file_off) ||
	    !scan_u32(p, 16, &m->dev_major) || !scan_char(p, ':') || !scan_u32(p, 16, &m->dev_minor) ||
	    !scan_u64(p, 10, &m->ino) || m->start_va >= m->end_va)
		return false;
	scan_blanks(p);
	end = strchr(*p, '\n');
	if (!end)
		return false;
	m->name = "";
	if (end != *p) {
		m->name = name = arena_memdup(a, *p, (size_t)(end - *p) + 1);
		name[end - *p] = 0;
	}
	*p = end + 1;
	return true;
}

/* The lines of one mapping in smaps; *p stands at the next mapping afterwards. */
static bool scan_details(const char **p, struct map *m)
{
	uint64_t kb, key;

	/* a mapping's line begins with lower-case hex digits, all of these with a capital */
	for (; **p >= 'A' && **p <= 'Z'; *p = scan_line(*p)) {
		const char *at = *p;

		if (**p == 'V' && scan_word(&at, "VmFlags:")) {
			m->vm_flags |= flags_scan(at);
			continue;
		}
		if (**p == 'P' && scan_word(&at, "ProtectionKey:")) {
			if (!scan_u64(&at, 10, &key))
				return false;
			m->vm_flags |= key ? MAP_VM_BIT(MAP_VM_PK) : 0;
			continue;
		}
		if ((**p == 'S' && scan_word(&at, "Swap:")) || (**p == 'A' && scan_word(&at, "Anonymous:"))) {
			if (!scan_u64(&at, 10, &kb))
				return false;
			m->anon_len += kb * 1024;
		} else if (**p == 'K' && scan_word(&at, "KernelPageSize:")) {
			if (!scan_u64(&at, 10, &kb))
				return false;
			m->page_len = kb * 1024;
		}
	}
	return true;
}

static void map_push(struct arena *a, struct map **maps, size_t *n, const struct map *m)
{
	if (!(*n & (*n - 1))) {
		struct map *more = arena_alloc(a, (*n ? 2 * *n : 1) * sizeof(*more));

		if (*n)
			memcpy(more, *maps, *n * sizeof(*more));
		*maps = more;
	}
	(*maps)[(*n)++] = *m;
}

const struct map *maps_named(const struct map *maps, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(maps[i].name, name))
			return &maps[i];
	return NULL;
}

int maps_read(int proc_fd, enum maps_want want, struct arena *a, struct map **ret_maps, size_t *ret_n)
{
	const char *file = want == MAPS_FLAGS ? "smaps" : "maps", *p;
	auto_free char *text = NULL;
	struct map *maps = NULL;
	size_t n = 0;
	ssize_t len = io_slurp(proc_fd, file, &text);

	if (len < 0)
		return (int)len;
	for (p = text; *p;) {
		struct map m;

		if (!scan_map(&p, a, &m) || !scan_details(&p, &m))
			return err_say(EINVAL, "%s: mapping %zu makes no sense", file, n);
		if (n && m.start_va < maps[n - 1].end_va)
			return err_say(EAGAIN, "%s: mappings overlap: the task is running", file);
		if (strcmp(m.name, "[vsyscall]") != 0)
			map_push(a, &maps, &n, &m);
	}
	*ret_maps = maps;
	*ret_n = n;
	return 0;
}

int maps_flags(int proc_fd, struct map *maps, size_t n)
{
	auto_free char *text = NULL;
	ssize_t len = io_slurp(proc_fd, "smaps", &text);
	size_t i = 0;

	if (len < 0)
		return (int)len;
	for (const char *p = text; *p && i < n;) {
		uint64_t start_va, end_va;
		struct map seen = { 0 };

		if (!scan_u64(&p, 16, &start_va) || !scan_char(&p, '-') || !scan_u64(&p, 16, &end_va))
			return err_say(EINVAL, "smaps: mapping %zu makes no sense", i);
		p = scan_line(p);
		if (!scan_details(&p, &seen))
			return err_say(EINVAL, "smaps: mapping %zu makes no sense", i);
		if (start_va != maps[i].start_va || end_va != maps[i].end_va)
			continue;
		maps[i].vm_flags = seen.vm_flags;
		maps[i].page_len = seen.page_len;
		maps[i++].anon_len = seen.anon_len;
	}
	return i < n ? err_say(EAGAIN, "smaps: the mapping at %lx has gone: the task is running", maps[i].start_va) : 0;
}
