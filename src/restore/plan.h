/* SPDX-License-Identifier: Apache-2.0 */
/* thaw plan: what a restore would do, in order, without doing it. */
#ifndef RESTORE_PLAN_H
#define RESTORE_PLAN_H

#include "base/err.h"
#include "base/opts.h"

int plan_run(const struct opts *o) must_check;

#endif
