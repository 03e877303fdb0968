# SPDX-License-Identifier: Apache-2.0
"""The ways in which pages get to their places, each in trouble: whole ranges that are moved (UFFDIO_MOVE), small pages that
are copied (UFFDIO_COPY), shared memory that the engine fills. Reading for each of them fails, ends early, comes short; the
kernel refuses the way itself, at once or when it is used. And a thaw that was built without liburing."""
import errno
import functools
import glob
import os
import signal
import subprocess

import box
import faulty
import filter as seccomp
import kinds
import pageio
from box import check
from case import case, case_add

MOVE, COPY, REGISTER, API = 0xc028aa05, 0xc028aa03, 0xc020aa00, 0xc018aa3f
PLACES = ('whole ranges', 'small pages', 'shared memory')
FILTERED = ('Seccomp', 'NoNewPrivs')  # a filter that thaw has is the restored process's, too


def places():
    """{place: (pages file, offset in it)}: the program's private memory lies in one, first 72 MiB of whole ranges."""
    private, shared = sorted(glob.glob('pages-*.img', root_dir='images'), key=lambda n: -os.path.getsize(f'images/{n}'))[:2]
    check(os.path.getsize(f'images/{shared}') > 11 << 20, 'the shared memory has no file of its own')
    return dict(zip(PLACES, ((private, 36 << 20), (private, 75 << 20), (shared, 6 << 20))))


def failing(name, at, error):
    """A fault of faulty.py: what lies at that place cannot be read, or the file seems to end there."""
    def fault(n, offset, length):
        if n != name or not offset <= at < offset + length:
            return length if n != name or offset < at or error else 0
        if error:
            raise OSError(error, n)
        return at - offset
    return fault


def unread(place, error):
    pid, _ = pageio.dumped()
    name, at = places()[place]
    for mode, fill in pageio.WAYS:
        with faulty.mounted('images', 'faulty', failing(name, at, error)):
            r = box.refused(pageio.restored('faulty', mode, fill), name)
        check(not error or 'input/output error' in r.err.lower(), f'{mode}, {fill}: {r}')
        box.nothing_left(f'{mode}, {fill}')
    box.must(pageio.restored('images', 'auto', 'parallel'))
    kinds.passes(pid, 'restored in the end')


for p in PLACES:
    case_add(f'page ways/read error: {p}', functools.partial(unread, p, errno.EIO), limit=120)
    case_add(f'page ways/ends meanwhile: {p}', functools.partial(unread, p, 0), limit=120)


