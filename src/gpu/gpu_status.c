/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's state as JSON (gpu_status.h). Made by the main thread, which must answer even while the driver hangs. */
#include "gpu/gpu_status.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/trace.h"
#include "gpu/gpu_words.h"

static void put_int(struct json_object *o, const char *key, int64_t value)
{
	json_object_object_add(o, key, json_object_new_int64(value));
}

static void put_text(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static int64_t ms_since(uint64_t ns)
{
	return (int64_t)((trace_now_ns() - ns) / 1000000);
}

static struct json_object *pool_json(struct gpu_pool *p)
{
	struct json_object *o = json_object_new_object(), *users = json_object_new_array();
	int64_t have = 0, free_ones = 0;

	pthread_mutex_lock(&p->all->lock);
	for (const struct gpu_slot *s = p->first; s; s = s->next) {
		have += !s->extra;
		free_ones += !s->pid;
		if (s->pid) {
			struct json_object *user = json_object_new_object();

			put_int(user, "pid", s->pid);
			put_int(user, "ms", ms_since(s->since_ns));
			json_object_object_add(user, "on_the_spot", json_object_new_boolean(s->extra));
			json_object_array_add(users, user);
		}
	}
	put_text(o, "state", p->filling ? "filling" : p->given_up ? "given up" : "ready");
	pthread_mutex_unlock(&p->all->lock);
	put_int(o, "size", (int64_t)p->all->size);
	put_int(o, "made", have);
	put_int(o, "free", free_ones);
	json_object_object_add(o, "users", users);
	return o;
}

static struct json_object *gpu_json(const struct gpu_device *g, struct gpu_pool *pool)
{
	struct json_object *o = json_object_new_object();
	char uuid[GPU_UUID_TEXT];

	put_text(o, "uuid", gpu_uuid_text(g->uuid, uuid));
	put_text(o, "name", g->name);
	put_text(o, "bus", g->bus);
	put_int(o, "minor", g->minor);
	put_int(o, "memory", (int64_t)g->mem_len);
	json_object_object_add(o, "pool", pool_json(pool));
	return o;
}

static struct json_object *step_json(const struct gpu_job_facts *f)
{
	struct json_object *o = json_object_new_object();

	put_int(o, "pid", f->pid);
	put_text(o, "step", f->what);
	put_int(o, "ms", ms_since(f->from_ns));
	json_object_object_add(o, "late", json_object_new_boolean(f->late));
	return o;
}

static struct json_object *clients_json(const struct gpu_conns *conns, const struct gpu_conn *asker)
{
	struct json_object *all = json_object_new_array();

	for (const struct gpu_conn *c = conns->first; c; c = c->next) {
		struct json_object *o;

		if (c == asker)
			continue;
		o = json_object_new_object();
		put_int(o, "pid", c->pid);
		put_int(o, "uid", c->uid);
		json_object_array_add(all, o);
	}
	return all;
}

static struct json_object *driver_json(const struct gpu_driver *d)
{
	struct json_object *o = json_object_new_object();
	char version[32];

	snprintf(version, sizeof(version), "%d.%d", d->api.version / 1000, d->api.version % 1000 / 10);
	put_text(o, "cuda", version);
	put_text(o, "driver", d->release);
	json_object_object_add(o, "lends", json_object_new_boolean(d->api.operation_complete != NULL));
	return o;
}

static struct json_object *hold_json(const struct gpu_hold *h)
{
	struct json_object *o = json_object_new_object();
	char uuid[GPU_UUID_TEXT];

	put_text(o, "uuid", gpu_uuid_text(h->driver->device[h->gpu].uuid, uuid));
	put_int(o, "bytes", (int64_t)h->len);
	return o;
}

static struct json_object *kept_json(const struct gpu_kept *e)
{
	struct json_object *o = json_object_new_object(), *gpus = json_object_new_array();
	uint64_t now = trace_now_ns();

	put_text(o, "image", e->path);
	put_int(o, "bytes", (int64_t)e->bytes);
	for (size_t i = 0; i < e->n_holds; i++)
		json_object_array_add(gpus, hold_json(&e->hold[i]));
	json_object_object_add(o, "gpus", gpus);
	put_int(o, "ms", ms_since(e->made_ns));
	put_int(o, "used_ms", ms_since(e->used_ns));
	put_int(o, "left_ms", e->until_ns > now ? (int64_t)((e->until_ns - now) / 1000000) : 0);
	put_int(o, "hits", (int64_t)e->hits);
	return o;
}

static struct json_object *keep_json(struct gpu_keep *k)
{
	struct json_object *all = json_object_new_array();

	pthread_mutex_lock(&k->lock);
	for (const struct gpu_kept *e = k->first; e; e = e->next)
		json_object_array_add(all, kept_json(e));
	pthread_mutex_unlock(&k->lock);
	return all;
}

char *gpu_status_json(const struct gpu_driver *d, struct gpu_pools *pools, struct gpu_keep *keep,
		      const struct gpu_jobs *jobs, const struct gpu_conns *conns, const struct gpu_conn *asker)
{
	struct json_object *o = json_object_new_object(), *gpus = json_object_new_array();
	struct json_object *steps = json_object_new_array();
	struct gpu_job_facts f = { 0 };
	char *text;

	put_int(o, "pid", getpid());
	json_object_object_add(o, "driver", driver_json(d));
	for (size_t i = 0; i < d->n; i++)
		json_object_array_add(gpus, gpu_json(&d->device[i], &pools->pool[i]));
	json_object_object_add(o, "gpus", gpus);
	json_object_object_add(o, "kept", keep_json(keep));
	while (gpu_job_next(jobs, &f))
		json_object_array_add(steps, step_json(&f));
	json_object_object_add(o, "steps", steps);
	json_object_object_add(o, "clients", clients_json(conns, asker));
	text = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	return text;
}
