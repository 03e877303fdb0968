# SPDX-License-Identifier: Apache-2.0
"""Reading pages, when reading is in trouble: a disk that fails in the middle of a pages file, reads that come short or
are to be tried again, an io_uring that is refused, wholly or half-way. And when it is not: in every mode of --page-io
the restored process is what it was, and nothing of a worker, a ring or a descriptor is to be seen in it."""
import contextlib
import errno
import fcntl
import functools
import os
import re
import signal
import struct

import box
import cgroup
import facts
import faulty
import filter as seccomp
import kinds
from box import Skipped, check
from case import case_add

BULK = os.path.join(box.BUILD, 'test/fault/bulk')
MODES = ('auto', 'read', 'uring', 'direct')
WAYS = [(mode, fill) for mode in MODES for fill in box.FILL]


def used(pid):
    """The memory that a process takes: {'Rss': KiB, 'Pss': KiB}."""
    with open(f'/proc/{pid}/smaps_rollup') as f:
        return {m[1]: int(m[2]) for m in re.finditer(r'^(Rss|Pss):\s+(\d+) kB', f.read(), re.M)}


def dumped(usage=None):
    """Makes ./images of a subject that is gone; its PID and the facts of its tree. usage gets what it took of memory."""
    pid = kinds.start(BULK)
    before = facts.tree(box.pids())
    if usage is not None:
        usage.update(used(pid))
    box.dump(pid, 'images')
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    kinds.saved()
    return pid, before


def restored(images, mode, fill, *options, **kw):
    return box.thaw('restore', images, '-d', '-W', '.', f'--page-io={mode}', *box.FILL[fill], *options, **kw)


def log(images='images'):
    with open(f'{images}.restore.log') as f:
        return f.read()


def read_mib():
    """What the log says was read: (through the page cache, directly, by io_uring)."""
    m = re.search(r'read (\d+) MiB through the page cache, (\d+) MiB directly; (\d+) MiB', log('disk/images'))
    check(m, f'the log does not say how pages were read: {log("disk/images")}')
    return [int(x) for x in m.groups()]


def pages_name():
    return max((n for n in os.listdir('images') if n.startswith('pages-')), key=lambda n: os.path.getsize(f'images/{n}'))