@case('page ways/short reads of shared memory', limit=120)
def short_shared():
    """The engine goes on after reads that come short, or are to be tried again."""
    pid, before = pageio.dumped()
    name, _ = places()['shared memory']
    for mode in pageio.MODES:
        seen = {'short': 0}

        def fault(n, offset, length, seen=seen):
            if n != name:
                return length
            if offset // 4096 % 7 == 3 and offset not in seen:
                seen[offset] = 1
                raise OSError((errno.EAGAIN, errno.EINTR)[len(seen) % 2], n)
            most = (12345, 4096, 1 << 20, 50000)[offset // 4096 % 4]
            seen['short'] += most < length
            return most
        with faulty.mounted('images', 'faulty', fault):
            box.must(pageio.restored('faulty', mode, 'parallel'))
        check(seen['short'] and len(seen) > 1, f'{mode}: there were no faults: {seen}')
        kinds.same(before, mode)
        kinds.passes(pid, mode)
        kinds.put_back()


def worker_killed(mode):
    """It is killed when only small pages are left."""
    pid, _ = pageio.dumped()
    name, at = places()['small pages']
    killed = []

    def fault(n, offset, length):
        if n == name and offset + length > at and not killed:
            killed.extend(pageio.children(pid)[:1])
            for p in killed:
                os.kill(p, signal.SIGKILL)
        return length
    with faulty.mounted('images', 'faulty', fault):
        box.refused(pageio.restored('faulty', mode, 'parallel'), 'a page worker was killed')
    check(killed, 'there was no page worker to be seen')
    box.nothing_left('a page worker was killed')
    box.must(pageio.restored('images', mode, 'parallel'))
    kinds.passes(pid, 'restored in the end')


for m in pageio.MODES:
    case_add(f'page ways/worker killed over small pages, {m}', functools.partial(worker_killed, m))


# --- the kernel refuses -------------------------------------------------------------------------------------------------

def ioctl(number, err):
    return seccomp.deny(seccomp.IOCTL, err, arg=1, equal=number)


REFUSED = {
    'userfaultfd, no permission': seccomp.deny(seccomp.USERFAULTFD, errno.EPERM),
    'userfaultfd, not known': seccomp.deny(seccomp.USERFAULTFD, errno.ENOSYS),
    'its API': ioctl(API, errno.EINVAL),
    'watching': ioctl(REGISTER, errno.ENOMEM),
    'moving, not known': ioctl(MOVE, errno.EINVAL),
    'moving, busy': ioctl(MOVE, errno.EBUSY),
    'moving, no memory': ioctl(MOVE, errno.ENOMEM),
}


def refused(which):
    """Another way is taken, and nothing of it is to be seen afterwards."""
    pid, before = pageio.dumped()
    for mode, fill in (w for w in pageio.WAYS if w[0] in ('read', 'direct')):
        box.must(pageio.restored('images', mode, fill, preexec_fn=REFUSED[which]))
        kinds.same(before, f'{mode}, {fill}', FILTERED)
        kinds.passes(pid, f'{mode}, {fill}')
        kinds.put_back()


for w in REFUSED:
    case_add(f'page ways/refused: {w}', functools.partial(refused, w), limit=120)


@case('page ways/refused: copying, no memory', limit=120)
def no_copy():
    """There is no other way left for the small pages that were read: one sentence, nothing left."""
    pid, _ = pageio.dumped()
    for mode, fill in pageio.WAYS:
        box.refused(pageio.restored('images', mode, fill, preexec_fn=ioctl(COPY, errno.ENOMEM)), 'memory')
        box.nothing_left(f'{mode}, {fill}')
    box.must(pageio.restored('images', 'auto', 'parallel'))
    kinds.passes(pid, 'restored in the end')


# --- without liburing ---------------------------------------------------------------------------------------------------

def built_without_liburing():
    """Links a thaw of the same objects, but those that know liburing, which are compiled anew."""
    gen = os.path.join(box.BUILD, 'gen')
    old, new = [], []
    for path in glob.glob(f'{box.TOP}/src/**/*.c', recursive=True):
        name = os.path.relpath(path, f'{box.TOP}/src')[:-2]
        if name.split('/')[0] in ('pie', 'preload'):
            continue
        with open(path) as f:
            if 'HAVE_LIBURING' not in f.read():
                old.append(f'{box.BUILD}/{name}.o')
                continue
        new.append(os.path.abspath(name.replace('/', '_') + '.o'))
        box.must(box.run(['gcc', '-std=gnu17', '-D_GNU_SOURCE', '-O2', '-pthread', f'-I{box.TOP}/src', f'-I{gen}', f'-I{gen}/proto',
                          '-Wall', '-Wextra', '-Werror', '-c', '-o', new[-1], path]))
    check(new, 'nothing knows liburing')
    more = glob.glob(f'{gen}/proto/*.o') + [f'{box.BUILD}/pie/blob.embed.o']
    box.must(box.run(['gcc', '-o', 'thaw', *old, *new, *more, '-lprotobuf-c', '-ljson-c', '-pthread']))
    return os.path.abspath('thaw')


@case('page ways/built without liburing', limit=120)
def without_liburing():
    """It dumps and restores like the other, in every mode, from a disk as well."""
    pid, before = pageio.dumped()
    thaw = built_without_liburing()
    said = subprocess.run(['nm', thaw], capture_output=True, text=True, check=True).stdout
    check('io_uring_queue_init' not in said, 'liburing is in it all the same')
    with pageio.disk():
        for mode, fill in pageio.WAYS:
            pageio.drop()
            box.must(box.run([thaw, 'restore', '-d', '-D', 'disk/images', f'--page-io={mode}', *box.FILL[fill]]))
            kinds.same(before, f'{mode}, {fill}')
            if (mode, fill) == pageio.WAYS[-1]:
                break
            kinds.passes(pid, f'{mode}, {fill}')
            kinds.put_back()
    box.must(box.run([thaw, 'dump', '-t', str(pid), '-D', 'images', '--page-io=direct']))
    box.wait_gone(pid)
    box.must(pageio.restored('images', 'auto', 'parallel'))
    kinds.passes(pid, 'dumped by it')
