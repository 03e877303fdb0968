# SPDX-License-Identifier: Apache-2.0
"""Golden tests: images that CRIU 4.2 wrote (criu-4.2/images.tar.gz, of criu-4.2/subject.c, on a CPU with AVX-512).

  decode         they decode, and encode again to the same bytes (test_golden.c)
  criu/KIND      they restore, and the subject in them says PASS
  own/KIND       the same subject, compiled here: dumped by thaw, restored by thaw, PASS; serially and in parallel

The images name /var/tmp/thaw-fixture; a box has its own tmpfs there. Where the CPU has no AVX-512, thaw is told not
to insist on it (--cpu-cap=none) and the subject's string functions are led around it (evex.py).
"""
import functools
import os
import signal

import box
import evex
from box import BUILD, check
from case import case, case_add

HERE = os.path.dirname(os.path.abspath(__file__))
DIR = '/var/tmp/thaw-fixture'
ROOTS = {'mem': 21001, 'threads': 22001, 'tree': 23001, 'fds': 24001}


@case('decode', limit=300, boxed=False)
def decode():
    box.must(box.run([f'{HERE}/golden.sh', f'{BUILD}/asan/unit/test_golden'], timeout=290))


def unpack():
    os.mkdir('fixture')
    box.must(box.run(['tar', '-xzf', f'{HERE}/criu-4.2/images.tar.gz', '--no-same-owner', '-C', 'fixture']))


def verdict(kind):
    with open(f'{DIR}/{kind}.state') as f:
        return f.readline().strip()


def passes(kind, when):
    """Lets the subject check itself. It ends as a child of ours: init of its PID namespace."""
    pid = ROOTS[kind]
    check(box.state(pid) not in ('', 'Z'), f'{when}: the subject does not run: {verdict(kind)}')
    os.kill(pid, signal.SIGTERM)
    status = box.wait_gone(pid, 30)
    check(verdict(kind) == 'PASS', f'{when}: {verdict(kind)}; the subject {box.status_text(status)}')
    box.nothing_left(when)


def criu(kind, fill, change=None):
    """change: what is done to the images before they are restored."""
    unpack()
    if change:
        change(f'fixture/{kind}')
    os.mkdir(DIR)
    box.must(box.run(['cp', '-p', 'fixture/subject', f'fixture/{kind}.state', DIR]))
    if kind == 'fds':
        os.mkfifo(f'{DIR}/fds.state.fifo', 0o600)
    if evex.cpu_has_avx512():
        box.restore(f'fixture/{kind}', *box.FILL[fill])
    else:
        box.restore(f'fixture/{kind}', *box.FILL[fill], '--cpu-cap=none')
        evex.redirect(f'{DIR}/subject', [p for p in box.pids() if box.state(p) != 'Z'])
    passes(kind, 'restored')


def no_avx512():
    """On a CPU that lacks what the image's tasks used, the restore says so before it makes anything."""
    if evex.cpu_has_avx512():
        raise box.Skipped('this CPU has all that the images need')
    unpack()
    os.mkdir(DIR)
    box.must(box.run(['cp', '-p', 'fixture/subject', 'fixture/mem.state', DIR]))
    box.refused(box.thaw('restore', 'fixture/mem', '-d'))
    box.nothing_left('refused', timeout=1)


def own(kind, fill):
    pid = ROOTS[kind]
    os.mkdir(DIR)
    box.must(box.run(['cp', f'{BUILD}/test/golden/subject', DIR]))
    with open('/proc/sys/kernel/ns_last_pid', 'w') as f:
        f.write(str(pid - 1))
    check(box.spawn([f'{DIR}/subject', kind, f'{DIR}/{kind}.state'], cwd='/') == pid, f'the subject did not become {pid}')
    box.until(lambda: os.path.exists(f'{DIR}/{kind}.state') and verdict(kind) == f'ready {pid}')
    box.until(lambda: box.state(pid) == 'S')
    for n in (1, 2):
        box.dump(pid, f'images{n}')
        box.wait_gone(pid)
        box.nothing_left('after the dump')
        box.restore(f'images{n}', *box.FILL[fill])
    passes(kind, 'restored twice')


for k in ROOTS:
    case_add(f'criu/{k}/serial', functools.partial(criu, k, 'serial'))
    case_add(f'criu/{k}/parallel', functools.partial(criu, k, 'parallel'))
    case_add(f'own/{k}/serial', functools.partial(own, k, 'serial'))
    case_add(f'own/{k}/parallel', functools.partial(own, k, 'parallel'))
case_add('cpu without AVX-512', no_avx512)
