# SPDX-License-Identifier: Apache-2.0
"""CUDA processes dumped and restored as a whole: on the stub driver, or a real one."""
import os
import signal

import box
import cuda
from box import check
from case import case

SERIAL, PARALLEL = ('--disable-parallel-restore',), ('--parallel-restore=4',)


def dump(pid, *more, images='img', **kw):
    os.makedirs(images, exist_ok=True)
    return cuda.thaw('dump', '-t', pid, '-D', images, '-v3', *more, **kw)


def restore(*more, images='img', **kw):
    return cuda.thaw('restore', '-d', '-D', images, '-v3', *more, **kw)


def gone(pid):
    check(box.wait_gone(pid) is None or True, '')


@case('dump/serial')
def serial(how=SERIAL):
    pid = cuda.start()
    r = box.must(dump(pid))
    print(r.err)
    box.wait_gone(pid)
    for _ in range(2):
        r = box.must(restore(*how))
        print(r.err)
        check(cuda.state(pid) == 'running', f'{cuda.state(pid)} after restore')
        last = os.path.exists('twice')
        open('twice', 'w').close()
        if last:
            cuda.passes(pid)
        else:
            os.kill(pid, signal.SIGKILL)
            box.wait_gone(pid)


@case('dump/parallel')
def parallel():
    serial(PARALLEL)
