/* SPDX-License-Identifier: Apache-2.0 */
/* The build ID of an ELF file: tells a library from another one of the same size. */
#ifndef KIND_BUILD_ID_H
#define KIND_BUILD_ID_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { BUILD_ID_WORDS = 16 };

/*
 * The build ID as the words that the wire format has, read from fd without moving
 * its position. Returns their number; 0 when the file is no 64-bit ELF file,
 * has no build ID, or cannot be read. Never a failure: it only ever adds certainty.
 */
size_t build_id_read(int fd, uint32_t ret_words[static BUILD_ID_WORDS]);

#endif
