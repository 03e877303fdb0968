/* SPDX-License-Identifier: Apache-2.0 */
/* Text that is shown (text.h). Terminals know control characters of two bytes as well: U+0080 to U+009F in UTF-8. */
#include "base/text.h"

char *text_tame(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			*c++ = '?';
		else if (*c >= ' ' && *c != 0x7f)
			continue;
		*c = '?';
	}
	return text;
}
