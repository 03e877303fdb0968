# SPDX-License-Identifier: Apache-2.0
"""Tasks are killed while they are being restored, as the kernel does for want of memory: the restore fails with one
sentence and leaves nothing, or it was done already. It never waits for who is dead."""
import functools
import os
import random
import signal
import subprocess
import time

import board
import box
from box import check
from case import case_add

TIMES = 40


def restore_begun():
    """Starts a restore; the running thaw."""
    with open('thaw.err', 'w') as e:
        return subprocess.Popen([box.THAW, 'restore', '-d', '-D', 'images', '-o', os.path.abspath('restore.log'), '-v4'],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=e)


def one(n, victim, seconds):
    """One restore in which the task victim is killed; True if that ended it."""
    thaw = restore_begun()
    end = time.monotonic() + random.uniform(0, seconds)
    while True:  # at a random moment, but not before it is there
        try:
            os.kill(victim, 0)
            if time.monotonic() > end:
                os.kill(victim, signal.SIGKILL)
                break
        except ProcessLookupError:
            pass
        if thaw.poll() is not None:
            break
    try:
        code = thaw.wait(10)
    except subprocess.TimeoutExpired:
        thaw.kill()
        raise box.Failed(f'restore {n}: thaw waits for a task that was killed') from None
    if code == 0:
        box.kill_all()
        return False
    with open('thaw.err') as f:
        lines = f.read().splitlines()
    check(code == 1 and len(lines) == 1 and 'task ' in lines[0], f'restore {n}: exit code {code}: {lines}')
    box.nothing_left(f'restore {n}', timeout=2)
    return True


def deaths(which):
    random.seed(which)
    pid = board.start()
    victim = board.pids()[which]
    box.dump(pid, 'images')
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    seconds = box.restore('images').seconds
    box.kill_all()
    cut = sum(one(n, victim, seconds) for n in range(TIMES))
    print(f'{cut} of {TIMES} restores ended by the death of task {victim}')
    check(cut, 'no task was killed in time')


case_add('root killed while it is restored', functools.partial(deaths, 0), limit=120)
case_add('child killed while it is restored', functools.partial(deaths, 1), limit=120)
