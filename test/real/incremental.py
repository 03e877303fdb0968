# SPDX-License-Identifier: Apache-2.0
"""Images that build upon older ones: a program (pages.c) changes its memory in every way between pre-dumps and dumps,
and every word must be right after a restore from the chain."""
import errno
import functools
import json
import os
import random
import re
import shutil
import signal
import time

import box
import filter as seccomp
from box import check
from case import case, case_add

PROGRAM = os.path.join(box.BUILD, 'test/real/pages')
DEEDS = ('change', 'byte', 'zero', 'drop', 'kernel', 'move', 'swap', 'grow', 'replace', 'protect')


def tracker():
    """Skips the test where the kernel cannot track."""
    r = box.run([box.THAW, 'check'])
    line = next(x for x in r.out.splitlines() if 'uffd-wp-async' in x)
    if not line.startswith('ok'):
        raise box.Skipped(line)


def answer(name):
    """What the program says; the file is taken away."""
    def there():
        return os.path.exists(f'{name}.done')
    box.until(there, 30)
    with open(f'{name}.done') as f:
        text = f.read()
    os.unlink(f'{name}.done')
    return text


def start():
    pid = box.spawn([PROGRAM])
    check(answer('main') == 'ready', 'it did not start')
    return pid


def do(pid, deeds, name='main'):
    """The digest of what its memory must hold."""
    with open(f'{name}.do', 'w') as f:
        f.write(deeds or 'nothing')
    os.kill(pid, signal.SIGUSR1)
    text = answer(name)
    check(text.startswith('right '), f'after "{deeds}": {name}: {text}')
    return text


def stats(images):
    """Pages stored, pages left to the parents."""
    out = box.must(box.run([box.THAW, 'show', f'{images}/stats-dump'])).out
    return [int(re.search(rf'"{k}":\s*"?(\d+)', out).group(1)) for k in ('pages_written', 'pages_skipped_parent')]


def keepers():
    return [p for p in box.pids() if box.comm(p) == 'thaw-track' and box.state(p) != 'Z']


def flags(pid):
    with open(f'/proc/{pid}/smaps') as f:
        return f.read()


def pre_dump(pid, n, **kw):
    prev = ['--prev-images-dir', f'../{n - 1}'] if n > 1 else []
    return box.must(box.thaw('pre-dump', f'images/{n}', '-t', pid, *prev, **kw))


def dump(pid, n, *args):
    os.makedirs('images', exist_ok=True)
    box.dump(pid, f'images/{n}', '--prev-images-dir', f'../{n - 1}', *args)


def restored(pid, n, digest, fill='serial'):
    """Restores images/n; the memory must be that of the digest."""
    box.wait_gone(pid)
    box.nothing_left('before the restore')
    box.restore(f'images/{n}', *box.FILL[fill])
    check(do(pid, '') == digest, f'memory is not what it was before the dump of images/{n}')
    check(' uw' not in flags(pid), 'tracking came back with the restore')


def chain(seed):
    """Random deeds between three pre-dumps, a dump that lets it run on, and a dump."""
    tracker()
    dice = random.Random(seed)
    pid = start()
    os.mkdir('images')
    for n in range(1, 4):
        pre_dump(pid, n)
        do(pid, ' '.join(dice.choices(DEEDS, k=3)))
    dump(pid, 4, '-R', '--track-mem')
    digest = do(pid, dice.choice(DEEDS))
    dump(pid, 5)
    stored, left = stats('images/5')
    check(left > 0 and stored < 9000, f'{stored} pages were stored, {left} left to the parents')
    restored(pid, 5, digest, 'parallel' if seed % 2 else 'serial')
    digest = do(pid, 'change drop')
    box.kill_all()


for k in range(1, 9):
    case_add(f'incremental/chain {k}', functools.partial(chain, k), limit=120)


def one_deed(deed):
    """A deed between a pre-dump and the dump that builds upon it."""
    tracker()
    pid = start()
    os.mkdir('images')
    pre_dump(pid, 1)
    digest = do(pid, deed)
    dump(pid, 2)
    check(stats('images/2')[1] > 1000, 'hardly anything was left to the parent')
    restored(pid, 2, digest, 'parallel')
    box.kill_all()


for d in DEEDS:
    case_add(f'incremental/{d}', functools.partial(one_deed, d), limit=60)


