/* SPDX-License-Identifier: Apache-2.0 */
/* The page map of one object in one directory (load.h). Older images are brought to what the newest say. */
#include <inttypes.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "snap/load.h"

/* A map without bytes of its own (empty, or all of it in the parent's) may have no pages file. */
static int file_len(struct snap_pages *p, int dirfd)
{
	auto_close int fd = img_open(dirfd, IMG_PAGES, p->pages_id);
	struct stat st;

	if (fd == -ENOENT && !snap_pages_bytes(p))
		return 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_set(errno, "pages-%u.img: stat", p->pages_id);
	p->file_len = (uint64_t)st.st_size;
	return 0;
}

int load_pages(struct arena *a, int dirfd, enum img_id id, uint64_t num, struct snap_pages *p)
{
	struct img_msgs all;
	int r = img_read_all(dirfd, id, num, a, &all);

	if (r < 0)
		return r;
	p->pages_id = ((const PagemapHead *)all.v[0].msg)->pages_id;
	p->compared_with = ((const PagemapHead *)all.v[0].msg)->compared_with;
	p->nruns = all.n - 1;
	p->runs = arena_alloc(a, p->nruns * sizeof(PagemapEntry *) + 1);
	for (size_t i = 0; i < p->nruns; i++) {
		PagemapEntry *e = (PagemapEntry *)all.v[i + 1].msg;

		e->nr_pages = pagemap_pages(e);
		e->flags = pagemap_flags(e);
		e->has_nr_pages = e->has_flags = true;
		p->runs[i] = e;
	}
	return file_len(p, dirfd);
}
