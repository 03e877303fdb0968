/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least subject: a process with a number on its stack and one on its heap. When this fails, look nowhere else
 * first.
 */
#include "subject.h"

int main(void)
{
	int *heap = malloc(sizeof(*heap)), stack = 5;

	*heap = 7;
	subject_ready();
	CHECK(stack == 5, "the stack holds %d", stack);
	CHECK(*heap == 7, "the heap holds %d", *heap);
	return 0;
}