@case('incremental/exec')
def exec_():
    """Another program in the same process: nothing is left to the parent."""
    tracker()
    pid = start()
    os.mkdir('images')
    pre_dump(pid, 1)
    with open('main.do', 'w') as f:
        f.write('exec')
    os.kill(pid, signal.SIGUSR1)
    check(answer('main') == 'again', 'it did not start again')
    digest = do(pid, 'change')
    dump(pid, 2)
    check(stats('images/2')[1] == 0, 'pages were left to the parent')
    restored(pid, 2, digest)
    box.kill_all()


@case('incremental/fork')
def fork():
    """A child born after the pre-dump is stored whole; its parent is not."""
    tracker()
    pid = start()
    os.mkdir('images')
    pre_dump(pid, 1)
    digest = do(pid, 'fork')
    answer('child')
    with open(f'/proc/{pid}/task/{pid}/children') as f:
        child = int(f.read())
    digests = digest, do(child, 'change', 'child')
    dump(pid, 2)
    check(stats('images/2')[1] > 1000, 'hardly anything was left to the parent')
    restored(pid, 2, digests[0], 'parallel')
    check(do(child, '', 'child') == digests[1], 'the child')
    box.kill_all()


def tree(fill):
    """Parent and child, with memory in common (copy-on-write), are both tracked; a keeper keeps both."""
    tracker()
    pid = start()
    os.mkdir('images')
    do(pid, 'fork')
    answer('child')
    with open(f'/proc/{pid}/task/{pid}/children') as f:
        child = int(f.read())
    pre_dump(pid, 1)
    check(len(keepers()) == 1, f'keepers: {keepers()}')
    do(pid, 'change drop')
    do(child, 'change', 'child')
    pre_dump(pid, 2)
    digests = do(pid, 'change'), do(child, 'kernel', 'child')
    dump(pid, 3)
    stored, left = stats('images/3')
    check(left > 8000 and stored < 6000, f'{stored} pages were stored, {left} left to the parents')
    restored(pid, 3, digests[0], fill)
    check(do(child, '', 'child') == digests[1], 'the child')
    box.kill_all()


for way in box.FILL:
    case_add(f'incremental/tree/{way}', functools.partial(tree, way))


@case('incremental/keeper killed')
def keeper_killed():
    """Without the keeper everything counts as changed, and nothing of the tracking is left."""
    tracker()
    pid = start()
    fds = os.listdir(f'/proc/{pid}/fd')
    os.mkdir('images')
    pre_dump(pid, 1)
    check(os.listdir(f'/proc/{pid}/fd') == fds, 'a descriptor was left in the process')
    check(' uw' in flags(pid), 'nothing is tracked')
    k = keepers()
    check(len(k) == 1, f'keepers: {k}')
    os.kill(k[0], signal.SIGKILL)
    box.wait_gone(k[0])
    check(' uw' not in flags(pid), 'the tracking did not end with its keeper')
    digest = do(pid, 'change')
    dump(pid, 2)
    check(stats('images/2')[1] == 0, 'pages were left to the parent')
    restored(pid, 2, digest)
    box.kill_all()


@case('incremental/other images')
def other_images():
    """Tracking since other images than those that are built upon is worth nothing."""
    tracker()
    pid = start()
    os.mkdir('images')
    pre_dump(pid, 1)
    do(pid, 'change')
    box.must(box.thaw('pre-dump', 'images/x', '-t', pid))
    digest = do(pid, 'change')
    dump(pid, 2)
    check(stats('images/2')[1] == 0, 'pages were left to images that are too old')
    restored(pid, 2, digest)
    box.kill_all()


@case('incremental/failed')
def failed():
    """A dump that fails leaves the process tracked as it was, or not at all; the next one is right."""
    tracker()
    pid = start()
    os.mkdir('images')
    pre_dump(pid, 1)
    do(pid, 'change')
    with open('full', 'w'):
        pass
    os.mkdir('small')
    box.tmpfs('small', '256k')
    r = box.thaw('pre-dump', 'small', '-t', pid, '--prev-images-dir', '../images/1', log=os.path.abspath('small.log'))
    check(r.code == 1, f'it was expected to fail: {r}')
    check(os.listdir('small') == [], f'left: {os.listdir("small")}')
    digest = do(pid, 'change')
    dump(pid, 2)
    restored(pid, 2, digest)
    box.kill_all()


