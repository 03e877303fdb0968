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
 */
int dump_run(const struct opts *o) must_check;

#endif
