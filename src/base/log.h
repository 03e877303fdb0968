/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: CRIU's levels and stamps, one write(2) per line.
 *
 *   -v0 only messages, -v1 errors, -v2 warnings (the default), -v3 one line a stage, -v4 one line an object
 *
 * Lines go to the log file when there is one (-o), else to stderr. Messages
 * (log_msg) and the final error sentence always reach stderr as well.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_MSG, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Takes fd (-1: stderr), which stays open until exit. Stamps count from this call. */
void log_init(enum log_level level, int fd);

#define log_msg(...)   log_line(LOG_MSG, __VA_ARGS__)
#define log_err(...)   log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

void log_line(enum log_level level, const char *fmt, ...) like_printf(2, 3);

#endif
