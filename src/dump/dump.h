/* SPDX-License-Identifier: Apache-2.0 */
/* Dump: kernel -> snap -> images. */
#ifndef DUMP_DUMP_H
#define DUMP_DUMP_H

#include "base/err.h"
#include "base/opts.h"

/*
 * Dumps the tree under opts->tree into opts->images_dir. 0: the images are
 * complete, and the tree is gone, stopped or running as asked. -errno with a trail: the tree
 * goes on as before and the directory holds no image.
 *
 * As thaw pre-dump: memory alone, of a tree that goes on. It stands still only while its pages are listed and
 * protected; what it writes to afterwards, while they are read, the next dump stores again.
 */
int dump_run(const struct opts *o) must_check;

#endif
