/* SPDX-License-Identifier: Apache-2.0 */
/* What to do about an operation that was not permitted. */
#ifndef CLI_PRIVILEGE_H
#define CLI_PRIVILEGE_H

enum { PRIVILEGE_ADVICE_LEN = 256 };

/* What to add to the sentence of a failure (-errno) that thaw's own lack of privileges may explain, or nothing. */
const char *privilege_advice(int err, char text[PRIVILEGE_ADVICE_LEN]);

#endif
