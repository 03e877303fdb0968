/* SPDX-License-Identifier: Apache-2.0 */
/* The sub-commands: each fills an exit code, or fails with a trail. main.c has their table. */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include "base/opts.h"
#include "base/err.h"

/* *ret_exit is 0 unless the command set it. */
int cmd_dump(const struct opts *o, int *ret_exit) must_check;
int cmd_restore(const struct opts *o, int *ret_exit) must_check;
int cmd_check(const struct opts *o, int *ret_exit) must_check;
int cmd_show(const struct opts *o, int *ret_exit) must_check;
int cmd_plan(const struct opts *o, int *ret_exit) must_check;
int cmd_pre_dump(const struct opts *o, int *ret_exit) must_check;
int cmd_dedup(const struct opts *o, int *ret_exit) must_check;
int cmd_gpu_agent(const struct opts *o, int *ret_exit) must_check;
int cmd_cuda(const struct opts *o, int *ret_exit) must_check;
int cmd_run(const struct opts *o, int *ret_exit) must_check;

#endif
