# SPDX-License-Identifier: Apache-2.0
"""thaw run: the library that stands between a program and its driver (doc/gpu-direct.md)."""
import os

import box
import cuda
from box import check
from case import case

CALLS = os.path.join(box.BUILD, 'test/gpu/calls')


@case('direct/calls')
def calls():
    """Every way to get hold of an entry point, and what is said of served memory."""
    r = box.must(cuda.thaw('run', '--', CALLS, THAW_CUDA_LOG=1))
    check(r.out == 'fine\n', r.out)
    check(' 0 ungated' in r.err and 'the driver is behind the gate' in r.err, r.err)


@case('direct/inherited')
def inherited():
    """What a shell starts has the library as well."""
    r = box.must(cuda.thaw('run', 'sh', '-c', f'{CALLS}; exit $?', THAW_CUDA_LOG=1))
    check(r.out == 'fine\n', r.out)
    check('blocks' in r.err and ' 0 blocks' not in r.err.split('thaw-cuda: ')[-2], r.err)


@case('direct/without a driver')
def no_driver():
    """Other programs do not notice."""
    env = {'PATH': os.environ['PATH'], 'THAW_CUDA_LOG': '1'}
    r = box.must(box.run([box.THAW, 'run', 'echo', '-D', 'hello'], env=env))
    check(r.out == '-D hello\n', r.out)


@case('direct/refused')
def refused():
    box.refused(cuda.thaw('run'), 'which command?')
    box.refused(cuda.thaw('run', 'no-such-command'), 'no-such-command: No such file or directory')
    box.refused(cuda.thaw('run', os.path.join(box.BUILD, 'bench/ceiling')), 'linked statically')
    box.must(box.run(['cp', '/bin/true', 'owned']))
    os.chown('owned', 1, 1)
    os.chmod('owned', 0o4755)
    box.refused(cuda.thaw('run', './owned'), "owner's rights")


@case('direct/steps')
def steps():
    """Served memory is memory like any other for the driver's own checkpoint."""
    pid = cuda.start(mib=64, pieces=3, under=[box.THAW, 'run', '--'])
    for action in ('lock', 'checkpoint', 'restore', 'unlock'):
        box.must(cuda.cuda('--action', action, '--pid', pid))
    cuda.passes(pid)
