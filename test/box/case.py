# SPDX-License-Identifier: Apache-2.0
"""The list of tests: a module of a group adds its tests to it, test/run collects and runs them.

    @case('target is gone', limit=30)
    def gone(): ...

    for name in names:
        case_add(name, functools.partial(one, name))

A test returns, or raises Failed or Skipped (box.py). It runs in a box unless boxed=False. One that is aside=True looks at
nothing but files: it runs beside the others, on what they leave of the CPUs.
"""
import os
import sys



class Case:
    def __init__(self, group, name, fn, limit, boxed, aside):
        self.group, self.name, self.fn, self.limit, self.boxed, self.aside = group, name, fn, limit, boxed, aside


CASES = []


def _caller():
    """The group of the module that calls: the name of its directory."""
    f = sys._getframe()
    while f.f_code.co_filename == __file__:
        f = f.f_back
    return os.path.basename(os.path.dirname(f.f_code.co_filename))


def case_add(name, fn, limit=60, boxed=True, aside=False):
    CASES.append(Case(_caller(), name, fn, limit, boxed, aside))


def case(name, limit=60, boxed=True, aside=False):
    def add(fn):
        case_add(name, fn, limit, boxed, aside)
        return fn
    return add
