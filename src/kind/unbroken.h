/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that must not stop half-way, even if thaw is killed. */
#ifndef KIND_UNBROKEN_H
#define KIND_UNBROKEN_H

#include "base/err.h"

/*
 * Calls fn(arg) such that SIGKILL for this process lets it run to its end. It
 * works on the caller's memory, descriptors and error trail; the caller waits.
 * Single-threaded callers only. Returns what fn returned.
 */
int unbroken(int (*fn)(void *arg), void *arg) must_check;

#endif
