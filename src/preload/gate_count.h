/* SPDX-License-Identifier: Apache-2.0 */
/* How many entry points the gate has room for; a number that the assembler can read as well. */
#ifndef PRELOAD_GATE_COUNT_H
#define PRELOAD_GATE_COUNT_H

#define GATE_STUBS 8192

#endif
