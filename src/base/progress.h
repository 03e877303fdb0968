/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A progress line on a terminal: bytes, rate, time left.
 *
 * Costs the workers nothing: they add to a counter they have anyway, and the
 * thread that waits for them calls progress_tick(). One thread per line.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	const char *what;
	const _Atomic uint64_t *done;
	uint64_t total;
	uint64_t from_ns, drawn_ns;
	bool wanted, terminal, drawn;
};

/*
 * what ("dump", "restore") must outlive p. total: bytes to come, 0 if unknown;
 * it may be changed between ticks. Nothing is shown unless standard error is a
 * terminal or force is set (then one line a second goes to a pipe).
 */
void progress_start(struct progress *p, const char *what, const _Atomic uint64_t *done, uint64_t total, bool force);

/* Call as often as convenient: redraws at most ten times a second, and nothing in the first fifth of a second. */
void progress_tick(struct progress *p);

/* Takes the line off the terminal. */
void progress_end(struct progress *p);

/* "1.25 GiB" into buf. */
const char *progress_bytes(char *buf, size_t len, uint64_t bytes);

#endif
