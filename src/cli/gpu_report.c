/* SPDX-License-Identifier: Apache-2.0 */
/* The GPU agent's status for people (gpu_report.h): the same facts in the same order as the JSON has them. */
#include "cli/gpu_report.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

#include "base/progress.h"

static const char *text(struct json_object *o, const char *key)
{
	return json_object_get_string(json_object_object_get(o, key));
}

static int64_t number(struct json_object *o, const char *key)
{
	return json_object_get_int64(json_object_object_get(o, key));
}

static void gpu_print(struct json_object *g)
{
	struct json_object *pool = json_object_object_get(g, "pool"), *users = json_object_object_get(pool, "users");

	printf("%s  %s, %" PRId64 " MiB, %s, /dev/nvidia%" PRId64 "\n", text(g, "uuid"), text(g, "name"),
	       number(g, "memory") >> 20, text(g, "bus"), number(g, "minor"));
	printf("  context pool of %" PRId64 ", %s: %" PRId64 " made, %" PRId64 " free\n", number(pool, "size"),
	       text(pool, "state"), number(pool, "made"), number(pool, "free"));
	for (size_t i = 0; i < json_object_array_length(users); i++) {
		struct json_object *u = json_object_array_get_idx(users, i);

		printf("  used for process %" PRId64 " for %" PRId64 " ms%s\n", number(u, "pid"), number(u, "ms"),
		       number(u, "on_the_spot") ? ", made on the spot" : "");
	}
}

static void steps_print(struct json_object *steps)
{
	for (size_t i = 0; i < json_object_array_length(steps); i++) {
		struct json_object *s = json_object_array_get_idx(steps, i);

		printf("process %" PRId64 ": %s for %" PRId64 " ms%s\n", number(s, "pid"), text(s, "step"), number(s, "ms"),
		       number(s, "late") ? ": it is late, nobody waits for it any more" : "");
	}
}

static void kept_print(struct json_object *all)
{
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		struct json_object *e = json_object_array_get_idx(all, i), *gpus = json_object_object_get(e, "gpus");
		char size[32];

		printf("kept: %s of %s, used %" PRId64 " times in %" PRId64 " s, for another %" PRId64 " s, on",
		       progress_bytes(size, sizeof(size), (uint64_t)number(e, "bytes")), text(e, "image"), number(e, "hits"),
		       number(e, "ms") / 1000, number(e, "left_ms") / 1000);
		for (size_t k = 0; k < json_object_array_length(gpus); k++)
			printf(" %s", text(json_object_array_get_idx(gpus, k), "uuid"));
		printf("\n");
	}
}

static void report_print(struct json_object *o)
{
	struct json_object *driver = json_object_object_get(o, "driver"), *gpus = json_object_object_get(o, "gpus");
	struct json_object *clients = json_object_object_get(o, "clients");

	printf("GPU agent, PID %" PRId64 ", NVIDIA driver %s (CUDA %s)\n", number(o, "pid"), text(driver, "driver"),
	       text(driver, "cuda"));
	printf("  at checkpoints it %s\n", json_object_get_boolean(json_object_object_get(driver, "lends")) ?
	       "lends GPU memory, which thaw copies" : "copies GPU memory itself");
	for (size_t i = 0; i < json_object_array_length(gpus); i++)
		gpu_print(json_object_array_get_idx(gpus, i));
	kept_print(json_object_object_get(o, "kept"));
	steps_print(json_object_object_get(o, "steps"));
	for (size_t i = 0; i < json_object_array_length(clients); i++) {
		struct json_object *c = json_object_array_get_idx(clients, i);

		printf("client: process %" PRId64 " of user %" PRId64 "\n", number(c, "pid"), number(c, "uid"));
	}
}

int gpu_report_print(const char *json, int as_json)
{
	struct json_object *o = json_tokener_parse(json);

	if (!o)
		return err_say(EPROTO, "the GPU agent's status cannot be read");
	if (as_json)
		puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		report_print(o);
	json_object_put(o);
	return 0;
}
