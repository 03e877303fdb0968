# SPDX-License-Identifier: Apache-2.0
"""Dumps of much memory that come to nothing: no room for the huge pages of an image in memory or for the blocks of one on a
disk, not even half-way; a limit on the size of files; a control group that is too small. The program goes on unharmed, and no
images are left that look complete."""
import contextlib
import os

import box
import cgroup
import facts
import kinds
import pageio
from box import check
from case import case

BULK = pageio.BULK


@contextlib.contextmanager
def untouched():
    """What is done to this program does not show in it: pid."""
    pid = kinds.start(BULK)
    before = facts.tree(box.pids())

    def same(when):
        box.check(box.state(pid) not in ('T', 't'), f'{when}: it is left stopped')
        kinds.same(before, when)
    yield pid, same
    kinds.passes(pid, 'in the end')


def fails(pid, same, where, when, *options, text='', **kw):
    r = box.refused(box.thaw('dump', where, '-t', pid, *options, **kw), text)
    check(not [x for x in os.listdir(where) if x.endswith('.img')], f'{when}: images were left: {os.listdir(where)}')
    same(f'{when}: {r.err}')


@case('dump ways/no room in memory', limit=120)
def no_room():
    """An image in tmpfs is copied into mapped huge pages: there a missing page would be a signal, not an error."""
    with untouched() as (pid, same):
        box.tmpfs('whole', 200 << 20)
        box.dump(pid, 'whole', '--leave-running')
        need = sum(os.path.getsize(f'whole/{f}') for f in os.listdir('whole')) >> 12
        box.must(box.run(['umount', 'whole']))
        for pages in (1, 300, 512, 513, need // 3, need // 2 | 1, 73 << 8, 81 << 8, need - 40, need - 2):
            box.tmpfs('small', pages << 12)
            fails(pid, same, 'small', f'{pages} pages of {need}', text='no space left')
            box.must(box.run(['umount', 'small']))


@case('dump ways/no room on a disk', limit=120)
def disk_full():
    with untouched() as (pid, same):
        box.must(box.run(['mkdir', 'images']))
        for mib in (12, 60, 88):
            with pageio.disk(mib):
                for mode in pageio.MODES:
                    fails(pid, same, 'disk', f'{mib} MiB, {mode}', f'--page-io={mode}', text='no space left')


@case('dump ways/limit of file sizes')
def size_limit():
    with untouched() as (pid, same):
        box.tmpfs('memory', 200 << 20)
        os.mkdir('disk')
        for where in ('memory', 'disk'):
            for mib in (1, 50, 71):
                r = box.run(['prlimit', f'--fsize={mib << 20}', box.THAW, 'dump', '-t', str(pid), '-D', where])
                box.refused(r, 'file too large')
                check(not os.path.exists(f'{where}/inventory.img'), f'{where}: images that were cut look complete')
                same(f'{where}, {mib} MiB')


@case('dump ways/control group', limit=120)
def group():
    """The memory of an image in tmpfs is its writer's: it fails with a sentence, or is killed for it, which is said."""
    with untouched() as (pid, same), cgroup.made('memory', 'memory.limit_in_bytes', 'memory.max', keep=[pid]) as g:
        worked = []
        for mib in (8, 30, 60, 90, 400):
            g.set(mib << 20)
            box.tmpfs('memory', 200 << 20)
            r = box.thaw('dump', 'memory', '-t', pid, '--leave-running', preexec_fn=g.enter)
            if r.code:
                box.refused(r)
                check(not os.path.exists('memory/inventory.img'), f'{mib} MiB: images that look complete: {r}')
            worked.append(r.code == 0)
            same(f'{mib} MiB: {r.err}')
            box.must(box.run(['umount', 'memory']))
        check(not worked[0] and worked[-1], f'which limits let the dump through: {worked}')
