/* SPDX-License-Identifier: Apache-2.0 */
/* thaw show --json. Sizes are bytes; strings are as the image has them. */
#include <json-c/json.h>
#include <stdio.h>

#include "cli/show.h"
#include "img/img_json.h"

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, img_json_text(text));
}

static void add_number(struct json_object *o, const char *key, uint64_t n)
{
	json_object_object_add(o, key, json_object_new_uint64(n));
}

static void add_flag(struct json_object *o, const char *key, bool on)
{
	json_object_object_add(o, key, json_object_new_boolean(on));
}

static struct json_object *list_add(struct json_object *o, const char *key)
{
	struct json_object *list = json_object_new_array();

	json_object_object_add(o, key, list);
	return list;
}

static struct json_object *item_add(struct json_object *list)
{
	struct json_object *item = json_object_new_object();

	json_object_array_add(list, item);
	return item;
}

static void add_files(struct json_object *out, const struct show *w)
{
	struct json_object *list = list_add(out, "files");

	for (size_t i = 0; i < w->nfiles; i++) {
		struct json_object *f = item_add(list);
		char name[IMG_NAME_LEN];

		add_text(f, "name", img_name(name, w->files[i].type->id, w->files[i].num));
		add_number(f, "bytes", w->files[i].len);
	}
}

static void add_threads(struct json_object *out, const struct snap_task *t)
{
	struct json_object *list = list_add(out, "threads");

	for (size_t i = 0; i < t->ncores; i++) {
		const ThreadCoreEntry *th = t->cores[i]->thread_core;
		struct json_object *o = item_add(list);

		add_number(o, "tid", t->pst->threads[i]);
		add_text(o, "name", th && th->comm ? th->comm : snap_comm(t));
	}
}

static void add_memory(struct json_object *out, const struct snap *s, const struct snap_task *t)
{
	struct json_object *list = list_add(out, "memory");
	struct show_memory m[SHOW_MEMS];
	size_t n;

	show_memory(s, t, m);
	for (enum show_mem k = 0; k < SHOW_MEMS; k++) {
		struct json_object *o = m[k].mappings ? item_add(list) : NULL;

		if (!o)
			continue;
		add_text(o, "kind", show_memory_name(k));
		add_number(o, "mappings", m[k].mappings);
		add_number(o, "mapped_bytes", m[k].mapped);
		add_number(o, "image_bytes", m[k].image);
	}
	add_number(out, "mapped_bytes", show_mapped(m));
	add_number(out, "image_bytes", snap_pages_bytes(&t->pages));
	add_number(out, "copy_on_write_bytes", show_same(m));
	add_number(out, "gpu_bytes", show_gpu(t, &n));
}

static void add_descriptors(struct json_object *out, const struct snap *s, const struct snap_task *t)
{
	struct json_object *list = list_add(out, "descriptors");

	for (size_t i = 0; i < t->nfds; i++) {
		const FileEntry *e = snap_file(s, t->fds[i]->id);
		struct json_object *o = item_add(list);
		char what[512];

		add_number(o, "fd", t->fds[i]->fd);
		add_text(o, "type", show_type(e));
		add_text(o, "what", show_file(e, what, sizeof(what)));
		add_number(o, "file_id", t->fds[i]->id);
		add_flag(o, "close_on_exec", t->fds[i]->flags & 1);
	}
}

static void add_task(struct json_object *list, const struct snap *s, const struct snap_task *t)
{
	struct json_object *o = item_add(list);
	char death[32];

	add_number(o, "pid", t->pst->pid);
	add_number(o, "ppid", t->pst->ppid);
	add_number(o, "pgid", t->pst->pgid);
	add_number(o, "sid", t->pst->sid);
	add_text(o, "name", snap_comm(t));
	add_text(o, "state", show_state(t));
	if (t->zombie) {
		add_text(o, "death", show_death(t, death, sizeof(death)));
		return;
	}
	add_text(o, "program", show_path(s, t->mm->exe_file_id));
	add_text(o, "directory", show_path(s, t->fs->cwd_id));
	add_text(o, "root", show_path(s, t->fs->root_id));
	add_threads(o, t);
	add_memory(o, s, t);
	add_descriptors(o, s, t);
}

static void add_shmem(struct json_object *out, const struct snap *s)
{
	struct json_object *list = list_add(out, "shared_memory");

	for (size_t i = 0; i < s->nshmem; i++) {
		struct json_object *o = item_add(list);
		uint64_t len;

		add_number(o, "shmid", s->shmem[i]->shmid);
		add_text(o, "name", show_shmem(s, s->shmem[i], &len));
		add_number(o, "bytes", len);
		add_number(o, "image_bytes", snap_pages_bytes(&s->shmem[i]->pages));
	}
}

static void add_chain(struct json_object *out, const struct show *w)
{
	struct json_object *list = list_add(out, "builds_upon");
	uint32_t depth = 1;

	for (const struct imgdir *d = w->dir->parent; d; d = d->parent) {
		struct json_object *o = item_add(list);

		add_text(o, "path", d->path);
		add_number(o, "bytes", show_held_by(w->s, depth++));
	}
}

void show_json(const struct show *w)
{
	struct json_object *out = json_object_new_object(), *tasks;
	const struct show_row *rows = show_tree(w->s);

	add_text(out, "path", w->dir->path);
	add_text(out, "writer", w->writer);
	add_text(out, "written", w->written);
	add_number(out, "version", w->s->inventory->img_version);
	add_flag(out, "restorable", !w->refusal);
	if (w->refusal)
		add_text(out, "refusal", w->refusal);
	tasks = list_add(out, "tasks");
	for (size_t i = 0; i < w->s->ntasks; i++)
		add_task(tasks, w->s, rows[i].t);
	add_shmem(out, w->s);
	add_chain(out, w);
	add_files(out, w);
	puts(json_object_to_json_string_ext(out, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(out);
}
