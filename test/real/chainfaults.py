# SPDX-License-Identifier: Apache-2.0
"""Chunks of which the parts lie in several images of a chain, when one of these cannot be read, ends early, or its reader is
killed: one sentence that names the file, nothing left; and whole again, the chain restores."""
import errno
import functools
import os
import signal

import box
import faulty
import incremental
from box import check
from case import case_add

WAYS = [(mode, fill) for mode in ('auto', 'read', 'uring', 'direct') for fill in box.FILL]
PAGES = 'pages-1.img'


def broken(link):
    """Puts a file system with faults, which knows no links, in the place of a parent without one: images/LINK/parent."""
    path = f'images/{link}/parent'
    os.unlink(path)
    os.symlink('../../faulty', path)
    return f'images/{link - 1}'


def mended(link):
    os.unlink(f'images/{link}/parent')
    os.symlink(f'../{link - 1}', f'images/{link}/parent')


def restore(mode, fill):
    return box.thaw('restore', 'images/3', '-d', f'--page-io={mode}', *box.FILL[fill])


def unread(link, error):
    """The middle of the parent's pages is an I/O error, or where they end all of a sudden."""
    pid, digest = incremental.made_chain()
    at = os.path.getsize(f'images/{link - 1}/{PAGES}') // 2 & ~4095

    def fault(name, offset, length):
        if name != PAGES or offset + length <= at:
            return length
        if error:
            raise OSError(error, name)
        return max(0, at - offset)
    below = broken(link)
    for mode, fill in WAYS:
        with faulty.mounted(below, 'faulty', fault):
            r = box.refused(restore(mode, fill), PAGES)
        check('parent' in r.err, f'{mode}, {fill}: it does not say in which directory: {r}')
        check(not error or 'input/output error' in r.err.lower(), f'{mode}, {fill}: {r}')
        box.nothing_left(f'{mode}, {fill}')
    mended(link)
    incremental.restored(pid, 3, digest, 'parallel')
    box.kill_all()


case_add('incremental/read error in a parent', functools.partial(unread, 2, errno.EIO), limit=120)
case_add('incremental/a parent ends meanwhile', functools.partial(unread, 2, 0), limit=120)


def killed(mode):
    """A page worker is killed while it reads the parent's part of a chunk."""
    pid, digest = incremental.made_chain()
    workers = []

    def fault(name, offset, length):
        if name == PAGES and not workers:
            for p in box.pids():
                with open(f'/proc/{p}/stat') as f:
                    if int(f.read().rsplit(')', 1)[1].split()[1]) == pid:
                        workers.append(p)
            for p in workers[:1]:
                os.kill(p, signal.SIGKILL)
        return length
    with faulty.mounted(broken(2), 'faulty', fault):
        box.refused(restore(mode, 'parallel'), 'a page worker was killed')
    check(workers, 'there was no page worker to be seen')
    box.nothing_left('a page worker was killed')
    mended(2)
    incremental.restored(pid, 3, digest, 'parallel')
    box.kill_all()


for m in ('read', 'uring', 'direct'):
    case_add(f'incremental/worker killed over a parent, {m}', functools.partial(killed, m))
