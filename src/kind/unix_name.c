/* SPDX-License-Identifier: Apache-2.0 */
/* Names of unix sockets, both ways (unix_name.h). Runs in the engine, single-threaded: relative names need its cwd. */
#include "kind/unix_name.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "kind/unix_path.h"

const char *unix_name_text(const void *name, size_t len, char text[static UNIX_NAME_TEXT])
{
	const unsigned char *from = name;
	size_t n = 0;

	if (!len)
		return memcpy(text, "(unnamed)", sizeof("(unnamed)"));
	if (from[0])
		len = strnlen(name, len);
	for (size_t i = 0; i < len && n < UNIX_NAME_TEXT - 1; i++)
		text[n++] = !i && !from[0] ? '@' : isprint(from[i]) ? (char)from[i] : '?';
	text[n] = 0;
	return text;
}

static const char *entry_text(const UnixSkEntry *e, char text[static UNIX_NAME_TEXT])
{
	return unix_name_text(e->name.data, e->name.len, text);
}

int unix_name_dump(struct dumping *d, const struct fd_facts *f, const void *name, size_t len, UnixSkEntry *e)
{
	char *text;

	if (len > sizeof(((struct sockaddr_un *)0)->sun_path) + 1)
		return err_say(EINVAL, "a unix socket's name of %zu bytes", len);
	e->name.data = arena_memdup(d->a, len ? name : "", len);
	e->name.len = len;
	if (!unix_name_is_path(e))
		return 0;
	text = arena_printf(d->a, "%.*s", (int)len, (const char *)name);
	return unix_path_dump(d, f, text, e);
}

/* ---- restore --------------------------------------------------------------------------------- */

/* Images end a path with its NUL or not. */
static size_t name_len(const UnixSkEntry *e)
{
	return unix_name_is_path(e) ? strnlen((const char *)e->name.data, e->name.len) : e->name.len;
}

bool unix_name_equal(const UnixSkEntry *a, const UnixSkEntry *b)
{
	size_t len = name_len(a);

	if (!len || len != name_len(b) || memcmp(a->name.data, b->name.data, len) != 0)
		return false;
	return !strcmp(a->name_dir ? a->name_dir : "", b->name_dir ? b->name_dir : "");
}

/* sun_path need not end with a NUL. */
enum { PATH_ROOM = sizeof(((struct sockaddr_un *)0)->sun_path) + 1 };

static const char *path_of(const struct sockaddr_un *sun, char path[static PATH_ROOM])
{
	memcpy(path, sun->sun_path, PATH_ROOM - 1);
	path[PATH_ROOM - 1] = 0;
	return path;
}

static socklen_t address(const UnixSkEntry *e, struct sockaddr_un *ret)
{
	size_t len = name_len(e);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len > sizeof(ret->sun_path))
		len = sizeof(ret->sun_path); /* unix_name_check() has refused it */
	if (len)
		memcpy(ret->sun_path, e->name.data, len);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* The cwd is the name's directory between enter() and leave(). Returns what to go back by, -1: nothing to do. */
static int enter(const UnixSkEntry *e, int *ret_back)
{
	auto_close int back = -1;

	*ret_back = -1;
	if (!unix_name_is_path(e) || e->name.data[0] == '/')
		return 0;
	if (!e->name_dir || e->name_dir[0] != '/')
		return err_say(EINVAL, "a relative name without a directory");
	back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (back < 0)
		return err_set(errno, "open the working directory");
	if (chdir(e->name_dir) < 0)
		return err_set(errno, "enter %s", e->name_dir);
	*ret_back = take_fd(&back);
	return 0;
}

static int leave(const UnixSkEntry *e, int back, int r)
{
	auto_close int fd = back;

	if (fd >= 0 && fchdir(fd) < 0 && r >= 0)
		return err_set(errno, "go back to the working directory");
	return fd < 0 ? r : err_ctx(r, "in %s", e->name_dir);
}

/*
 * Is somebody alive behind the name? A datagram socket asks: a stream socket
 * refuses it with EPROTOTYPE and takes no notice, a datagram socket is not told at all.
 */
static int test_dead(const struct sockaddr_un *sun, socklen_t len, const char *text)
{
	auto_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return err_set(errno, "socket()");
	err = connect(fd, (const struct sockaddr *)sun, len) < 0 ? errno : 0;
	if (err == ECONNREFUSED)
		return 0;
	if (err == EACCES) /* it is said before anybody looks who is there */
		return err_set(EACCES, "unix socket %s: look whether somebody uses it", text);
	return err_say(EADDRINUSE, "unix socket %s is in use", text);
}