@case('incremental/dedup')
def dedup():
    """thaw dedup frees pages of the parents; the newest images restore all the same."""
    os.mkdir('empty')
    box.refused(box.run([box.THAW, 'dedup', '-D', 'empty']), 'empty: is not an image directory')
    tracker()
    pid = start()
    os.mkdir('images')
    pre_dump(pid, 1)
    do(pid, 'change')
    pre_dump(pid, 2)
    digest = do(pid, 'change')
    dump(pid, 3)
    files = [f'images/{n}/pages-1.img' for n in (1, 2)]
    before = [(os.stat(f).st_size, os.stat(f).st_blocks) for f in files]
    box.must(box.run([box.THAW, 'dedup', '-D', 'images/3', '-o', os.path.abspath('dedup.log')]))
    after = [(os.stat(f).st_size, os.stat(f).st_blocks) for f in files]
    check([s for s, _ in before] == [s for s, _ in after], 'a file has another length')
    check(after[0][1] < before[0][1], f'nothing was freed: {before} {after}')
    restored(pid, 3, digest, 'parallel')
    box.kill_all()


def made_chain():
    """images/1 to 3 of a program that is gone; its PID and digest."""
    tracker()
    pid = start()
    os.mkdir('images')
    pre_dump(pid, 1)
    do(pid, 'change')
    pre_dump(pid, 2)
    digest = do(pid, 'change')
    dump(pid, 3)
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    return pid, digest


@case('incremental/broken chains')
def broken():
    """A chain with something missing is refused by name, and nothing is left."""
    pid, digest = made_chain()
    shutil.copytree('images', 'whole', symlinks=True)
    shown = json.loads(box.must(box.run([box.THAW, 'show', 'images/3', '--json'])).out)
    check(shown['restorable'] and [x['path'] for x in shown['builds_upon']] ==
          ['images/3/parent', 'images/3/parent/parent'] and all(x['bytes'] > 1 << 18 for x in shown['builds_upon']),
          f'thaw show does not know the chain: {shown.get("builds_upon")}')

    def refuse(text):
        box.refused(box.thaw('restore', 'images/3', '-d'), text)
        box.nothing_left(text)
        shutil.rmtree('images')
        shutil.copytree('whole', 'images', symlinks=True)

    shutil.rmtree('images/1')
    refuse('images/3/parent')
    os.unlink('images/3/parent')
    refuse('but there is no parent')
    os.unlink(f'images/1/pagemap-{pid}.img')
    refuse(f'pagemap-{pid}.img')
    os.truncate('images/1/pages-1.img', 4096)
    refuse('images/3/parent/parent: pages-1.img: has 4096 bytes')
    os.symlink('../3', 'images/1/parent')
    refuse('leads back to itself')
    shutil.copy('images/2/pagemap-%d.img' % pid, 'images/1')
    shutil.copy('images/2/pages-1.img', 'images/1')
    refuse('there is no parent')
    box.refused(box.thaw('restore', 'images/1', '-d'), 'is a pre-dump')
    restored(pid, 3, digest)
    box.kill_all()


@case('incremental/auto-dedup')
def auto_dedup():
    """A restore with --auto-dedup empties the files of the whole chain, in parallel as in serial."""
    pid, digest = made_chain()
    os.rename('images', 'whole')
    left = {}
    for fill, way in box.FILL.items():
        box.must(box.run(['cp', '-a', 'whole', 'images']))
        box.restore('images/3', '--auto-dedup', *way)
        check(do(pid, '') == digest, 'memory is not what it was')
        left[fill] = [os.stat(f'images/{n}/pages-1.img').st_blocks * 512 for n in (1, 2, 3)]
        box.kill_all()
        box.wait_gone(pid)
        shutil.rmtree('images')
    check(left['serial'][0] < 4 << 20, f'{left["serial"]} bytes are left in the images')
    check(left['parallel'] == left['serial'], f'bytes left in the images: {left}')


def memory(pid):
    """What it takes, in KiB."""
    with open(f'/proc/{pid}/smaps_rollup') as f:
        return {m[1]: int(m[2]) for m in re.finditer(r'^(Rss|Pss|AnonHugePages):\s+(\d+) kB', f.read(), re.M)}


