/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals. A terminal is a connection to a person or to a program outside of
 * the tree, so it cannot be brought back, only be replaced: with --shell-job the
 * tree gets the terminal that the restore runs on, in the old one's mode. Without
 * it a terminal is refused. There is one: a second one would have no replacement.
 *
 * One kind of terminal needs nobody: the one whose other end has gone (a logged-out
 * session's). Every call on it fails with EIO, and so it is made: a new pair, of
 * which the other end is closed. On the wire it is an entry without termios.
 */
#include <asm/termbits.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "kind/description.h"
#include "kind/terminal.h"

enum { TTY_MAJOR = 4, PTS_MAJOR = 136, PTS_MAJOR_LAST = 143 };

/* A terminal of the dump. */
struct terminal {
	struct terminal *next;
	TtyInfoEntry *info;
	uint64_t rdev;
	bool gone;
};

static bool is_pts(uint64_t rdev)
{
	return major(rdev) >= PTS_MAJOR && major(rdev) <= PTS_MAJOR_LAST;
}

static bool tty_match(const struct fd_facts *f)
{
	struct termios2 t;

	if (!S_ISCHR(f->st.st_mode) || f->flags & O_PATH)
		return false;
	return !ioctl(f->fd, TCGETS2, &t) ||
	       (errno == EIO &&
		(is_pts(f->st.st_rdev) || major(f->st.st_rdev) == TTY_MAJOR || major(f->st.st_rdev) == TERMINAL_AUX));
}

static TtyType type_of(uint64_t rdev)
{
	if (is_pts(rdev))
		return TTY_TYPE__PTY;
	if (rdev == makedev(TERMINAL_AUX, 0))
		return TTY_TYPE__CTTY;
	if (rdev == makedev(TERMINAL_AUX, 1))
		return TTY_TYPE__CONSOLE;
	return major(rdev) == TTY_MAJOR && minor(rdev) < 64 ? TTY_TYPE__VT : TTY_TYPE__SERIAL;
}

static TermiosEntry *termios_message(struct arena *a, const struct termios2 *t)
{
	TermiosEntry *m = arena_msg(a, termios_entry, TermiosEntry);

	m->c_iflag = t->c_iflag;
	m->c_oflag = t->c_oflag;
	m->c_cflag = t->c_cflag;
	m->c_lflag = t->c_lflag;
	m->c_line = t->c_line;
	m->c_ispeed = t->c_ispeed;
	m->c_ospeed = t->c_ospeed;
	m->n_c_cc = TERMINAL_CCS;
	m->c_cc = arena_alloc(a, TERMINAL_CCS * sizeof(*m->c_cc));
	for (size_t i = 0; i < TERMINAL_CCS; i++)
		m->c_cc[i] = t->c_cc[i];
	return m;
}

static void dump_state(struct arena *a, int fd, TtyInfoEntry *info)
{
	struct termios2 t = { 0 };
	struct termios locked;
	struct winsize w;
	int exclusive = 0;

	if (ioctl(fd, TCGETS2, &t) < 0)
		return;
	info->termios = termios_message(a, &t);
	if (!ioctl(fd, TIOCGLCKTRMIOS, &locked)) {
		memset(&t, 0, sizeof(t));
		memcpy(&t, &locked, sizeof(locked));
		info->termios_locked = termios_message(a, &t);
	}
	if (!ioctl(fd, TIOCGEXCL, &exclusive))
		info->exclusive = exclusive != 0;
	if (ioctl(fd, TIOCGWINSZ, &w) < 0)
		return;
	info->winsize = arena_msg(a, winsize_entry, WinsizeEntry);
	info->winsize->ws_row = w.ws_row;
	info->winsize->ws_col = w.ws_col;
	info->winsize->ws_xpixel = w.ws_xpixel;
	info->winsize->ws_ypixel = w.ws_ypixel;
}

/* Session and foreground group, as the tasks show them: ioctl() would tell only about our own terminal. */
static void dump_session(const struct dumping *d, uint64_t rdev, TtyInfoEntry *info)
{
	for (size_t i = 0; i < d->ntasks; i++) {
		const struct proc_stat *s = &d->tasks[i].stat;
		uint64_t ctty = makedev(((uint32_t)s->tty_nr >> 8) & 0xfff,
					((uint32_t)s->tty_nr & 0xff) | (((uint32_t)s->tty_nr >> 12) & 0xfff00));

		if (s->tty_nr && ctty == rdev) {
			info->sid = (uint32_t)s->session;
			info->pgrp = s->tpgid > 0 ? (uint32_t)s->tpgid : 0;
			return;
		}
	}
}

static TtyInfoEntry *info_new(struct dumping *d, const struct fd_facts *f, uint32_t id)
{
	TtyInfoEntry *info = arena_msg(d->a, tty_info_entry, TtyInfoEntry);

	info->id = id;
	info->type = type_of(f->st.st_rdev);
	info->rdev = (uint32_t)f->st.st_rdev;
	info->has_dev = info->has_uid = info->has_gid = true;
	info->dev = (uint32_t)f->st.st_dev;
	info->uid = f->st.st_uid;
	info->gid = f->st.st_gid;
	if (info->type == TTY_TYPE__PTY) {
		info->pty = arena_msg(d->a, tty_pty_entry, TtyPtyEntry);
		info->pty->index = minor(f->st.st_rdev);
	}
	dump_session(d, f->st.st_rdev, info);
	dump_state(d->a, f->fd, info);
	return info;
}

static int refuse(const struct dumping *d, const struct fd_facts *f, bool gone)
{
	if (f->st.st_rdev == makedev(TERMINAL_AUX, 2))
		return err_say(ENOTSUP, "%s: pty masters are not supported yet", f->link);
	if (gone && !is_pts(f->st.st_rdev))
		return err_say(ENOTSUP, "%s: a terminal that has been hung up is not supported yet", f->link);
	if (!gone && !d->opts->shell_job)
		return err_say(ENOTSUP, "%s is a terminal: with --shell-job (-j) the restore's terminal takes its place",
			       f->link);
	/* a terminal belongs to one session: that of thaw's terminal cannot become another's */
	for (size_t i = 0; !gone && i < d->ntasks; i++)
		if (d->tasks[i].stat.tty_nr && d->tasks[i].stat.session == d->tasks[i].pid)
			return err_say(ENOTSUP, "%s: a terminal whose session (%d) is in the tree is not supported yet", f->link,
				       d->tasks[i].pid);
	return 0;
}

static int terminal_get(struct dumping *d, const struct fd_facts *f, TtyInfoEntry **ret)
{
	struct terminal *all = d->kind_state[KIND_STATE_TTY], *k;
	struct termios2 t;
	bool gone = ioctl(f->fd, TCGETS2, &t) < 0;
	int err = refuse(d, f, gone);

	if (err < 0)
		return err;
	for (k = all; k; k = k->next)
		if (k->rdev == f->st.st_rdev && k->gone == gone)
			break;
	for (const struct terminal *o = all; !k && o; o = o->next)
		if (!gone && !o->gone && o->info->type != TTY_TYPE__CTTY && type_of(f->st.st_rdev) != TTY_TYPE__CTTY)
			return err_say(ENOTSUP, "%s: a second terminal is not supported yet", f->link);
	if (!k) {
		k = arena_alloc(d->a, sizeof(*k));
		*k = (struct terminal){ .next = all, .rdev = f->st.st_rdev, .gone = gone };
		k->info = info_new(d, f, all ? all->info->id + 1 : 1);
		snap_add(d->snap, IMG_TTY_INFO, &k->info->base);
		d->kind_state[KIND_STATE_TTY] = k;
	}
	*ret = k->info;
	return 0;
}

/* The name under which it was opened, as an entry of its own. */
static uint32_t dump_name(struct dumping *d, const struct fd_facts *f, FownEntry *fown)
{
	FileEntry *file = arena_msg(d->a, file_entry, FileEntry);
	RegFileEntry *reg = arena_msg(d->a, reg_file_entry, RegFileEntry);
	const char *deleted = strstr(f->link, " (deleted)");

	reg->id = dumping_next_id(d);
	reg->flags = f->flags;
	reg->fown = fown;
	reg->name = deleted ? arena_printf(d->a, "%.*s", (int)(deleted - f->link), f->link) :
			      arena_strdup(d->a, f->link);
	reg->has_mode = true;
	reg->mode = f->st.st_mode;
	file->type = FD_TYPES__REG;
	file->id = reg->id;
	file->reg = reg;
	snap_add(d->snap, IMG_FILES, &file->base);
	return reg->id;
}

static int tty_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	TtyFileEntry *tty = arena_msg(d->a, tty_file_entry, TtyFileEntry);
	TtyInfoEntry *info = NULL;
	int err = terminal_get(d, f, &info);

	if (!info)
		return err;
	tty->id = e->id;
	tty->tty_info_id = info->id;
	tty->flags = f->flags;
	tty->fown = dumping_fown(d, f->fd);
	tty->has_regf_id = true;
	tty->regf_id = dump_name(d, f, tty->fown);
	e->tty = tty;
	return 0;
}

static void tty_describe(const FileEntry *e, char *text, size_t len)
{
	if (e->tty)
		snprintf(text, len, "terminal %u", e->tty->tty_info_id);
}

const struct kind_fd kind_fd_tty = {
	.name = "terminal",
	.type = FD_TYPES__TTY,
	.match = tty_match,
	.dump = tty_dump,
	.check = terminal_check,
	.open = terminal_open,
	.emit = terminal_emit,
	.describe = tty_describe,
};
