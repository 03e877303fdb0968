# SPDX-License-Identifier: Apache-2.0
"""A driver that lends GPU memory at checkpoints (CUDA 13.4): it is found out, and thaw copies (src/gpu/gpu_lent.h). On the
stub, which does as the documentation says."""
import json
import os
import signal

import box
import cuda
import dump
from box import check
from case import case

NEW = {'STUB_CUDA_DRIVER': '13040'}
LENT = 'were copied by thaw, as the driver lent it'


def start(name='subject', **kw):
    dump.stub_only()
    os.environ.pop('STUB_CUDA_DRIVER', None)
    return cuda.start(name=name, mib=16, pieces=3, **NEW, **kw)


def dumped(pid, *more, images='img', **kw):
    box.must(dump.dump(pid, *more, images=images, **NEW, **kw))
    dump.logged('dump', LENT)


def passes(pid, name='subject'):
    check(cuda.state(pid, **NEW) == 'running', cuda.state(pid, **NEW))
    cuda.passes(pid, name)


def agent_end():
    agent = cuda.agent_pid()
    if agent:
        os.kill(agent, signal.SIGKILL)
        box.until(lambda: not cuda.agent_pid())


@case('lend/probe')
def probe():
    """Asked for by name and version; the version alone proves nothing."""
    dump.stub_only()
    for env, lends in (({}, False), ({'STUB_CUDA_DRIVER': '13030'}, False), (NEW, True), ({**NEW, 'STUB_CUDA_KEEPS': '1'}, False)):
        pid = cuda.start(**env)
        check(cuda.state(pid, **env) == 'running', 'no agent')
        status = box.must(cuda.thaw('gpu-agent', '--status')).out
        check(json.loads(box.must(cuda.thaw('gpu-agent', '--status', '--json')).out)['driver']['lends'] is lends, f'{env} {lends}')
        check(('lends GPU memory, which thaw copies' if lends else 'copies GPU memory itself') in status, status)
        check(('lends GPU memory' in cuda.agent_log()) is lends, cuda.agent_log())
        check(('has no cuCheckpointOperationComplete' in cuda.agent_log()) is not lends, cuda.agent_log())
        agent_end()
        cuda.passes(pid)


@case('lend/dump')
def there_and_back():
    """Without the library: out, in, in again, and what came back is dumped once more."""
    pid = start(busy=True)
    dumped(pid)
    box.wait_gone(pid)
    size = os.stat(f'img/gpu-pages-{pid}.img').st_size
    check(size >= 17 << 20 and size % (2 << 20) == 0, f'{size} bytes of GPU memory')
    check('GPU memory: ' in box.must(cuda.thaw('show', 'img')).out, 'thaw show does not tell')
    for images in 'img', 'again':
        for i in range(2):
            box.must(dump.restore(images=images, **NEW))
            check(cuda.state(pid, **NEW) == 'running', cuda.state(pid, **NEW))
            if not i:
                os.kill(pid, signal.SIGKILL)
                box.wait_gone(pid)
        if images == 'img':
            dumped(pid, images='again')
            box.wait_gone(pid)
    passes(pid)
    calls = [c for _, c in cuda.calls()]
    check(calls.count('cuCheckpointOperationComplete') == 6, f'{calls.count("cuCheckpointOperationComplete")} operations completed')


@case('lend/left running')
def left():
    pid = start(busy=True)
    for images in 'one', 'two':
        dumped(pid, '-R', images=images)
        check(cuda.state(pid, **NEW) == 'running', cuda.state(pid, **NEW))
    box.must(dump.dump(pid, '-R', '--no-gpu-direct', images='plain', **NEW))
    check(not [x for x in os.listdir('plain') if x.startswith('gpu-pages')], 'it was lent although it should not')
    passes(pid)


@case('lend/library')
def library():
    """A process that has the library goes its way, which overlaps with more."""
    pid = start(under=[box.THAW, 'run', '--'])
    box.must(dump.dump(pid, **NEW))
    check(LENT not in open('dump.log').read(), 'lent')
    box.wait_gone(pid)
    box.must(dump.restore(**NEW))
    passes(pid)


@case('lend/refused')
def refused():
    """A driver that offers it and does not do it: it copies itself, as ever."""
    pid = start(busy=True)
    cuda.rules('cuCheckpointProcessCheckpoint 1 801', 'cuCheckpointProcessCheckpoint 3 304')
    box.must(dump.dump(pid, '-R', images='one', **NEW))
    box.must(dump.dump(pid, **NEW))
    cuda.rules()
    for images in 'one', 'img':
        check(not [x for x in os.listdir(images) if x.startswith('gpu-pages')], f'something was lent, see {images}')
    check(cuda.agent_log().count('the driver copies itself') == 2, cuda.agent_log())
    box.wait_gone(pid)
    box.must(dump.restore(**NEW))
    passes(pid)


