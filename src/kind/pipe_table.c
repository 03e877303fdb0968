/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of pipes (pipe_table.h). Runs in the engine, single-threaded.
 *
 * pipe_id is the inode number, cut to 32 bits: two fifos of different file
 * systems may have the same one, so the dump gives the second another.
 */
#include "kind/pipe_table.h"

#include <fcntl.h>

static struct pipe_table *table_of(void **state, struct arena *a)
{
	struct pipe_table *t = state[KIND_STATE_PIPE];

	if (!t) {
		state[KIND_STATE_PIPE] = t = arena_alloc(a, sizeof(*t));
		t->last = &t->first;
	}
	return t;
}

static struct pipe_object *find(struct pipe_table *t, uint32_t pipe_id, bool fifo)
{
	struct pipe_object *o = t->bucket[pipe_id % PIPE_BUCKETS];

	while (o && (o->pipe_id != pipe_id || o->fifo != fifo))
		o = o->next_in_bucket;
	return o;
}

static struct pipe_object *add(struct pipe_table *t, struct arena *a, uint32_t pipe_id, bool fifo)
{
	struct pipe_object *o = arena_alloc(a, sizeof(*o)), **head = &t->bucket[pipe_id % PIPE_BUCKETS];

	o->pipe_id = pipe_id;
	o->fifo = fifo;
	o->end[0] = o->end[1] = -1;
	o->next_in_bucket = *head;
	*head = o;
	*t->last = o;
	t->last = &o->next;
	return o;
}

struct pipe_object *pipe_table_inode(struct dumping *d, const struct fd_facts *f, bool fifo)
{
	struct pipe_table *t = table_of(d->kind_state, d->a);
	uint32_t id = (uint32_t)f->st.st_ino;
	struct pipe_object *o;

	while ((o = find(t, id, fifo)) && (o->dev != f->st.st_dev || o->ino != f->st.st_ino))
		id++;
	if (o)
		return o;
	o = add(t, d->a, id, fifo);
	o->dev = f->st.st_dev;
	o->ino = f->st.st_ino;
	o->name = f->tfd >= 0 ? arena_printf(d->a, "%s (task %d, fd %d)", f->link, f->pid, f->tfd) :
				arena_strdup(d->a, f->link);
	return o;
}

struct pipe_object *pipe_table_first(struct dumping *d)
{
	return table_of(d->kind_state, d->a)->first;
}

/* ---- restore --------------------------------------------------------------------------------- */

static struct pipe_object *object_of(const struct snap *s, struct pipe_table *t, struct arena *a, const FileEntry *e,
				     uint32_t *ret_flags)
{
	const FileEntry *reg = e->fifo ? snap_file(s, e->fifo->regf_id) : NULL;
	bool fifo = e->type == FD_TYPES__FIFO;
	uint32_t id;

	if (!fifo && !(e->type == FD_TYPES__PIPE && e->pipe))
		return NULL;
	if (fifo && !(reg && reg->reg))
		return NULL;
	id = fifo ? e->fifo->pipe_id : e->pipe->pipe_id;
	*ret_flags = fifo ? reg->reg->flags : e->pipe->flags;
	return find(t, id, fifo) ?: add(t, a, id, fifo);
}

static void ends_note(struct restoring *r, struct pipe_table *t)
{
	const struct img_msgs *files = &r->snap->list[IMG_FILES];

	for (size_t i = 0; i < files->n; i++) {
		uint32_t flags;
		struct pipe_object *o = object_of(r->snap, t, r->a, (const FileEntry *)files->v[i].msg, &flags);

		if (!o || flags & O_PATH)
			continue;
		o->reads |= (flags & O_ACCMODE) != O_WRONLY;
		o->writes |= (flags & O_ACCMODE) != O_RDONLY;
		o->packets |= (flags & O_ACCMODE) != O_RDONLY && flags & O_DIRECT;
	}
}

static void data_note(struct restoring *r, struct pipe_table *t, bool fifo)
{
	const struct img_msgs *data = &r->snap->list[fifo ? IMG_FIFO_DATA : IMG_PIPES_DATA];

	for (size_t i = 0; i < data->n; i++) {
		struct pipe_object *o = find(t, ((const PipeDataEntry *)data->v[i].msg)->pipe_id, fifo);

		if (o)
			o->data = &data->v[i];
	}
}

/*
 * A task that is not root may open its pipes anew (/dev/stderr), which the owner
 * of the pipe's inode decides. No image has it; that of a task that holds it is as good as known.
 */
static void owners_note(struct restoring *r, struct pipe_table *t)
{
	for (size_t i = 0; i < r->snap->ntasks; i++) {
		const struct snap_task *task = r->snap->tasks[i];
		const ThreadCoreEntry *tc = task->ncores ? task->cores[0]->thread_core : NULL;
		const CredsEntry *c = tc ? tc->creds : NULL;

		for (size_t k = 0; c && k < task->nfds; k++) {
			const FileEntry *e = snap_file(r->snap, task->fds[k]->id);
			const PipeEntry *p = e && e->type == FD_TYPES__PIPE ? e->pipe : NULL;
			struct pipe_object *o = p ? find(t, p->pipe_id, false) : NULL;

			if (!o || o->has_owner)
				continue;
			o->has_owner = true;
			o->uid = c->euid;
			o->gid = c->egid;
		}
	}
}

struct pipe_object *pipe_table_id(struct restoring *r, uint32_t pipe_id, bool fifo)
{
	bool fresh = !r->kind_state[KIND_STATE_PIPE];
	struct pipe_table *t = table_of(r->kind_state, r->a);

	if (fresh) {
		ends_note(r, t);
		data_note(r, t, false);
		data_note(r, t, true);
		owners_note(r, t);
	}
	return find(t, pipe_id, fifo);
}
