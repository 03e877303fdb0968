/* SPDX-License-Identifier: Apache-2.0 */
/* File locks; the restore is a row of kind_tasks (task_file_locks.c). */
#ifndef KIND_FILE_LOCKS_H
#define KIND_FILE_LOCKS_H

#include "kind/kind.h"

/* Dump, when every descriptor is known. Locks without --file-locks, and leases, are refused by name. */
int file_locks_dump(struct dumping *d) must_check;

#endif
