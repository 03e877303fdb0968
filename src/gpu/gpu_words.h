/* SPDX-License-Identifier: Apache-2.0 */
/* The words for steps, states and GPUs: as NVIDIA's tools print them, and as users write them. */
#ifndef GPU_GPU_WORDS_H
#define GPU_GPU_WORDS_H

#include "gpu/gpu_client.h"

enum { GPU_UUID_TEXT = 41 }; /* "GPU-" and 8-4-4-4-12 digits */

char *gpu_uuid_text(const uint8_t uuid[GPU_UUID_LEN], char text[GPU_UUID_TEXT]);

/* "OLD=NEW,OLD=NEW...", "GPU-" may be left out. A GPU that stands twice on one side is an error. */
int gpu_map_parse(const char *text, struct gpu_map *ret) must_check;

/* "lock", "checkpoint" ... */
const char *gpu_step_name(enum gpu_step step);
/* "running", "locked" ... as NVIDIA's tool prints them; "none". */
const char *gpu_state_name(enum gpu_state state);

#endif
