/* SPDX-License-Identifier: Apache-2.0 */
/* thaw check: the kernel feature table, tried row by row. "Looks good" is what scripts look for, as from criu check. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"
#include "kern/feature.h"

static void line_print(const struct feature_report *f)
{
	printf("%-4s %-20s %s", f->missing ? "MISS" : "ok", f->name, f->what);
	if (f->note[0])
		printf(" [%s]", f->note);
	if (f->missing)
		printf(": %s; costs: %s%s", strerror(-f->missing), f->lost, f->required ? " (required)" : "");
	putchar('\n');
}

static struct json_object *to_json(const struct feature_report *f)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(f->name));
	json_object_object_add(o, "ok", json_object_new_boolean(!f->missing));
	json_object_object_add(o, "required", json_object_new_boolean(f->required));
	json_object_object_add(o, "what", json_object_new_string(f->what));
	if (f->note[0])
		json_object_object_add(o, "note", json_object_new_string(f->note));
	if (f->missing) {
		json_object_object_add(o, "why", json_object_new_string(strerror(-f->missing)));
		json_object_object_add(o, "costs", json_object_new_string(f->lost));
	}
	return o;
}

static void summary_print(size_t required_missing, size_t missing)
{
	if (required_missing)
		printf("Does not look good: %zu of %d features are missing, %zu of them required.\n", missing, FEATURE_COUNT,
		       required_missing);
	else if (missing)
		printf("Looks good: all that is required is there. %zu of %d features are missing; their lines say what that "
		       "costs.\n", missing, FEATURE_COUNT);
	else
		printf("Looks good.\n");
}

int cmd_check(const struct opts *o, int *ret_exit)
{
	struct json_object *all = o->json ? json_object_new_array() : NULL;
	size_t required_missing = 0, missing = 0;

	for (enum feature f = 0; f < FEATURE_COUNT; f++) {
		struct feature_report report;

		feature_try(f, &report);
		missing += report.missing != 0;
		required_missing += report.missing && report.required;
		if (all)
			json_object_array_add(all, to_json(&report));
		else
			line_print(&report);
	}
	if (all) {
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(all);
	} else
		summary_print(required_missing, missing);
	*ret_exit = required_missing != 0;
	return 0;
}
