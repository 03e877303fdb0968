/* SPDX-License-Identifier: Apache-2.0 */
/* thaw-refuses: packets */
/* A packet pipe with more than one packet in it, for which the wire format has no place. */
#include "subject.h"

int main(void)
{
	char text[16];
	int p[2];

	CHECK(pipe2(p, O_DIRECT) == 0 && write(p[1], "one", 3) == 3 && write(p[1], "two!", 4) == 4, "prepare");
	subject_ready();
	CHECK(read(p[0], text, sizeof(text)) == 3 && read(p[0], text, sizeof(text)) == 4, "packets");
	return 0;
}
