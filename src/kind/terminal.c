/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals of a restore (terminal.h). Opened in the engine; the state is set by
 * the task, where all signals are blocked: the engine may be in the background,
 * and would be stopped by SIGTTOU.
 */
#include "kind/terminal.h"

#include <asm/termbits.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "kind/description.h"

/* O_LARGEFILE is 0 to libc here. */
enum { KERNEL_LARGEFILE = 0100000 };

static const TtyInfoEntry *info_of(const struct snap *s, const FileEntry *e)
{
	const struct img_msgs *infos = &s->list[IMG_TTY_INFO];

	for (size_t i = 0; e->tty && i < infos->n; i++) {
		const TtyInfoEntry *info = (const TtyInfoEntry *)infos->v[i].msg;

		if (info->id == e->tty->tty_info_id)
			return info;
	}
	return NULL;
}

static bool gone(const TtyInfoEntry *info)
{
	return info->type == TTY_TYPE__PTY && !info->termios;
}

bool terminal_has_name(const struct snap *s, uint32_t file_id)
{
	const struct img_msgs *files = &s->list[IMG_FILES];

	for (size_t i = 0; i < files->n && s->list[IMG_TTY_INFO].n; i++) {
		const FileEntry *e = (const FileEntry *)files->v[i].msg;

		if (e->tty && e->tty->has_regf_id && e->tty->regf_id == file_id)
			return true;
	}
	return false;
}

int terminal_check(struct restoring *r, const FileEntry *e)
{
	const TtyInfoEntry *info = info_of(r->snap, e);

	if (!info)
		return err_say(EINVAL, "its terminal is not in tty-info.img");
	if (info->rdev == makedev(TERMINAL_AUX, 2))
		return err_say(ENOTSUP, "pty masters are not supported yet");
	if (!gone(info) && !r->opts->shell_job)
		return err_say(ENOTSUP, "the tree had a terminal: with --shell-job (-j) it gets this one");
	return 0;
}

static int open_gone(uint32_t flags)
{
	/* this call keeps in the description whatever it is given, O_CLOEXEC too, and adds nothing */
	const int open_flags = (int)(flags & (O_ACCMODE | O_NONBLOCK | KERNEL_LARGEFILE)) | O_NOCTTY;
	auto_close int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlock = 0, fd;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_set(errno, "open /dev/ptmx");
	fd = ioctl(master, TIOCGPTPEER, open_flags);
	return fd < 0 ? err_set(errno, "open the other end of a new pty") : fd;
}

static int open_own(const TtyInfoEntry *info, uint32_t flags)
{
	struct termios2 t;
	int fd = -1;

	for (int std = 0; std <= 2 && fd < 0 && info->type != TTY_TYPE__CTTY; std++)
		if (!ioctl(std, TCGETS2, &t))
			fd = description_reopen(std, flags);
	if (fd < 0)
		fd = open("/dev/tty", (int)(flags & (O_ACCMODE | O_NONBLOCK)) | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return err_set(errno, "there is no terminal to hand over: /dev/tty");
	return fd;
}

int terminal_open(struct restoring *r, const FileEntry *e)
{
	const TtyInfoEntry *info = info_of(r->snap, e);

	if (!info)
		return err_say(EINVAL, "its terminal is not in tty-info.img");
	return gone(info) ? open_gone(e->tty->flags) : open_own(info, e->tty->flags);
}

static void termios_of(const TermiosEntry *m, struct termios2 *ret)
{
	*ret = (struct termios2){
		.c_iflag = m->c_iflag, .c_oflag = m->c_oflag, .c_cflag = m->c_cflag, .c_lflag = m->c_lflag,
		.c_line = (cc_t)m->c_line, .c_ispeed = m->c_ispeed, .c_ospeed = m->c_ospeed,
	};
	for (size_t i = 0; i < m->n_c_cc && i < TERMINAL_CCS; i++)
		ret->c_cc[i] = (cc_t)m->c_cc[i];
}

/* TCSETS takes the same structure without its last two members. */
static void emit_state(const TtyInfoEntry *info, int tfd, struct prog *p)
{
	struct termios2 t;
	bool odd_speed = (info->termios->c_cflag & CBAUD) == BOTHER;

	termios_of(info->termios, &t);
	prog_label(p, "fd %d: mode of the terminal", tfd);
	prog_sys(p, SYS_ioctl, (uint64_t)tfd, odd_speed ? TCSETS2 : TCSETS, prog_data(p->space, &t, sizeof(t)));
	if (info->winsize) {
		const struct winsize w = {
			.ws_row = (unsigned short)info->winsize->ws_row,
			.ws_col = (unsigned short)info->winsize->ws_col,
			.ws_xpixel = (unsigned short)info->winsize->ws_xpixel,
			.ws_ypixel = (unsigned short)info->winsize->ws_ypixel,
		};

		prog_try(p, SYS_ioctl, (uint64_t)tfd, TIOCSWINSZ, prog_data(p->space, &w, sizeof(w)));
	}
	if (info->exclusive)
		prog_try(p, SYS_ioctl, (uint64_t)tfd, TIOCEXCL, 0);
}

/* The group that had the foreground has it again, if it is one of the tree's. */
static void emit_foreground(const struct snap *s, const TtyInfoEntry *info, int tfd, struct prog *p)
{
	for (size_t i = 0; i < s->ntasks; i++)
		if (info->pgrp && s->tasks[i]->pst->pgid == info->pgrp) {
			prog_label(p, "fd %d: foreground group %u", tfd, info->pgrp);
			prog_try(p, SYS_ioctl, (uint64_t)tfd, TIOCSPGRP,
				 prog_data(p->space, &info->pgrp, sizeof(info->pgrp)));
			return;
		}
}

static bool is_first(const struct snap *s, const FileEntry *e)
{
	const struct img_msgs *files = &s->list[IMG_FILES];

	for (size_t i = 0; i < files->n; i++) {
		const FileEntry *o = (const FileEntry *)files->v[i].msg;

		if (o->tty && o->tty->tty_info_id == e->tty->tty_info_id)
			return o == e;
	}
	return false;
}

int terminal_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	const TtyInfoEntry *info = info_of(r->snap, e);

	if (info && !gone(info) && info->termios && is_first(r->snap, e)) {
		emit_state(info, tfd, p);
		emit_foreground(r->snap, info, tfd, p);
	}
	description_owner(e->tty->fown, tfd, p);
	description_async(e->tty->flags, tfd, p);
	return 0;
}