@case('lend/failed dump')
def failed():
    """The memory is not lost if the file cannot be written, or the rest of the dump fails."""
    pid = start(busy=True)
    cuda.rules('cuMemcpyDtoHAsync_v2 1 999')
    check(dump.dump(pid, **NEW).code, 'the dump succeeded although a copy failed')
    cuda.rules()
    dump.no_image()
    check(cuda.state(pid, **NEW) == 'running', cuda.state(pid, **NEW))
    os.makedirs('small')
    box.tmpfs(os.path.abspath('small'), '8m')
    box.refused(dump.dump(pid, images='small', **NEW), 'No space left')
    check(cuda.state(pid, **NEW) == 'running', cuda.state(pid, **NEW))
    with open('fails', 'w') as f:
        f.write('#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]\n')
    os.chmod('fails', 0o755)
    check(dump.dump(pid, '--action-script', os.path.abspath('fails'), **NEW).code, 'the dump succeeded')
    dump.no_image()
    for call in 'cuCheckpointProcessCheckpoint', 'cuCheckpointProcessLock':
        cuda.rules(f'{call} 0 999')
        check(dump.dump(pid, **NEW).code, f'the dump succeeded although {call} fails')
        cuda.rules()
        check(cuda.state(pid, **NEW) == 'running', cuda.state(pid, **NEW))
    dumped(pid, '-R')
    passes(pid)


@case('lend/failed restore')
def failed_restore():
    """Refused before anything is there, or nothing is left; the images stay good."""
    pid = start()
    dumped(pid)
    box.wait_gone(pid)
    for call in 'cuMemcpyHtoDAsync_v2', 'cuCheckpointProcessRestore', 'cuCheckpointOperationComplete':
        cuda.rules(f'{call} 0 999')
        check(dump.restore(**NEW).code, f'the restore succeeded although {call} fails')
        cuda.rules()
        check(not os.path.exists(f'/proc/{pid}'), f'{pid} is there although {call} fails')
    box.must(dump.restore(**NEW))
    passes(pid)
    agent_end()
    box.refused(dump.restore(), 'a driver that lends it (CUDA 13.4), which the driver here does not')
    agent_end()
    os.truncate(f'img/gpu-pages-{pid}.img', 4 << 20)
    box.refused(dump.restore(**NEW), 'another length')
    check(not os.path.exists(f'/proc/{pid}'), f'{pid} is there')


@case('lend/killed')
def killed():
    """The agent dies behind the checkpoint, or the engine in the middle of it: the memory comes back from the file."""
    pid = start(busy=True)
    check(cuda.state(pid, **NEW) == 'running', 'no agent')
    with open('kills', 'w') as f:
        f.write(f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || kill -9 {cuda.agent_pid()}\n')
    os.chmod('kills', 0o755)
    dump.dump(pid, '-R', '--action-script', os.path.abspath('kills'), **NEW)
    box.until(lambda: cuda.state(pid, **NEW) == 'running')
    cuda.rules('cuCheckpointOperationComplete 1 sleep=1500')
    os.makedirs('again')
    argv = [box.THAW, 'dump', '-t', str(pid), '-D', 'again', '-v3', '-o', os.path.abspath('dump.log')]
    q = box.spawn(argv, env=cuda.env(**NEW))
    box.until(lambda: cuda.state(pid, **NEW) == 'checkpointing', 30)
    with open(f'/proc/{q}/task/{q}/children') as f:
        for child in f.read().split():
            os.kill(int(child), signal.SIGKILL)
    box.wait_gone(q, 60)
    cuda.rules()
    passes(pid)


@case('lend/two GPUs')
def two_gpus():
    """One file for each process; the GPUs change places."""
    dump.stub_only()
    env = {**NEW, 'STUB_CUDA_GPUS': '1,2'}
    names = {'east': 0, 'west': 1}
    sh = ''.join(f'{cuda.MEMORY} {os.path.abspath(x)} 16 3 {gpu} & ' for x, gpu in names.items())
    root = box.spawn(['/bin/sh', '-c', f'{sh} sleep 1000 & wait'], env=cuda.env(**env))
    box.until(lambda: all(cuda.verdict(x).startswith('ready') for x in names), 60)
    kids = {x: int(cuda.verdict(x).split()[1]) for x in names}
    box.must(dump.dump(root, **env))
    check(open('dump.log').read().count(LENT) == 2, 'not both were lent')
    box.wait_gone(root)
    one, two = (g['uuid'] for g in json.loads(box.must(cuda.thaw('gpu-agent', '--status', '--json')).out)['gpus'])
    box.must(dump.restore('--gpu-map', f'{one}={two},{two}={one}', **env))
    dump.all_pass(kids)
