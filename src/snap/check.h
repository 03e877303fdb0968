/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of snap_check(): each refuses with a sentence that its caller prefixes with the task. */
#ifndef SNAP_CHECK_H
#define SNAP_CHECK_H

#include "snap/snap.h"

/* check_task.c: state, registers, IDs. */
int check_task(const struct snap_task *t) must_check;
/* check_share.c: what tasks have in common: namespaces, and what CLONE_VM and its like share. */
int check_share(const struct snap *s) must_check;
/* check_mem.c: mappings, and where their pages are. */
int check_mappings(const struct snap *s, const struct snap_task *t) must_check;
int check_pages(const struct snap_pages *p) must_check;
int check_pages_mapped(const struct snap_task *t) must_check;
int check_shmem(const struct snap *s, const struct snap_shmem *o) must_check;
/* check_files.c: file entries, and who refers to them. */
int check_files(const struct snap *s) must_check;
/* Whether e has the member that belongs to its type: kinds read it without asking. */
int check_file(const FileEntry *e) must_check;
int check_descriptors(const struct snap *s, const struct snap_task *t) must_check;
/* The sentence's start names what refers: "mapping 1000-2000". */
int check_file_id(const struct snap *s, uint64_t id, const char *what) must_check;

#endif
