/* SPDX-License-Identifier: Apache-2.0 */
/* thaw dedup (dedup.h). The images are checked as a restore would check them before a byte of them is freed. */
#include "dump/dedup.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "snap/check.h"
#include "snap/load.h"

/* One object in one directory of the chain. */
struct holder {
	const struct imgdir *dir;
	struct snap_pages map; /* no runs: the directory does not know the object */
};

static uint64_t run_end(const PagemapEntry *e)
{
	return e->vaddr + e->nr_pages * SNAP_PAGE;
}

static int punch(int fd, const struct snap_pages *p, uint64_t off, uint64_t len)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) < 0)
		return err_set(errno, "pages-%u.img: free %lu bytes", p->pages_id, len);
	return 0;
}

/* Frees of the older map what the newer one holds. */
static int free_common(const struct snap_pages *newer, const struct snap_pages *older, int fd)
{
	uint64_t off = 0;
	size_t n = 0;
	int r = 0;

	for (size_t o = 0; o < older->nruns; o++) {
		const PagemapEntry *e = older->runs[o];

		if (!(e->flags & PE_PRESENT))
			continue;
		while (n < newer->nruns && run_end(newer->runs[n]) <= e->vaddr)
			n++;
		for (size_t i = n; r >= 0 && i < newer->nruns && newer->runs[i]->vaddr < run_end(e); i++) {
			const PagemapEntry *w = newer->runs[i];
			uint64_t from = w->vaddr > e->vaddr ? w->vaddr : e->vaddr;
			uint64_t to = run_end(w) < run_end(e) ? run_end(w) : run_end(e);

			if (w->flags & PE_PRESENT)
				r = punch(fd, older, off + (from - e->vaddr), to - from);
		}
		off += e->nr_pages * SNAP_PAGE;
	}
	return r;
}

static uint64_t blocks(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

/* h[0..n): the newer ones, h[n]: where to free. */
static int free_in(const struct holder *h, size_t n, uint64_t *bytes)
{
	const struct holder *old = &h[n];
	char name[IMG_NAME_LEN];
	auto_close int fd = -1;
	uint64_t before;
	int r = 0;

	if (!old->map.file_len)
		return 0;
	fd = openat(old->dir->dirfd, img_name(name, IMG_PAGES, old->map.pages_id), O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_set(errno, "%s/%s: open for writing", old->dir->path, name);
	before = blocks(fd);
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = free_common(&h[i].map, &old->map, fd);
	if (blocks(fd) < before)
		*bytes += before - blocks(fd);
	return err_ctx(r, "%s", old->dir->path);
}

static int holder_load(struct holder *h, const struct imgdir_file *f, struct arena *a)
{
	char name[IMG_NAME_LEN];
	int r;

	if (faccessat(h->dir->dirfd, img_name(name, f->type->id, f->num), F_OK, 0) < 0 && errno == ENOENT)
		return 0;
	r = load_pages(a, h->dir->dirfd, f->type->id, f->num, &h->map);
	if (r >= 0)
		r = check_pages(&h->map);
	return err_ctx(r, "%s", h->dir->path);
}

static int object_dedup(const struct imgdir *dir, const struct imgdir_file *f, struct arena *a, uint64_t *bytes)
{
	size_t n = imgdir_depth(dir);
	struct holder *h = arena_alloc(a, n * sizeof(*h));
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++) {
		h[i].dir = imgdir_at(dir, i);
		r = holder_load(&h[i], f, a);
	}
	for (size_t i = 1; r >= 0 && i < n; i++)
		r = free_in(h, i, bytes);
	return r;
}

static int dedup_dir(const struct imgdir *dir, struct arena *a, uint64_t *ret_bytes)
{
	struct imgdir_file *f;
	size_t n;
	int r = imgdir_list(dir, a, &f, &n);

	*ret_bytes = 0;
	for (size_t i = 0; r >= 0 && i < n; i++)
		if (f[i].type->kind == IMG_KIND_PAGEMAP)
			r = object_dedup(dir, &f[i], a, ret_bytes);
	return r;
}

void dedup_after(const struct imgdir *dir, struct arena *a)
{
	uint64_t bytes = 0;

	if (dedup_dir(dir, a, &bytes) < 0)
		log_warn("--auto-dedup: %s", err_text());
	log_info("freed %lu bytes in parent images", bytes);
}

int dedup_run(const char *path, uint64_t *ret_bytes)
{
	struct arena *a = arena_new();
	struct imgdir *dir = NULL;
	int r = imgdir_open(AT_FDCWD, path, a, &dir);

	*ret_bytes = 0;
	if (r >= 0 && faccessat(dir->dirfd, "inventory.img", F_OK, 0) < 0)
		r = err_say(ENOENT, "%s: is not an image directory of CRIU or thaw: it has no inventory.img", path);
	if (r >= 0 && !dir->parent)
		log_info("%s builds upon no other images", path);
	if (r >= 0)
		r = dedup_dir(dir, a, ret_bytes);
	imgdir_close(dir);
	arena_free(a);
	return r;
}
