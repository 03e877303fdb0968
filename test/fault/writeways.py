# SPDX-License-Identifier: Apache-2.0
"""Writing the images fails, call by call (sabotage.c): each call of a kind that a dump makes on image files, in turn. The
dump fails with one sentence that names the file and the reason, the target goes on untouched and no image is left; or the
call is one that a dump can do without, and the images restore. In memory and on a disk, in every mode of --page-io."""
import errno
import functools
import os
import shutil

import box
import kinds
import pageio
from box import check
from case import case_add

LIBRARY = os.path.join(box.BUILD, 'test/fault/sabotage.so')
RICH = os.path.join(box.BUILD, 'test/fault/rich')
LOCKS = '--file-locks'
MOST = 400  # no dump here makes so many calls of a kind
# call: (how it fails, whether a dump may go on without it)
CALLS = {
    'write': ((errno.EIO, errno.ENOSPC, errno.EDQUOT), False),
    'pwrite': ((errno.EIO, errno.ENOSPC), True),  # the first byte of a huge page: small ones do
    'pwritev': ((errno.EIO, errno.EDQUOT, errno.EFBIG), False),
    'openat': ((errno.EMFILE, errno.EIO, errno.EROFS), False),
    'renameat': ((errno.EIO,), False),
    'fallocate': ((errno.ENOSPC, errno.EOPNOTSUPP), True),
    'ftruncate': ((errno.EIO,), True),
    'close': ((errno.EIO, errno.EDQUOT), True),  # the last of a file tells nothing new
}


def attempt(pid, where, call, step, why, *options):
    """One dump whose call fails: its result, None if there is no such call."""
    shutil.rmtree(where, ignore_errors=True)
    if os.path.exists('mark'):
        os.remove('mark')
    env = {**os.environ, 'LD_PRELOAD': LIBRARY, 'FAIL_CALL': call, 'FAIL_STEP': str(step), 'FAIL_ERRNO': str(int(why)),
           'FAIL_MARK': os.path.abspath('mark')}
    r = box.thaw('dump', where, '-t', pid, *options, env=env, log=os.path.abspath('log'),
                 program=box.DYNAMIC)
    return r if os.path.exists('mark') else None


def each(pid, before, where, call, *options):
    """Each call of that kind; (how many there were, how many the dump went on without)."""
    whys, spare = CALLS[call]
    went_on = 0
    for step in range(1, MOST):
        why = whys[step % len(whys)]
        r = attempt(pid, where, call, step, why, '--leave-running', *options)
        if r is None:
            return step - 1, went_on
        when = f'{call} {step}, {errno.errorcode[why]}, {where} {" ".join(options)}'
        if r.code:
            box.refused(r, os.strerror(why))
            check('.img' in r.err or 'the image of a deleted file' in r.err, f'{when}: which file? {r}')
            check(not os.listdir(where), f'{when}: left {os.listdir(where)}')
        else:
            check(spare, f'{when}: nobody noticed')
            check(os.path.exists(f'{where}/inventory.img'), f'{when}: no images')
            went_on += 1
        kinds.same(before, when)
    raise box.Failed(f'{call}: no end of it')


def images(call):
    """Of a program of all kinds: small images."""
    pid = kinds.start(RICH)
    before = kinds.settled()
    n, went_on = each(pid, before, 'images', call, LOCKS)
    print(f'{call}: {n} calls, {went_on} the dump went on without')
    check(n, f'a dump makes no {call} of images')
    check(call != 'close' or n - went_on > 10, f'{n} calls, {went_on} the dump went on without')
    kinds.passes(pid, call)


def pages(where, mode, cpus=None):
    """Of a program with much memory: pages, in memory and on a disk."""
    pid = kinds.start(pageio.BULK)
    before = kinds.settled()
    if where == 'memory':
        box.tmpfs('memory', 400 << 20)
    else:
        os.mkdir('disk')
    seen = {}
    if cpus:
        os.sched_setaffinity(0, cpus)  # thaw's as well
    for call in CALLS:
        if call in ('write', 'openat') and (mode != 'auto' or cpus):
            continue
        seen[call] = each(pid, before, f'{where}/images', call, f'--page-io={mode}')
    print(f'{where}, {mode}: (calls, the dump went on without): {seen}')
    check(seen['ftruncate' if where == 'memory' else 'pwritev'][0], f'pages were written by other calls: {seen}')
    spare = [c for c in ('pwrite', 'fallocate') if seen[c][0]]  # without which the images are whole as well
    if spare:
        box.must(attempt(pid, f'{where}/images', spare[0], 1, errno.ENOSPC, f'--page-io={mode}'))
    else:
        shutil.rmtree(f'{where}/images', ignore_errors=True)
        box.dump(pid, f'{where}/images', f'--page-io={mode}')
    box.wait_gone(pid)
    box.restore(f'{where}/images')
    kinds.passes(pid, 'restored in the end')


for c in ('write', 'openat', 'renameat', 'close'):
    case_add(f'write ways/{c}', functools.partial(images, c), limit=120)
for w in ('memory', 'disk'):
    for m in pageio.MODES:
        case_add(f'write ways/{w}, {m}', functools.partial(pages, w, m), limit=120)
    case_add(f'write ways/{w}, one CPU', functools.partial(pages, w, 'auto', [min(os.sched_getaffinity(0))]), limit=120)
