/* SPDX-License-Identifier: Apache-2.0 */
/* What text and JSON of thaw show have in common (show.h). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/show.h"
#include "kind/kind.h"
#include "snap/check.h"

const struct show_row *show_tree(const struct snap *s)
{
	struct show_row *stack = arena_alloc(s->a, s->ntasks * sizeof(*stack) + 1);
	struct show_row *out = arena_alloc(s->a, s->ntasks * sizeof(*out) + 1);
	size_t n = 0, depth = 0;

	stack[depth++] = (struct show_row){ s->tasks[0], 0 };
	while (depth) {
		struct show_row row = stack[--depth];

		out[n++] = row;
		for (size_t i = row.t->nchildren; i-- > 0;)
			stack[depth++] = (struct show_row){ row.t->children[i], row.depth + 1 };
	}
	return out;
}

const char *show_state(const struct snap_task *t)
{
	if (t->zombie)
		return "zombie";
	return t->cores[0]->tc->task_state == TASK_STOPPED ? "stopped" : "running";
}

const char *show_death(const struct snap_task *t, char *text, size_t len)
{
	int status = (int)t->cores[0]->tc->exit_code;

	*text = 0;
	if (t->zombie && WIFSIGNALED(status))
		snprintf(text, len, "signal %d", WTERMSIG(status));
	else if (t->zombie)
		snprintf(text, len, "exit code %d", WEXITSTATUS(status));
	return text;
}

const char *show_type(const FileEntry *e)
{
	const struct kind_fd *k = e ? kind_fd_of(e->type) : NULL;
	const ProtobufCEnumValue *v;

	if (!e || k)
		return k ? k->name : "?";
	v = protobuf_c_enum_descriptor_get_value(&fd_types__descriptor, (int)e->type);
	return v ? v->name : "?";
}

const char *show_file(const FileEntry *e, char *text, size_t len)
{
	const struct kind_fd *k = e ? kind_fd_of(e->type) : NULL;

	*text = 0;
	if (k && k->describe && check_file(e) >= 0)
		k->describe(e, text, len);
	return text;
}

const char *show_path(const struct snap *s, uint32_t file_id)
{
	const FileEntry *e = snap_file(s, file_id);

	return e && e->reg ? e->reg->name : "?";
}

const char *show_shmem(const struct snap *s, const struct snap_shmem *o, uint64_t *ret_size)
{
	const struct img_msgs *l = &s->list[IMG_MEMFD];

	*ret_size = 0;
	for (size_t i = 0; i < l->n; i++) {
		const MemfdInodeEntry *e = (const MemfdInodeEntry *)l->v[i].msg;

		if (e->shmid != o->shmid)
			continue;
		*ret_size = e->size;
		return strcmp(e->name, "/dev/zero") ? arena_printf(s->a, "memfd %s", e->name) : "anonymous";
	}
	return "anonymous";
}
