# SPDX-License-Identifier: Apache-2.0
"""Crowds: a process with a thousand threads, and two hundred processes three levels deep. Both are subjects as in the
kind tests; what /proc says of every task is compared in the first and in the last cycle."""
import functools
import os

import box
import cycle
import facts
import kinds
from case import case_add


def begin(name):
    pid = kinds.start(os.path.join(box.BUILD, 'test/real', name))
    return pid, facts.tree(box.pids())


def stands(pid, n):
    """All tasks are there."""
    tasks = sum(len(os.listdir(f'/proc/{p}/task')) for p in box.pids())
    box.check(tasks == n, f'{tasks} of {n} tasks are there')
    box.check(os.path.exists(f'/proc/{pid}'), 'the root is not there')


def cycles(name, n):
    pid, before = begin(name)
    cycle.ten(pid, lambda: stands(pid, n))
    kinds.same(before, 'restored ten times')
    kinds.passes(pid, 'restored ten times')


def running(name, n):
    pid, before = begin(name)
    cycle.left_running(pid, lambda: stands(pid, n))
    kinds.saved()
    kinds.same(before, 'left running')
    kinds.passes(pid, 'left running')
    kinds.put_back()
    box.restore('images-last', *box.FILL['parallel'])
    kinds.same(before, 'restored')
    kinds.passes(pid, 'restored')


for what, tasks in (('threads', 1001), ('processes', 200)):
    case_add(f'{what}/ten cycles', functools.partial(cycles, what, tasks), limit=180)
    case_add(f'{what}/left running', functools.partial(running, what, tasks), limit=180)