@case('incremental/huge pages', limit=120)
def huge_pages():
    """Ranges of 2 MiB whose pages lie in several directories become huge pages as if all were in one, however they are
    read; nothing takes more memory than before the dump."""
    tracker()
    pid = start()
    os.mkdir('images')
    pre_dump(pid, 1)
    do(pid, 'change')
    pre_dump(pid, 2)
    digest = do(pid, 'change')
    before = memory(pid)
    dump(pid, 3, '-R')
    box.dump(pid, 'images/full')
    huge = {}
    for images, *way in (('full',), ('3',), ('3', '--disable-parallel-restore'), ('3', '--page-io=uring'),
                         ('3', '--page-io=direct'), ('3', '--auto-dedup')):
        box.wait_gone(pid)
        box.nothing_left(f'before {images} {way}')
        box.restore(f'images/{images}', *(way or box.FILL['parallel']))
        after = memory(pid)
        check(all(after[x] <= before[x] + 512 for x in ('Rss', 'Pss')), f'{way}: it takes {after} KiB, before {before}')
        check(do(pid, '') == digest, f'{images} {way}: memory is not what it was')
        huge[images, *way] = after['AnonHugePages']
        box.kill_all()
    check(len(set(huge.values())) == 1, f'KiB in huge pages: {huge}')
    if any(x.startswith('ok') and 'huge-pages' in x for x in box.run([box.THAW, 'check']).out.splitlines()):
        check(huge['full',] >= 24 << 10, f'KiB in huge pages: {huge}')


@case('incremental/refused')
def refused():
    """Directories that cannot be built upon are refused before anything is lost."""
    tracker()
    pid = start()
    os.mkdir('images')
    os.mkdir('images/empty')
    pre_dump(pid, 1)
    box.refused(box.thaw('pre-dump', 'images/2', '-t', pid, '--prev-images-dir', '../none'), 'no such image directory')
    box.refused(box.thaw('pre-dump', 'images/2', '-t', pid, '--prev-images-dir', '../empty'), 'inventory.img')
    box.refused(box.thaw('pre-dump', 'images/1', '-t', pid, '--prev-images-dir', '../1'), 'builds upon')
    check(os.path.exists('images/1/inventory.img'), 'images were lost')
    digest = do(pid, 'change')
    dump(pid, 2)
    check(stats('images/2')[1] > 1000, 'hardly anything was left to the parent')
    restored(pid, 2, digest)
    box.kill_all()


@case('incremental/tracker not trusted')
def not_trusted():
    """Where the self-test of tracking fails, for whichever reason, nothing is tracked, and nothing is written."""
    pid = start()
    for nr, err, more in ((seccomp.USERFAULTFD, errno.EPERM, {}), (seccomp.USERFAULTFD, errno.ENOSYS, {}),
                          (seccomp.IOCTL, errno.ENOTTY, {'arg': 1, 'equal': 0xc0606610})):  # PAGEMAP_SCAN
        for line in (['pre-dump'], ['dump', '--leave-running', '--track-mem']):
            deny = seccomp.deny(nr, err, **more)
            box.refused(box.run([box.THAW, *line, '-D', 'images', '-t', str(pid)], preexec_fn=deny), 'cannot be trusted')
            check(not os.path.exists('images/inventory.img') and not keepers(), 'images or a keeper')
    do(pid, 'change')
    box.kill_all()


@case('incremental/thaw killed', limit=240)
def killed():
    """thaw is killed at random moments of pre-dumps: the program goes on, and what is dumped next is right."""
    tracker()
    dice = random.Random(1)
    pid = start()
    os.mkdir('images')
    fds = len(os.listdir(f'/proc/{pid}/fd'))
    done = 0

    def as_it_was():
        """the program to have the descriptors that it had, and nobody to trace it"""
        with open(f'/proc/{pid}/status') as f:
            return len(os.listdir(f'/proc/{pid}/fd')) == fds and 'TracerPid:\t0' in f.read()

    for n in range(40):
        if n % 8 == 0:
            pre_dump(pid, 1)
            left = stats('images/1')
            check(left[1] == 0, 'a pre-dump without a parent')
        do(pid, dice.choice(DEEDS))
        shutil.rmtree('images/2', ignore_errors=True)
        victim = box.spawn([box.THAW, 'pre-dump', '-D', 'images/2', '--prev-images-dir', '../1', '-t', str(pid)])
        time.sleep(dice.random() * 0.08)  # the random moment itself
        whom = [victim] + [p for p in box.pids() if box.comm(p) == 'thaw' and p != victim]
        for p in whom if n % 2 else whom[-1:]:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        box.wait_gone(victim)
        done += not os.path.exists('images/2/inventory.img')
        do(pid, dice.choice(DEEDS))
        box.until(as_it_was, 10)
    print(f'{done} of 40 were killed before their end')
    digest = do(pid, 'change')
    base = 2 if os.path.exists('images/2/inventory.img') else 1
    shutil.rmtree('images/3', ignore_errors=True)
    box.dump(pid, 'images/3', '--prev-images-dir', f'../{base}')
    restored(pid, 3, digest, 'parallel')
    box.kill_all()
