/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw show. An image that is sound but that this thaw cannot restore is shown
 * all the same, with the reason; a damaged one ends in its sentence.
 */
#include "cli/show.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "img/img_json.h"

static void written_find(struct show *w)
{
	char name[IMG_NAME_LEN];
	struct stat st;
	struct tm tm;

	if (fstatat(w->dir->dirfd, img_name(name, IMG_INVENTORY, 0), &st, 0) < 0 || !localtime_r(&st.st_mtime, &tm) ||
	    !strftime(w->written, sizeof(w->written), "%F %T %z", &tm))
		snprintf(w->written, sizeof(w->written), "?");
}

static int facts_find(struct show *w)
{
	const char *version = w->s->inventory->thaw_version;
	int r = imgdir_list(w->dir, w->s->a, &w->files, &w->nfiles);

	for (size_t i = 0; r >= 0 && i < w->nfiles; i++)
		w->bytes += w->files[i].len;
	w->writer = version ? arena_printf(w->s->a, "thaw %s", version) : "CRIU";
	written_find(w);
	return r;
}

static int dir_show(const struct opts *o, struct show *w)
{
	int r = imgdir_open(AT_FDCWD, o->images_dir, w->s->a, &w->dir);

	if (r < 0)
		return r;
	r = err_ctx(snap_load(w->s, w->dir->dirfd), "%s", o->images_dir);
	if (r >= 0)
		r = facts_find(w);
	if (r < 0)
		return r;
	r = snap_check(w->s);
	if (r < 0 && r != -ENOTSUP)
		return err_ctx(r, "%s", o->images_dir);
	if (r < 0)
		w->refusal = arena_strdup(w->s->a, err_text());
	else
		r = snap_chain(w->s, w->dir);
	if (r < 0 && !w->refusal)
		return r;
	(o->json ? show_json : show_text)(w);
	return 0;
}

static int image_show(const char *path, struct arena *a)
{
	const char *file = basename(arena_strdup(a, path));
	auto_close int dirfd = open(dirname(arena_strdup(a, path)), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct img_type *t;
	struct json_object *out;
	struct img_msgs all;
	uint64_t num;
	int r;

	if (dirfd < 0)
		return err_set(errno, "%s: open its directory", path);
	t = img_type_by_file(file, &num);
	if (!t)
		return err_say(EINVAL, "%s: is neither an image directory nor named as an image", path);
	r = img_read_all(dirfd, t->id, num, a, &all);
	if (r < 0)
		return r;
	out = img_msgs_to_json(t, &all);
	puts(json_object_to_json_string_ext(out, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(out);
	return 0;
}

int show_run(const struct opts *o)
{
	struct show w = { .s = snap_new() };
	struct stat st;
	int r;

	if (stat(o->images_dir, &st) == 0 && !S_ISDIR(st.st_mode))
		r = image_show(o->images_dir, w.s->a);
	else
		r = dir_show(o, &w);
	imgdir_close(w.dir);
	snap_free(w.s);
	return r;
}
