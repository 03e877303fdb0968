/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The build ID of an ELF file (build_id.h). Runs in the engine, in both directions.
 *
 * Two reads at most: linkers put the program headers and the note into the first
 * page. Files are untrusted: every offset is compared with what was read.
 */
#include "kind/build_id.h"

#include <elf.h>
#include <string.h>

#include "base/io.h"

enum { HEAD_LEN = 4096, NOTE_LEN = 4096 };

static size_t align4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

/* Returns the number of words of the build ID among the notes in buf. */
static size_t notes_search(const uint8_t *buf, size_t len, uint32_t *ret_words)
{
	size_t at = 0;

	while (len - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		size_t name_len, desc_len;

		memcpy(&n, buf + at, sizeof(n));
		at += sizeof(n);
		name_len = align4(n.n_namesz);
		desc_len = align4(n.n_descsz);
		if (name_len > len - at || desc_len > len - at - name_len)
			return 0;
		if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && !memcmp(buf + at, "GNU", 4)) {
			if (n.n_descsz % 4 || desc_len > BUILD_ID_WORDS * sizeof(*ret_words))
				return 0;
			memcpy(ret_words, buf + at + name_len, desc_len);
			return desc_len / 4;
		}
		at += name_len + desc_len;
	}
	return 0;
}

static size_t segment_search(int fd, const Elf64_Phdr *ph, const uint8_t *head, size_t head_len, uint32_t *ret_words)
{
	uint8_t buf[NOTE_LEN];
	size_t len = ph->p_filesz < sizeof(buf) ? ph->p_filesz : sizeof(buf);
	ssize_t got;

	if (ph->p_offset <= head_len && len <= head_len - ph->p_offset)
		return notes_search(head + ph->p_offset, len, ret_words);
	got = io_pread(fd, buf, len, ph->p_offset);
	return got > 0 ? notes_search(buf, (size_t)got, ret_words) : 0;
}

size_t build_id_read(int fd, uint32_t ret_words[static BUILD_ID_WORDS])
{
	uint8_t head[HEAD_LEN];
	ssize_t got = io_pread(fd, head, sizeof(head), 0);
	size_t head_len = got > 0 ? (size_t)got : 0, n = 0;
	Elf64_Ehdr eh;

	if (head_len < sizeof(eh))
		return 0;
	memcpy(&eh, head, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_phentsize != sizeof(Elf64_Phdr) || eh.e_phoff > head_len)
		return 0;
	for (size_t i = 0; !n && i < eh.e_phnum && (i + 1) * sizeof(Elf64_Phdr) <= head_len - eh.e_phoff; i++) {
		Elf64_Phdr ph;

		memcpy(&ph, head + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type == PT_NOTE)
			n = segment_search(fd, &ph, head, head_len, ret_words);
	}
	return n;
}
