/* SPDX-License-Identifier: Apache-2.0 */
/* thaw show: what is inside an image directory, or an image, without restoring anything. */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "base/opts.h"
#include "img/imgdir.h"
#include "snap/snap.h"

/* o->images_dir may also be one image: then its messages are printed as JSON. On standard output. */
int show_run(const struct opts *o) must_check;

/* ---- the rest is between show*.c ------------------------------------------------------------- */

struct show {
	struct snap *s;
	struct imgdir *dir;
	struct imgdir_file *files;
	size_t nfiles;
	uint64_t bytes;      /* of all files */
	const char *writer;  /* "thaw 0.1" */
	char written[32];    /* "2026-11-22 22:13:05 +0000" */
	const char *refusal; /* why a restore would refuse it, NULL: it would not, as far as the images tell */
};

/* What a mapping is for a reader; the order is that of the tables. */
enum show_mem {
	SHOW_PRIVATE, SHOW_HEAP, SHOW_STACK, SHOW_FILE_PRIVATE, SHOW_FILE_SHARED, SHOW_SHARED, SHOW_MEMFD, SHOW_VDSO,
	SHOW_OTHER, SHOW_GUARD, SHOW_MEMS
};

struct show_memory {
	size_t mappings;
	uint64_t mapped; /* bytes */
	uint64_t image;  /* bytes of its own in the image; those of shared objects are counted with the object */
	uint64_t same;   /* of these, bytes that are its parent's, too: copy-on-write memory */
};

const char *show_memory_name(enum show_mem m);
/* ret has SHOW_MEMS elements. Copes with any list of mappings and pages. */
void show_memory(const struct snap *s, const struct snap_task *t, struct show_memory *ret);
/* Of mappings; guard pages are part of others. */
uint64_t show_mapped(const struct show_memory *m);
/* Of pages that are the parent's, too. */
uint64_t show_same(const struct show_memory *m);
/* GPU memory that is in a file of its own (gpu-pages-PID.img); *ret_n: pieces. */
uint64_t show_gpu(const struct snap_task *t, size_t *ret_n);

/* How much of the contents lies in the directory that many steps up the chain of parents; 0 of a refused image. */
uint64_t show_held_by(const struct snap *s, uint32_t depth);

struct show_row {
	const struct snap_task *t;
	unsigned depth;
};
/* The tree from the root down, children behind their parent: s->ntasks rows. */
const struct show_row *show_tree(const struct snap *s);

const char *show_state(const struct snap_task *t);
/* How it died: "exit code 42" or "signal 9"; "" for the living. */
const char *show_death(const struct snap_task *t, char *text, size_t len);
/* "file", "eventfd"; e may be NULL. */
const char *show_type(const FileEntry *e);
/* One line about it, "" if there is nothing to say. */
const char *show_file(const FileEntry *e, char *text, size_t len);
/* The path of a regular file entry, "?" if it is none. */
const char *show_path(const struct snap *s, uint32_t file_id);
/* The name of a shared object: "memfd NAME" or "anonymous"; its size is 0 where it is not known. */
const char *show_shmem(const struct snap *s, const struct snap_shmem *o, uint64_t *ret_size);

void show_text(const struct show *w);
void show_json(const struct show *w);

#endif
