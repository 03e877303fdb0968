/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a pages file (page_source.h). */
#include "page/page_source.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "img/img.h"
#include "kern/direct_io.h"

enum { PAGE = 4096 };

/* As page workers do: memory is aligned to pages, the file must want no more; only who asks for it gets a guess. */
static void open_direct(int dirfd, const char *name, struct page_source *s)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECT | O_CLOEXEC);
	int align = fd >= 0 ? direct_io_align(fd) : -ENODATA;

	s->align = align > 0 ? (uint32_t)align : PAGE;
	if (align > 0 || (align < 0 && s->io == PIE_IO_DIRECT))
		s->direct_fd = fd;
	else
		close_fd(&fd);
}

int page_source_open(int dirfd, uint32_t pages_id, enum pie_io io, bool punch, struct page_source *ret)
{
	struct page_source s = { .fd = -1, .direct_fd = -1, .pages_id = pages_id, .io = io };
	char name[IMG_NAME_LEN];

	img_name(name, IMG_PAGES, pages_id);
	/* not to be able to punch is no reason not to restore */
	if (punch)
		s.fd = openat(dirfd, name, O_RDWR | O_CLOEXEC);
	if (s.fd < 0)
		s.fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	if (s.fd < 0)
		return err_set(errno, "open %s", name);
	if (io == PIE_IO_DIRECT || io == PIE_IO_AUTO)
		open_direct(dirfd, name, &s);
	*ret = s;
	return 0;
}

void page_source_close(struct page_source *s)
{
	close_fd(&s->fd);
	close_fd(&s->direct_fd);
}

bool page_source_direct(const struct page_source *s, uint64_t off, uint64_t len)
{
	if (s->direct_fd < 0 || (off | len) & (s->align - 1))
		return false;
	return s->io == PIE_IO_DIRECT || direct_io_cold(s->fd, off, len);
}

int page_source_read(const struct page_source *s, bool direct, void *to, uint64_t len, uint64_t off)
{
	ssize_t n = io_pread(direct ? s->direct_fd : s->fd, to, len, off);

	if (n == -EINVAL && direct) /* it ended where a direct read cannot go on */
		n = io_pread(s->fd, to, len, off);
	if (n < 0)
		return err_set((int)-n, "pages-%u.img: read at offset %lu", s->pages_id, off);
	if ((uint64_t)n < len)
		return err_say(ENODATA, "pages-%u.img: the file ends before offset %lu, where pages should be", s->pages_id,
			       off + (uint64_t)n);
	return 0;
}
