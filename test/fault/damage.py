# SPDX-License-Identifier: Apache-2.0
"""Damaged images of every type: cut short, with single bits flipped, missing.

Whatever is done to them, thaw restore ends by itself: with exit code 1, one sentence and nothing left behind, or with
a restored tree, where the damage is such that nobody can notice it. The flips are the same in every run (seeds). A
flip in the contents of memory cannot be noticed: pages are only cut.

The box's disk is read-only but for the test's directory (box.py), since a flipped bit may well make another file's name
or O_TRUNC.
"""
import functools
import os
import random
import re
import shutil

import box
import kinds
from box import check
from case import case, case_add

PROGRAM = os.path.join(box.BUILD, 'test/fault/rich')
FLIPS = 40
# Every type of image that rich.c leads to.
TYPES = ('inventory', 'pstree', 'core', 'ids', 'fs', 'mm', 'pagemap', 'pagemap-shmem', 'memfd', 'fdinfo', 'files',
         'remap-fpath', 'ghost-file', 'filelocks', 'pipes-data', 'fifo-data', 'sk-queues')
OPTIONS = ['--file-locks']


def type_of(name):
    """'core' of 'core-12.img'."""
    return re.sub(r'(-[0-9a-f]+)?\.img$', '', name)


def images_of(kind):
    """The images of one type, largest first: a child's are often smaller."""
    names = [n for n in os.listdir('images') if n.endswith('.img') and type_of(n) == kind]
    check(names, f'the dump wrote no image of the type {kind}: {sorted(os.listdir("images"))}')
    return sorted(names, key=lambda n: -os.path.getsize(f'images/{n}'))


def dumped():
    """Makes ./images; the tree is gone, its files are saved."""
    pid = kinds.start(PROGRAM)
    box.dump(pid, 'images', *OPTIONS)
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    kinds.saved()
    return pid


def restored(name, data, fill='serial'):
    """Restores the images with one file replaced by data (None: missing); the Result.

    Fails when thaw crashes, hangs, leaves something or says anything but one sentence."""
    shutil.rmtree('damaged', ignore_errors=True)
    os.mkdir('damaged')
    for n in os.listdir('images'):
        if n.endswith('.img') and n != name:
            os.link(f'images/{n}', f'damaged/{n}')
    if data is not None:
        with open(f'damaged/{name}', 'wb') as f:
            f.write(data)
    r = box.thaw('restore', 'damaged', '-d', *OPTIONS, *box.FILL[fill], timeout=30)
    if r.code == 0:
        box.kill_all()
        kinds.put_back()
    else:
        box.refused(r)
        box.nothing_left(r.err.strip())
        there, saved = (sorted(x for _, ds, fs in os.walk(d) for x in ds + fs) for d in (kinds.DIR, 'saved'))
        check(there == saved, f'files were left or lost: {set(there) ^ set(saved)}')
    return r


def intact(name):
    """The image itself still restores: the tests before did not fail for another reason."""
    r = restored(name, read(name))
    check(r.code == 0, f'the undamaged images do not restore: {r}')


def read(name):
    with open(f'images/{name}', 'rb') as f:
        return f.read()


# --- cut ------------------------------------------------------------------------------------------------------------

def record_ends(data):
    """Where a file of size-prefixed messages may end without anybody noticing. Behind some messages lies a payload
    that this does not know; then it stops at the first one."""
    ends, at = [8], 8
    while at + 4 <= len(data):
        at += 4 + int.from_bytes(data[at:at + 4], 'little')
        ends.append(at)
    return [e for e in ends if e < len(data)]


def cut(kind):
    dumped()
    for name in images_of(kind)[:2]:
        data = read(name)
        unseen = record_ends(data)
        n = len(data)
        for length in sorted({0, 1, 4, 7, 8, 10, 12, n // 4, n // 2, 3 * n // 4, n - 5, n - 1}):
            if length < 0 or length >= n:
                continue
            r = restored(name, data[:length])
            check(r.code == 1 or length in unseen, f'{name} cut from {n} to {length} bytes was restored all the same')
    intact(name)


def cut_pages(fill):
    """A pages file that ends anywhere: the sentence names it."""
    dumped()
    name = max((n for n in os.listdir('images') if n.startswith('pages-')), key=lambda n: os.path.getsize(f'images/{n}'))
    data = read(name)
    random.seed(3)
    lengths = {0, 1, 4095, 4096, len(data) // 2, len(data) - 4096, len(data) - 1}
    for length in sorted(lengths | {random.randrange(len(data)) for _ in range(10)}):
        r = restored(name, data[:length], fill)
        check(r.code == 1 and name in r.err, f'{name} cut to {length} of {len(data)} bytes: {r}')
    intact(name)


# --- bits -----------------------------------------------------------------------------------------------------------

def flips(kind):
    dumped()
    random.seed(kind)
    names = images_of(kind)[:3]
    taken = 0
    for i in range(FLIPS):
        name = names[i % len(names)]
        data = bytearray(read(name))
        bit = random.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        print(f'bit {bit % 8} of byte {bit // 8} of {name}')
        taken += restored(name, bytes(data)).code == 0
    print(f'{taken} of {FLIPS} flipped bits in {kind} were restored')
    intact(name)


# --- missing --------------------------------------------------------------------------------------------------------

# Images that say "nothing of this kind" by not being there.
MAY_BE_ABSENT = ('seccomp', 'timens', 'filelocks', 'ids', 'fifo-data', 'pipes-data', 'sk-queues')


@case('image missing', limit=120)
def missing():
    dumped()
    for name in sorted(n for n in os.listdir('images') if n.endswith('.img')):
        r = restored(name, None)
        check(r.code == 1 or type_of(name) in MAY_BE_ABSENT,
              f'without {name} the images were restored all the same')
    intact('inventory.img')


@case('every type is damaged')
def every_type():
    """No type of image that a dump writes is left out above."""
    dumped()
    types = {type_of(n) for n in os.listdir('images') if n.endswith('.img')}
    left_out = types - set(TYPES) - {'pages', 'seccomp', 'timens'}
    check(not left_out, f'these types of images are not tested: {left_out}')


for k in TYPES:
    case_add(f'cut/{k}', functools.partial(cut, k), limit=120)
    case_add(f'bit flips/{k}', functools.partial(flips, k), limit=120)
for f in box.FILL:
    case_add(f'cut/pages, {f}', functools.partial(cut_pages, f), limit=120)
