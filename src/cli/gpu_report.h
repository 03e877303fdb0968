/* SPDX-License-Identifier: Apache-2.0 */
/* The GPU agent's status as text. */
#ifndef CLI_GPU_REPORT_H
#define CLI_GPU_REPORT_H

#include "base/err.h"

/* Prints what gpu_client_status() gave, as it is or for people. */
int gpu_report_print(const char *json, int as_json) must_check;

#endif
