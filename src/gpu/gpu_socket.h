/* SPDX-License-Identifier: Apache-2.0 */
/* Where the agent is to be found: its socket's path, and the two ends of it. */
#ifndef GPU_GPU_SOCKET_H
#define GPU_GPU_SOCKET_H

#include "base/err.h"

enum { GPU_SOCKET_LEN = 100 }; /* what sun_path takes, with room for ".lock" behind it in messages */

/* The path to use: given, or (NULL) the usual one of this user, whose directory is made. */
int gpu_socket_path(const char *given, char ret_path[GPU_SOCKET_LEN]) must_check;

/* A connection. -ENOENT and -ECONNREFUSED: nobody listens (there may be a stale socket). */
int gpu_socket_connect(const char *path, int *ret_fd) must_check;

/*
 * Becomes the one that listens at path: -EADDRINUSE while another agent does. *ret_lock_fd
 * holds the place until it is closed.
 */
int gpu_socket_listen(const char *path, int *ret_fd, int *ret_lock_fd) must_check;

/* The lock file path.SUFFIX, opened and locked; blocking or -EWOULDBLOCK. */
int gpu_socket_lock(const char *path, const char *suffix, int flock_op, int *ret_fd) must_check;

#endif
