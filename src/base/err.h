/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error trail: one sentence per failure, built where the failure is known.
 *
 * A function that fails returns -errno and leaves the sentence in a thread-local
 * trail: err_set() where the errno is born, err_ctx() only where a new noun
 * becomes known ("task 12 (nginx)", "fd 7").  Nobody logs and returns; the
 * trail is printed once, by whoever ends the failing operation:
 *
 *   restore: task 12 (nginx): fd 7: eventfd(): Too many open files [fd_eventfd.c:34]
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <errno.h>

#define must_check __attribute__((warn_unused_result))
#define like_printf(f, a) __attribute__((format(printf, f, a)))

/* Starts a trail: the sentence, then ": strerror(errnum)". Returns -errnum. */
#define err_set(errnum, ...) err_negative(err_set_at(__FILE__, __LINE__, (errnum), 1, __VA_ARGS__))

/* The same without strerror(): for sentences that say it all ("... is not supported yet"). */
#define err_say(errnum, ...) err_negative(err_set_at(__FILE__, __LINE__, (errnum), 0, __VA_ARGS__))

/* Prefixes "<text>: " to the trail when r < 0 (the text's arguments are looked at only then). Returns r either way. */
#define err_ctx(r, ...)                                \
	({                                             \
		int err_r_ = (r);                      \
		if (err_r_ < 0)                        \
			err_prefix(err_r_, __VA_ARGS__); \
		err_r_;                                \
	})

/* The sentence of this thread's last failure ("" if none); valid until the next err_ call. */
const char *err_text(void);
void err_clear(void);

/* Carries a trail over from another thread or process. Returns -errnum. */
int err_adopt(int errnum, const char *text);

/* What the macros call. */
int err_set_at(const char *file, int line, int errnum, int with_strerror, const char *fmt, ...) like_printf(5, 6);
void err_prefix(int r, const char *fmt, ...) like_printf(2, 3);

/*
 * Says what compilers and analysers cannot see from outside err.c: a failure is
 * negative. They then know that after `if (r < 0) return r;` the outputs are set.
 */
static inline int err_negative(int r)
{
	if (r >= 0)
		__builtin_unreachable();
	return r;
}

#endif