def drop():
    """Drops what the page cache has of the pages."""
    for n in (n for n in os.listdir('disk/images') if n.startswith('pages-')):
        fd = os.open(f'disk/images/{n}', os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


# --- a disk -----------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def disk(mib=256):
    """The images on an ext4 of their own, in a file (disk.img) on a loop device, at ./disk; none of them is cached."""
    if not os.path.exists('/dev/loop-control') or box.run(['which', 'mkfs.ext4']).code:
        raise Skipped('needs loop devices and mkfs.ext4')
    with open('disk.img', 'wb') as f:
        f.truncate(mib << 20)
    box.must(box.run(['mkfs.ext4', '-q', '-F', '-m0', 'disk.img']))
    os.makedirs('disk', exist_ok=True)
    if box.run(['mount', '-o', 'loop', 'disk.img', 'disk']).code:
        raise Skipped('no loop device can be mounted here')
    try:
        box.must(box.run(['cp', '-r', 'images', 'disk']))
        box.must(box.run(['sync', '-f', 'disk']))
        drop()
        yield
    finally:
        box.run(['umount', '-l', 'disk'])


def extents(path):
    """Where a file lies on its disk: (logical, physical, length) in bytes, by FIEMAP."""
    most = 200
    out = bytearray(struct.pack('<QQIIII', 0, 2**63, 1, 0, most, 0) + bytes(56 * most))
    with open(path, 'rb') as f:
        fcntl.ioctl(f, 0xc020660b, out)
    n = struct.unpack_from('<QQII', out)[3]
    return [struct.unpack_from('<QQQ', out, 32 + 56 * i) for i in range(n)]


def whole(mode, fill):
    """Restored from a cold disk, and again from the page cache. It takes no more memory than before the dump."""
    usage = {}
    pid, before = dumped(usage)
    with disk():
        for heat in ('cold', 'hot'):
            if heat == 'hot':
                box.must(box.run(['sh', '-c', 'cat disk/images/* >/dev/null']))
            box.must(restored('disk/images', mode, fill))
            kinds.same(before, f'restored {heat}')
            now = used(pid)
            check(all(now[x] <= usage[x] + 512 for x in usage), f'restored {heat} it takes {now} KiB, before {usage}')
            chosen(mode, fill, heat)
            if heat == 'cold':
                box.kill_all()
                kinds.put_back()
                drop()
    kinds.passes(pid, 'restored')


def chosen(mode, fill, heat):
    """The log says what was read how, and by whom."""
    check({'serial': 'serial page restore: asked for', 'parallel': 'parallel page restore with 2 workers'}[fill] in log('disk/images'),
          'the log does not say how many workers there were')
    if mode == 'read':
        return
    cached, direct, ringed = read_mib()
    check(cached + direct >= 80, f'{cached} and {direct} MiB are not all')
    if mode == 'direct' or (mode, heat) == ('auto', 'cold'):
        check(direct > 9 * cached, f'{heat}: {cached} MiB were read through the page cache')
    else:
        check(direct == 0, f'{heat}: {direct} MiB were read directly')
    if fill == 'serial':
        check(ringed == 0, f'{ringed} MiB were read by io_uring in the task itself')
    elif direct and re.search(r'io_uring initialized \(queue_depth=\d+\)', log('disk/images')):
        check(ringed > 9 * (direct - ringed), f'only {ringed} of {direct} MiB were read by io_uring')


for m, fl in WAYS:
    case_add(f'page io/{m}, {fl}', functools.partial(whole, m, fl), limit=120)


def written():
    """A dump that writes past the page cache writes the same."""
    pid = kinds.start(BULK)
    box.dump(pid, 'images', '--leave-running')
    kinds.saved()
    with disk():
        box.must(box.thaw('dump', 'disk/direct', '-t', pid, '--page-io=direct'))
        box.wait_gone(pid)
        for n in (n for n in os.listdir('images') if n.startswith('pages-')):
            # behind the 80 MiB lies what changes by itself: on which CPU it ran last
            box.must(box.run(['cmp', '-n', str(80 << 20), f'images/{n}', f'disk/direct/{n}']))
        box.must(restored('disk/direct', 'direct', 'parallel'))
    kinds.passes(pid, 'restored')


case_add('page io/written directly', written)


# --- workers ----------------------------------------------------------------------------------------------------------

def by_default():
    """Unasked, a restore of 96 MiB has four workers, but not more than it may use CPUs: by affinity, by quota."""
    pid, _ = dumped()
    cpus = os.sched_getaffinity(0)

    def workers(**kw):
        box.must(box.thaw('restore', 'images', '-d', '-W', '.', **kw))
        box.kill_all()
        kinds.put_back()
        return int(re.search(r'parallel page restore with (\d+) workers', log())[1])

    check(workers() <= min(4, len(cpus)), 'more workers than CPUs')
    check(workers(preexec_fn=lambda: os.sched_setaffinity(0, {min(cpus)})) == 1, 'more workers than its affinity has CPUs')
    with cgroup.made('cpu', 'cpu.cfs_quota_us', 'cpu.max') as g:
        g.set(100000)  # of a period of 100000 us, which is the default
        check(workers(preexec_fn=g.enter) == 1, 'more workers than a quota allows CPUs')


case_add('page io/workers by default', by_default)


# --- errors -----------------------------------------------------------------------------------------------------------

def broken_disk():
    """The disk ends in the middle of the pages: whatever lies behind is an I/O error."""
    pid, _ = dumped()
    name = pages_name()
    with disk():
        for mode, fill in WAYS:
            drop()
            size = os.path.getsize('disk.img')
            where = extents(f'disk/images/{name}')
            at = where[len(where) // 2]
            os.truncate('disk.img', at[1] + at[2] // 2 & ~4095)
            r = box.refused(restored('disk/images', mode, fill), name)
            check('input/output error' in r.err.lower(), f'{mode}, {fill}: {r}')
            box.nothing_left(f'{mode}, {fill}')
            os.truncate('disk.img', size)
    box.must(restored('images', 'auto', 'parallel'))
    kinds.passes(pid, 'restored in the end')


case_add('page io/disk breaks', broken_disk, limit=120)


def fused(fault, mode, fill, check_result):
    """Restores over a file system with faults."""
    with faulty.mounted('images', 'faulty', fault):
        check_result(restored('faulty', mode, fill))


def read_error():
    """EIO at any place of a pages file."""
    pid, _ = dumped()
    name = pages_name()
    size = os.path.getsize(f'images/{name}')
    for mode, fill in WAYS:
        for at in (0, size // 2 & ~4095, size - 4096):
            def fault(n, offset, length, bad=at):
                if n == name and offset <= bad < offset + length:
                    raise OSError(errno.EIO, n)
                return length

            def refused(r):
                box.refused(r, name)
                check('input/output error' in r.err.lower(), str(r))
            fused(fault, mode, fill, refused)
            box.nothing_left(f'{mode}, {fill}: an I/O error at {at}')
    box.must(restored('images', 'auto', 'parallel'))
    kinds.passes(pid, 'restored in the end')


case_add('page io/read error', read_error, limit=240)


def children(pid):
    """Processes, not threads: page workers are of that kind while the task is being restored."""
    out = []
    for p in box.pids():
        with contextlib.suppress(OSError), open(f'/proc/{p}/stat') as f:
            if int(f.read().rsplit(')', 1)[1].split()[1]) == pid:
                out.append(p)
    return out


def worker_killed(mode):
    """A page worker is killed in the middle of its work: the restore fails, says so, and leaves nothing."""
    pid, _ = dumped()
    name, killed = pages_name(), []

    def fault(n, offset, length):
        if n == name and offset >= 40 << 20 and not killed:
            killed.extend(children(pid)[:1])
            for p in killed:
                os.kill(p, signal.SIGKILL)
        return length
    fused(fault, mode, 'parallel', lambda r: box.refused(r, 'a page worker was killed'))
    check(killed, 'there was no page worker to be seen')
    box.nothing_left('a page worker was killed')
    box.must(restored('images', mode, 'parallel'))
    kinds.passes(pid, 'restored in the end')


for m in MODES:
    case_add(f'page io/worker killed, {m}', functools.partial(worker_killed, m), limit=60)


def cut(mode, fill):
    """The pages file ends early, at a page and not; a direct read ends there, too."""
    pid, _ = dumped()
    with disk():
        path = f'disk/images/{pages_name()}'
        size = os.path.getsize(path)
        os.rename(path, 'disk/whole')
        for length in (size - 1, size // 2 + 512, size // 2 & ~4095, (size // 3 & ~4095) - 1, 4096, 0):
            box.must(box.run(['cp', 'disk/whole', path]))
            os.truncate(path, length)
            drop()
            box.refused(restored('disk/images', mode, fill), os.path.basename(path))
            box.nothing_left(f'cut to {length}')
    box.must(restored('images', mode, fill))
    kinds.passes(pid, 'restored in the end')


for m, fl in WAYS:
    case_add(f'page io/cut, {m}, {fl}', functools.partial(cut, m, fl), limit=120)


def short_reads(mode, fill):
    """Reads that end anywhere, and reads that are to be tried again, are no errors."""
    pid, before = dumped()
    pages = pages_name()
    end = os.path.getsize(f'images/{pages}') - (1 << 20)  # what lies behind is read by the engine as well
    seen = set()
    count = {'short': 0, 'again': 0}

    def fault(name, offset, length):
        if name != pages or offset > end:
            return length
        if offset // 65536 % 5 == 1 and (name, offset) not in seen:
            seen.add((name, offset))
            count['again'] += 1
            raise OSError((errno.EAGAIN, errno.EINTR)[count['again'] % 2], name)
        most = (12345, 4096, 1 << 20, 100, 50000)[offset // 4096 % 5]
        count['short'] += most < length
        return most
    fused(fault, mode, fill, box.must)
    check(count['short'] and count['again'], f'there were no faults: {count}')
    kinds.same(before, f'{count}')
    kinds.passes(pid, f'restored by {count}')


for m, fl in WAYS:
    case_add(f'page io/short reads, {m}, {fl}', functools.partial(short_reads, m, fl), limit=120)


# --- io_uring refused -------------------------------------------------------------------------------------------------

# name: (what fails, whether the engine's probe sees it)
REFUSED = {
    'no permission': (seccomp.deny(seccomp.IO_URING_SETUP, errno.EPERM), True),
    'not known': (seccomp.deny(seccomp.IO_URING_SETUP, errno.ENOSYS), True),
    'no memory': (seccomp.deny(seccomp.IO_URING_SETUP, errno.ENOMEM), True),
    'register': (seccomp.deny(seccomp.IO_URING_REGISTER), True),
    'enter': (seccomp.deny(seccomp.IO_URING_ENTER), True),
    'register a file, half-way': (seccomp.deny(seccomp.IO_URING_REGISTER, arg=1, equal=6), False),
    'send, half-way': (seccomp.deny(seccomp.IO_URING_ENTER, arg=1, above=0), False),
    'wait, half-way': (seccomp.deny(seccomp.IO_URING_ENTER, arg=2, above=0), False),
}


def ring_refused(which):
    pid, _ = dumped()
    install, seen = REFUSED[which]
    failed = 0
    with disk():
        for mode in ('uring', 'direct', 'auto'):
            drop()
            box.must(restored('disk/images', mode, 'parallel', preexec_fn=install))
            text = log('disk/images')
            check(('io_uring not available: ' if seen else 'io_uring initialized') in text, f'{mode}: no word of it in the log')
            failed += 'io_uring failed in a page worker' in text
            check(mode == 'uring' or read_mib()[1] >= 60, f'{mode}: it was not read directly')
            kinds.passes(pid, mode)
            kinds.put_back()
    # a disk may be so quick that nothing is waited for; what lies in the page cache never is
    least = 0 if seen else 1 if which.startswith('wait') else 3
    check(failed >= least, f'{failed} of 3 restores said that io_uring failed')


for w in REFUSED:
    case_add(f'page io/io_uring refused: {w}', functools.partial(ring_refused, w), limit=120)


def no_cachestat():
    """auto cannot look into the page cache: it reads through it."""
    pid, _ = dumped()
    with disk():
        box.must(restored('disk/images', 'auto', 'parallel', preexec_fn=seccomp.deny(seccomp.CACHESTAT)))
        check(read_mib()[1] == 0, 'it was read directly')
    kinds.passes(pid, 'restored')


case_add('page io/no cachestat', no_cachestat, limit=60)


# --- pages that are punched out of the images -------------------------------------------------------------------------

def blocks():
    return sum(os.stat(f'disk/images/{n}').st_blocks * 512 for n in os.listdir('disk/images') if n.startswith('pages-'))


def freed():
    """--auto-dedup leaves of the pages what the serial path leaves, in every mode; nearly nothing."""
    pid, _ = dumped()
    left = {}
    with disk():
        for mode, fill in WAYS:
            box.must(box.run(['rm', '-r', 'disk/images']))
            box.must(box.run(['cp', '-r', 'images', 'disk']))
            drop()
            box.must(restored('disk/images', mode, fill, '--auto-dedup'))
            left[mode, fill] = blocks()
            kinds.passes(pid, f'{mode}, {fill}')
            kinds.put_back()
    least = left['read', 'serial']
    check(least < 1 << 20 and all(n <= least for n in left.values()), f'bytes on the disk: {left}')


case_add('page io/pages freed', freed, limit=120)


def not_freed(fill):
    """Images that cannot be punched restore all the same, and it is said."""
    pid, _ = dumped()
    before = os.stat(f'images/{pages_name()}').st_blocks
    r = box.must(restored('images', 'auto', fill, '--auto-dedup', preexec_fn=seccomp.deny(seccomp.FALLOCATE, errno.EOPNOTSUPP)))
    check('could not be freed' in log(), f'the log says nothing of it: {r}')
    check(os.stat(f'images/{pages_name()}').st_blocks == before, 'they were freed')
    kinds.passes(pid, 'restored')


for fl in box.FILL:
    case_add(f'page io/pages not freed, {fl}', functools.partial(not_freed, fl))
