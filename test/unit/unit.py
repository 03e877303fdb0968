# SPDX-License-Identifier: Apache-2.0
"""Unit tests: each test_*.c is a cmocka program that test.mk has built under ASan and UBSan. They need no root;
one that cannot be run here exits 77 after a line that says why."""
import functools
import os

from box import BUILD, Failed, Skipped, run
from case import case_add

HERE = os.path.dirname(os.path.abspath(__file__))


def one(name):
    r = run([os.path.join(BUILD, 'asan/unit', name)], timeout=110, session=False,
            env=dict(os.environ, ASAN_OPTIONS='detect_stack_use_after_return=1', UBSAN_OPTIONS='print_stacktrace=1'))
    lines = (r.out + r.err).strip().splitlines()
    if r.code == 77:
        raise Skipped(lines[-1] if lines else 'no reason given')
    if r.code:
        bad = [x for x in lines if 'ERROR: ' in x or 'runtime error' in x or '[  FAILED  ]' in x or '[   LINE   ]' in x]
        bad.sort(key=lambda x: '[   LINE   ]' not in x)
        raise Failed(bad[0] if bad else f'exit code {r.code}: {lines[-1] if lines else "no output"}')


for f in sorted(os.listdir(HERE)):
    if f.startswith('test_') and f.endswith('.c'):
        case_add(f[5:-2], functools.partial(one, f[:-2]), limit=120, boxed=False)
