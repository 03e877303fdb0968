# SPDX-License-Identifier: Apache-2.0
"""What counting.c says of itself."""
import os
import struct

import box
from box import check

PROCESSES, THREADS = 2, 4
TASKS = PROCESSES * THREADS
PROGRAM = os.path.join(box.BUILD, 'test/fault/counting')


def read():
    """(started, wrong steps, signals, [count of each thread])"""
    with open('board', 'rb') as f:
        words = struct.unpack(f'{3 + TASKS}Q', f.read())
    return words[0], words[1], words[2], words[3:]


def start():
    """Starts counting; returns its PID when all threads count."""
    pid = box.spawn([PROGRAM, os.path.abspath('board')])
    box.until(lambda: os.path.exists('board') and os.path.getsize('board') == 8 * (3 + TASKS) and read()[0] == TASKS)
    counts(f'at the start: {pid}')
    return pid


def pids():
    """The processes of the program that live, in whatever box they are seen."""
    return [p for p in box.pids() if box.comm(p) == 'counting' and box.state(p) not in ('', 'Z')]


def counts(when, timeout=15):
    """Fails unless every thread counts, rightly, and signals come."""
    _, _, signals, first = read()

    def moved():
        """all threads to count"""
        _, wrong, s, now = read()
        check(not wrong, f'{when}: {wrong} steps went wrong')
        return s > signals and all(a != b for a, b in zip(first, now))
    try:
        box.until(moved, timeout)
    except box.Failed as e:
        now = read()
        still = sum(a == b for a, b in zip(first, now[3]))
        raise box.Failed(f'{when}: {still} of {TASKS} threads stand still ({now[2] - signals} signals came; {states()}): {e}') from e


def states():
    return ', '.join(f'{p} {"".join(box.thread_states(p))}' for p in box.pids() if box.comm(p) == 'counting')
