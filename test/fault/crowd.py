# SPDX-License-Identifier: Apache-2.0
"""A dump with several tracers: of eighty processes whose threads come and go all the while.

The tree stands as a whole, or not at all: it is dumped and restores; a dump that fails with the tree half read, and one
whose engine is killed, leave every thread running and nobody traced."""
import os
import random
import shutil
import signal
import struct
import time

import box
from box import check
from case import case
from kills import thaw_killed

PROCESSES, ROUNDS, KILLS = 80, 12, 25
PROGRAM = os.path.join(box.BUILD, 'test/fault/crowd')
WORDS = 2 + 200


def read():
    with open('board', 'rb') as f:
        words = struct.unpack(f'{WORDS}Q', f.read())
    return words[0], words[1], words[2:2 + PROCESSES]


def start():
    pid = box.spawn([PROGRAM, os.path.abspath('board'), str(PROCESSES)])
    box.until(lambda: os.path.exists('board') and os.path.getsize('board') == 8 * WORDS and read()[0] == PROCESSES)
    return pid


def crowd():
    return [p for p in box.pids() if box.comm(p) == 'crowd' and box.state(p) not in ('', 'Z')]


def status(pid, tid, key):
    try:
        with open(f'/proc/{pid}/task/{tid}/status') as f:
            return next(line.split()[1] for line in f if line.startswith(key))
    except (FileNotFoundError, ProcessLookupError):
        return None  # it has ended meanwhile


def goes_on(when):
    """Fails unless every process makes threads, rightly, and no thread is traced or stopped."""
    first = read()[2]

    def moved():
        """all processes to make threads"""
        _, wrong, now = read()
        check(not wrong, f'{when}: {wrong} threads came out wrong')
        return all(a != b for a, b in zip(first, now))
    box.until(moved, 20)
    pids = crowd()
    check(len(pids) == PROCESSES, f'{when}: {len(pids)} of {PROCESSES} processes are left')
    for p in pids:
        for t in os.listdir(f'/proc/{p}/task'):
            check(status(p, t, 'TracerPid') in (None, '0'), f'{when}: thread {t} of {p} is traced')
            check(status(p, t, 'State') not in ('T', 't'), f'{when}: thread {t} of {p} is stopped')


@case('threads come and go', limit=240)
def come_and_go():
    pid = start()
    for n in range(ROUNDS):
        shutil.rmtree('images', ignore_errors=True)
        box.dump(pid, 'images', '--leave-running')
        goes_on(f'dump {n}')
    box.dump(pid, 'last')
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    before = read()[2]
    box.restore('last')
    goes_on('restored')
    check(all(a <= b for a, b in zip(before, read()[2])), 'restored threads have lost count')


@case('dump fails in the middle', limit=120)
def fails():
    pid = start()
    odd = crowd()[PROCESSES // 2]
    os.kill(odd, signal.SIGUSR1)
    box.until(lambda: status(odd, odd, 'Seccomp:') == '2')
    for n in range(ROUNDS):
        box.refused(box.thaw('dump', 'images', '-t', pid), 'a seccomp filter')
        goes_on(f'refused dump {n}')
        check(not os.path.exists('images/inventory.img'), 'the images look complete')


def killed(pid, n, seconds):
    shutil.rmtree('images', ignore_errors=True)
    os.mkdir('images')
    args = ['-t', pid, '-D', 'images', '-o', os.path.abspath('dump.log'), '--leave-running']
    cut = thaw_killed('dump', args, random.uniform(0, seconds), 'engine')
    goes_on(f'dump {n} {"killed" if cut else "ended"}')
    return cut


@case('engine killed', limit=240)
def engine_killed():
    random.seed(1)
    pid = start()
    t0 = time.monotonic()
    box.dump(pid, 'first', '--leave-running')
    seconds = time.monotonic() - t0
    cut = sum(killed(pid, n, seconds) for n in range(KILLS))
    print(f'{cut} of {KILLS} dumps were killed before their end')
    check(cut > KILLS // 4, f'only {cut} of {KILLS} dumps were killed before their end')
