# SPDX-License-Identifier: Apache-2.0
"""The list of tests: a module of a group adds its tests to it, test/run collects and runs them.

    @case('target is gone', limit=30)
    def gone(): ...

    for name in names:
        case_add(name, functools.partial(one, name))

A test returns, or raises Failed or Skipped (box.py). It runs in a box unless boxed=False.
"""


class Case:
    def __init__(self, name, fn, limit, boxed):
        self.name, self.fn, self.limit, self.boxed = name, fn, limit, boxed


CASES = []


def case_add(name, fn, limit=60, boxed=True):
    CASES.append(Case(name, fn, limit, boxed))


def case(name, limit=60, boxed=True):
    def add(fn):
        case_add(name, fn, limit, boxed)
        return fn
    return add
