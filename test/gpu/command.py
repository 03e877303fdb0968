# SPDX-License-Identifier: Apache-2.0
"""thaw cuda: NVIDIA's words, one step at a time; the agent is started on demand."""
import os

import box
import cuda
from box import check
from case import case


@case('command/steps')
def steps():
    pid = cuda.start(busy=True)
    check(cuda.state(pid) == 'running', 'not running at first')
    tid = int(box.must(cuda.cuda('--get-restore-tid', '--pid', pid)).out)
    check(os.path.exists(f'/proc/{pid}/task/{tid}'), f'{tid} is no thread of {pid}')
    for action, state in (('lock', 'locked'), ('checkpoint', 'checkpointed'), ('restore', 'locked'), ('unlock', 'running')):
        box.must(cuda.cuda('--action', action, '--pid', pid))
        check(cuda.state(pid) == state, f'{cuda.state(pid)} after {action}')
    cuda.passes(pid)


@case('command/link')
def link():
    """A link named cuda-checkpoint serves scripts that call NVIDIA's tool."""
    pid = cuda.start()
    os.symlink(box.THAW, 'cuda-checkpoint')
    for state in ('checkpointed', 'running'):
        box.must(box.run(['./cuda-checkpoint', '--toggle', '--pid', str(pid)], env=cuda.env()))
        r = box.must(box.run(['./cuda-checkpoint', '--get-state', '--pid', str(pid)], env=cuda.env()))
        check(r.out == state + '\n', f'{r.out} after a toggle')
    check('--action' in box.must(box.run(['./cuda-checkpoint', '--help'], env=cuda.env())).out, 'help without --action')
    cuda.passes(pid)


@case('command/refusals')
def refusals():
    pid = cuda.start()
    box.refused(cuda.cuda('--pid', pid), 'one of --action')
    box.refused(cuda.cuda('--get-state'), '--pid PID is missing')
    box.refused(cuda.cuda('--action', 'unlock', '--pid', pid), 'its CUDA state is running, and unlock needs it locked')
    box.refused(cuda.cuda('--get-state', '--pid', os.getpid()), 'is no CUDA process')
    box.refused(cuda.cuda('--get-state', '--pid', 99999), 'there is no process 99999')
    box.refused(cuda.cuda('--action', 'fly', '--pid', pid), "'fly' is not one of its words")
    box.refused(cuda.cuda('--action', 'restore', '--device-map', 'a=b', '--pid', pid), 'the map of GPUs')
    cuda.passes(pid)
