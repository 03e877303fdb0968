# SPDX-License-Identifier: Apache-2.0
"""Static analysis: cppcheck (exceptions in cppcheck.txt) and clang-tidy (exceptions in .clang-tidy) find nothing.
Both remember what they have seen in the build directory: a second run is quick."""
import os
import shutil
import subprocess

import box
from box import Failed, Skipped
from case import case

HERE = os.path.dirname(os.path.abspath(__file__))
CPUS = str(len(os.sched_getaffinity(0)))


def asked(tool, argv):
    """Runs a tool at the top of the tree; its findings are the failure."""
    if not shutil.which(tool):
        raise Skipped(f'{tool} is not installed')
    r = subprocess.run(argv, cwd=box.TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(r.stdout)
    found = [x for x in r.stdout.splitlines() if 'error: ' in x or 'warning: ' in x or x.endswith(']')]
    if r.returncode or found:
        lines = found or r.stdout.strip().splitlines() or ['no output']
        raise Failed(f'{len(found)} findings: {lines[0]}')


@case('cppcheck', limit=900, boxed=False, aside=True)
def cppcheck():
    cache = os.path.join(box.BUILD, 'lint/cppcheck')
    os.makedirs(cache, exist_ok=True)
    asked('cppcheck', ['cppcheck', '--quiet', '--error-exitcode=1', '--enable=warning,performance,portability', '--std=c11',
                       '--inline-suppr', '-j', CPUS, f'--cppcheck-build-dir={cache}', '-Isrc', '-D_GNU_SOURCE', '-D__x86_64__',
                       f'--include={HERE}/macros.h', f'--suppressions-list={HERE}/cppcheck.txt', 'src', 'bench'])


@case('clang-tidy', limit=1800, boxed=False, aside=True)
def clang_tidy():
    env = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL')}
    asked('clang-tidy', ['env', '-i', *(f'{k}={v}' for k, v in env.items()), 'make', '-s', '-k', '-j', CPUS,
                         f'B={os.environ.get("B", "build")}', 'tidy'])