/* 0: free; 1: the file of a dead socket is there, see *st. */
static int test_path(const struct sockaddr_un *sun, socklen_t len, struct stat *st)
{
	char path[PATH_ROOM], text[UNIX_NAME_TEXT];
	int r;

	path_of(sun, path);
	unix_name_text(path, strlen(path), text);
	if (lstat(path, st) < 0)
		return errno == ENOENT ? 0 : err_set(errno, "%s", text);
	if (!S_ISSOCK(st->st_mode))
		return err_say(EEXIST, "%s is there and is not a socket", text);
	r = test_dead(sun, len, text);
	return r < 0 ? r : 1;
}

int unix_name_check(const UnixSkEntry *e)
{
	char text[UNIX_NAME_TEXT];
	struct sockaddr_un sun;
	struct stat st;
	socklen_t len = address(e, &sun);
	int back, r;

	if (name_len(e) > sizeof(sun.sun_path) || (e->name_dir && strlen(e->name_dir) >= PATH_MAX))
		return err_say(EINVAL, "a name of %zu bytes is too long", e->name.len);
	if (!unix_name_is(e))
		return 0;
	if (!unix_name_is_path(e))
		return test_dead(&sun, len, entry_text(e, text));
	r = enter(e, &back);
	if (r < 0)
		return r;
	r = leave(e, back, test_path(&sun, len, &st));
	return r < 0 ? r : 0;
}

struct placed {
	const char *path;
	bool had;   /* a dead socket file was there */
	bool bound; /* ours is there now */
	struct stat st;
};

static void unplace(void *arg)
{
	const struct placed *p = arg;
	const struct timespec times[2] = { p->st.st_atim, p->st.st_mtim };

	if (p->bound)
		unlink(p->path);
	if (p->had && mknod(p->path, S_IFSOCK | (p->st.st_mode & 0777), 0) == 0 &&
	    lchown(p->path, p->st.st_uid, p->st.st_gid) == 0) {
		chmod(p->path, p->st.st_mode & 07777);
		utimensat(AT_FDCWD, p->path, times, AT_SYMLINK_NOFOLLOW);
	}
}

/* By the socket's own inode, not by its path, which others might have exchanged. */
static int give_away(int fd, const UnixSkEntry *e)
{
	auto_close int file = -1;
	char link[64], text[UNIX_NAME_TEXT];

	if (!e->file_perms)
		return 0;
	file = unix_path_open(fd);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	if (file < 0 || fchownat(file, "", e->file_perms->uid, e->file_perms->gid, AT_EMPTY_PATH) < 0 ||
	    chmod(link, e->file_perms->mode & 07777) < 0)
		return err_set(errno, "set owner and mode of unix socket %s", entry_text(e, text));
	return 0;
}

static int bind_path(struct restoring *r, int fd, const UnixSkEntry *e, const struct sockaddr_un *sun, socklen_t len)
{
	struct placed *p = arena_alloc(r->a, sizeof(*p));
	char path[PATH_ROOM], text[UNIX_NAME_TEXT];
	int err = test_path(sun, len, &p->st);

	if (err < 0)
		return err;
	path_of(sun, path);
	p->path = path[0] == '/' ? arena_strdup(r->a, path) : arena_printf(r->a, "%s/%s", e->name_dir, path);
	if (err == 1 && unlink(path) < 0)
		return err_set(errno, "replace %s", entry_text(e, text));
	p->had = err == 1;
	restoring_undo(r, unplace, p);
	if (bind(fd, (const struct sockaddr *)sun, len) < 0)
		return err_set(errno, "bind unix socket %s", entry_text(e, text));
	p->bound = true;
	return give_away(fd, e);
}

int unix_name_bind(struct restoring *r, int fd, const UnixSkEntry *e)
{
	char text[UNIX_NAME_TEXT];
	struct sockaddr_un sun;
	socklen_t len = address(e, &sun);
	int back, err;

	if (!unix_name_is(e))
		return 0;
	if (!unix_name_is_path(e)) {
		if (bind(fd, (const struct sockaddr *)&sun, len) < 0)
			return err_set(errno, "bind unix socket %s", entry_text(e, text));
		return 0;
	}
	err = enter(e, &back);
	return err < 0 ? err : leave(e, back, bind_path(r, fd, e, &sun, len));
}

int unix_name_connect(int fd, const UnixSkEntry *e)
{
	char text[UNIX_NAME_TEXT];
	struct sockaddr_un sun;
	socklen_t len = address(e, &sun);
	int back, err = enter(e, &back);

	if (err < 0)
		return err;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || connect(fd, (const struct sockaddr *)&sun, len) < 0)
		err = err_set(errno, "connect to unix socket %s", entry_text(e, text));
	return leave(e, back, err);
}

int unix_name_unlink(const UnixSkEntry *e)
{
	struct sockaddr_un sun;
	char path[PATH_ROOM], text[UNIX_NAME_TEXT];
	int back, err = enter(e, &back);

	if (err < 0)
		return err;
	address(e, &sun);
	if (unlink(path_of(&sun, path)) < 0 && errno != ENOENT)
		err = err_set(errno, "unlink %s", entry_text(e, text));
	return leave(e, back, err);
}
