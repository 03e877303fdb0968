/* SPDX-License-Identifier: Apache-2.0 */
/* Text that is shown. Names come from processes and images, and one may be made to paint the reader's terminal. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

/* Puts a question mark in the place of every control character, line breaks too. Returns text. */
char *text_tame(char *text);

#endif
