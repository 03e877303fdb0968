/* SPDX-License-Identifier: Apache-2.0 */
/* The blob as the engine sees it (blob_syms.h). */
#include "prog/blob_syms.h"

#include <stddef.h>
#include <string.h>

uint64_t blob_syscall_off(void)
{
	static const uint8_t code[] = { 0x0f, 0x05, 0x0f, 0x0b }; /* syscall; ud2 */
	const uint8_t *at = memmem(pie_blob, (size_t)(pie_blob_end - pie_blob), code, sizeof(code));

	return (uint64_t)(at - pie_blob);
}

void blob_copy(void *to, uint64_t len)
{
	memcpy(to, pie_blob, (size_t)(pie_blob_end - pie_blob));
	((struct pie_head *)to)->len = len;
}

bool blob_is(const struct pie_head *head)
{
	return !memcmp(head, pie_blob, offsetof(struct pie_head, len));
}
