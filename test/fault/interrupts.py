# SPDX-License-Identifier: Apache-2.0
"""A restore that is told to stop while shared memory is being filled: it fails, with nothing left, or it came too late
and everything is there. What must not be: a process that lives, with a part of its memory."""
import functools
import os
import random
import signal
import time

import box
import kinds
from box import check
from case import case_add

PROGRAM = os.path.join(box.BUILD, 'test/fault/shared')
TIMES = 25


def stopped_restore(delay, fill, how):
    """Starts a restore and stops it after delay seconds; whether it was stopped."""
    with open('thaw.err', 'w') as e:
        pid = box.spawn([box.THAW, 'restore', '-d', '-D', 'images', *box.FILL[fill]], stderr=e)
    time.sleep(delay)  # the random moment itself
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        pass
    status = box.wait_gone(pid)
    if os.WIFSIGNALED(status):
        return True
    with open('thaw.err') as e:
        r = box.Result(['thaw', 'restore'], os.WEXITSTATUS(status), '', e.read(), 0)
    if r.code:
        box.refused(r, 'interrupted')
        box.nothing_left('after the refusal')
    return r.code != 0


def one_or_none(pid):
    """Until the process is gone, or waits again."""
    def decided():
        """the process to be gone, or to wait, alone"""
        left = box.pids()
        return not left or (left == [pid] and box.state(pid) == 'S')
    box.until(decided)
    return pid in box.pids()


def interrupted(fill, how):
    random.seed(fill)
    pid = kinds.start(PROGRAM)
    box.dump(pid, 'images')
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    kinds.saved()
    seconds = box.restore('images', *box.FILL[fill]).seconds
    box.kill_all()
    stopped = 0
    for _ in range(TIMES):
        kinds.put_back()
        stopped += stopped_restore(random.uniform(0.2, 1.1) * seconds, fill, how)
        if one_or_none(pid):
            kinds.passes(pid, 'restored in spite of that')
    check(stopped, f'none of {TIMES} restores was stopped before its end')


for f in box.FILL:
    case_add(f'restore interrupted/{f}', functools.partial(interrupted, f, signal.SIGINT), limit=120)
    case_add(f'restore interrupted/{f}, killed', functools.partial(interrupted, f, signal.SIGKILL), limit=120)
