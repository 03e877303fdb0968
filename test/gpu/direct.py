# SPDX-License-Identifier: Apache-2.0
"""thaw run: the library that stands between a program and its driver (doc/gpu-direct.md)."""
import json
import os
import shutil
import signal

import box
import cuda
import dump
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


RUN = [box.THAW, 'run', '--']


def started(**kw):
    return cuda.start(mib=64, pieces=3, under=RUN, **kw)


def payload(images='img'):
    """(length, bytes on disk) of the GPU memory in the images."""
    names = [x for x in os.listdir(images) if x.startswith('gpu-pages-')]
    check(len(names) == 1, f'{len(names)} files of GPU memory')
    st = os.stat(os.path.join(images, names[0]))
    return st.st_size, st.st_blocks * 512


def images_of(pid, *more, images='img', **kw):
    box.must(dump.dump(pid, *more, images=images, **kw))
    dump.logged('dump', 'let go of')
    dump.logged('dump', 'were saved')


def back(*more):
    box.must(dump.restore(*more))
    dump.logged('restore', 'has its GPU memory')


@case('direct/dump')
def direct(how=(), **kw):
    """Out and in again, twice from the same images; what came back is dumped once more."""
    pid = started(**kw)
    images_of(pid)
    box.wait_gone(pid)
    check(payload()[0] >= 64 << 20, f'{payload()[0]} bytes of GPU memory')
    r = box.must(cuda.thaw('show', 'img'))
    check('GPU memory: ' in r.out and f'gpu-pages-{pid}.img' in r.out, r.out)
    back(*how)
    os.kill(pid, signal.SIGKILL)
    box.wait_gone(pid)
    back(*how)
    images_of(pid, images='again')
    box.wait_gone(pid)
    box.must(dump.restore(*how, images='again'))
    cuda.passes(pid)


@case('direct/busy')
def busy():
    """A thread that never stops to call the driver."""
    direct(busy=True)


@case('direct/left running')
def left():
    """The memory comes back; it is the process's own again, and a second dump takes it."""
    pid = started(busy=True)
    for images in 'one', 'two':
        images_of(pid, '-R', images=images)
        dump.logged('dump', 'has its GPU memory again')
    for action in ('lock', 'checkpoint', 'restore', 'unlock'):
        box.must(cuda.cuda('--action', action, '--pid', pid))
    cuda.passes(pid)


@case('direct/off')
def off():
    pid = started()
    box.must(dump.dump(pid, '--no-gpu-direct'))
    check(not [x for x in os.listdir('img') if x.startswith('gpu-pages')], 'GPU memory in a file of its own')
    box.wait_gone(pid)
    box.must(dump.restore())
    cuda.passes(pid)


@case('direct/zeros')
def zeros():
    """Memory of zeros is neither stored nor copied, and is zeros again; what lies between keeps its contents."""
    pid = cuda.start(mib=6, pieces=3, under=RUN)  # in a piece of 64 MiB
    images_of(pid)
    box.wait_gone(pid)
    length, stored = payload()
    check(length == 64 << 20 and 6 << 20 <= stored < 9 << 20, f'{stored} of {length} bytes stored')
    if not cuda.REAL:
        os.truncate('calls', 0)
    back()
    if not cuda.REAL:
        calls = [c for _, c in cuda.calls()]
        copied, cleared = calls.count('cuMemcpyHtoDAsync_v2'), calls.count('cuMemsetD8Async')
        check(1 <= copied <= 3 and copied + cleared == 16, f'of 16 chunks {copied} were copied and {cleared} cleared')
    cuda.passes(pid)


@case('direct/failed dump')
def failed():
    """Whatever fails after the memory was let go: it comes back, and the program goes on."""
    dump.stub_only()
    pid = started(busy=True)
    for call in ('cuCheckpointProcessLock', 'cuCheckpointProcessCheckpoint', 'cuMemcpyDtoHAsync_v2',
                 'cuMemAddressReserve', 'cuMemExportToShareableHandle'):
        cuda.rules(f'{call} 0 999')
        r = dump.dump(pid)
        cuda.rules()
        check(r.code, f'the dump succeeded although {call} fails')
        dump.no_image()
        check(cuda.state(pid) == 'running', f'{cuda.state(pid)} after {call} failed')
    images_of(pid, '-R')
    cuda.passes(pid)


@case('direct/failed release')
def failed_release():
    """What the process itself cannot do: it keeps its memory, or gets it back."""
    dump.stub_only()
    pid = started()
    for call in ('cuMemUnmap', 'cuMemRelease'):
        cuda.rules(f'{call} 1 999')
        r = dump.dump(pid)
        cuda.rules()
        check(r.code, f'the dump succeeded although {call} fails')
        dump.no_image()
        check(cuda.state(pid) == 'running', f'{cuda.state(pid)} after {call} failed')
    images_of(pid)
    box.wait_gone(pid)
    back()
    cuda.passes(pid)


@case('direct/failed return')
def failed_return():
    """Memory that a restored process cannot map: there is no process then, and the images stay good."""
    dump.stub_only()
    pid = started()
    images_of(pid)
    box.wait_gone(pid)
    for call in ('cuMemImportFromShareableHandle', 'cuMemMap', 'cuMemSetAccess'):
        cuda.rules(f'{call} 0 999')
        box.refused(dump.restore(), 'GPU memory')
        cuda.rules()
        check(not os.path.exists(f'/proc/{pid}'), f'{pid} is there although {call} fails')
    back()
    cuda.passes(pid)


@case('direct/killed agent')
def killed_agent():
    """It dies with the memory in its hands: the dump fails, and the program has it again."""
    dump.stub_only()
    pid = started(busy=True)
    cuda.rules('cuMemcpyDtoHAsync_v2 0 sleep=3000')
    os.makedirs('img')
    argv = [box.THAW, 'dump', '-t', str(pid), '-D', 'img', '-v3', '-o', os.path.abspath('dump.log')]
    q = box.spawn(argv, env=cuda.env())
    box.until(lambda: os.path.exists('dump.log') and 'let go of' in open('dump.log').read(), 30)
    os.kill(cuda.agent_pid(), signal.SIGKILL)
    cuda.rules()
    box.wait_gone(q, 60)
    dump.no_image()
    dump.logged('dump', 'the GPU agent')
    cuda.passes(pid)


@case('direct/failed restore')
def failed_restore():
    """Nothing is left behind, and the images stay good."""
    dump.stub_only()
    pid = started()
    images_of(pid)
    box.wait_gone(pid)
    for call in ('cuMemCreate', 'cuMemcpyHtoDAsync_v2', 'cuMemExportToShareableHandle'):
        cuda.rules(f'{call} 0 2')
        box.refused(dump.restore(), 'GPU memory')
        cuda.rules()
        check(not os.path.exists(f'/proc/{pid}'), f'{pid} is there although {call} fails')
    name = [x for x in os.listdir('img') if x.startswith('gpu-pages-')][0]
    os.truncate(f'img/{name}', 4096)
    box.refused(dump.restore(), 'another length')
    check(not os.path.exists(f'/proc/{pid}'), f'{pid} is there without its GPU memory')


@case('direct/killed engine')
def killed():
    """The agent gives the memory back when nobody else can."""
    dump.stub_only()
    pid = started(busy=True)
    cuda.rules('cuCheckpointProcessCheckpoint 0 sleep=1500')
    os.makedirs('img')
    argv = [box.THAW, 'dump', '-t', str(pid), '-D', 'img', '-v3', '-o', os.path.abspath('dump.log')]
    q = box.spawn(argv, env=cuda.env())
    box.until(lambda: os.path.exists('dump.log') and 'GPU lock took' in open('dump.log').read(), 30)
    with open(f'/proc/{q}/task/{q}/children') as f:
        for child in f.read().split():
            os.kill(int(child), signal.SIGKILL)
    box.wait_gone(q, 60)
    cuda.rules()
    cuda.passes(pid)


CHURN = os.path.join(box.BUILD, 'test/gpu/churn')
STEPS = 1200000


@case('direct/random', limit=240)
def churning():
    """More than a million allocations, frees and copies over several threads, and dumps at any moment: the memory comes
    back in the same process, or in one restored from the images, and all is as the model (churn.c) says."""
    pid = box.spawn([*RUN, CHURN, os.path.abspath('subject'), '3', '12'], env=cuda.env(STUB_CUDA_LOG='/dev/null'))
    box.until(lambda: cuda.verdict('subject') == f'ready {pid}', 60)

    def steps():
        with open('subject.steps', 'rb') as f:
            return int.from_bytes(f.read(8), 'little')
    done = 0
    for i in range(8):
        goal = STEPS * (i + 1) // 8
        box.until(lambda: steps() >= goal or cuda.verdict('subject') != f'ready {pid}', 60)
        check(cuda.verdict('subject') == f'ready {pid}', cuda.verdict('subject'))
        images = f'img{i}'
        images_of(pid, *(['-R'] if i % 2 else []), images=images, STUB_CUDA_LOG='/dev/null')
        if i % 2 == 0:
            box.wait_gone(pid)
            box.must(dump.restore(images=images, STUB_CUDA_LOG='/dev/null'))
        shutil.rmtree(images)
        check(steps() > done, 'nothing was done in between')
        done = steps()
    cuda.passes(pid)


@case('direct/toll')
def toll():
    """bench/toll measures the same things with and without, and is served where it should be."""
    argv = [os.path.join(box.BUILD, 'bench/toll'), '2', '64']
    without = box.must(box.run(argv, env=cuda.env()))
    r = box.must(cuda.thaw('run', *argv, THAW_CUDA_LOG=1))
    for text in without.out, r.out:
        check([x.split(':')[0].split()[:2] for x in text.splitlines()] == [
            ['alloc', '2'], ['alloc', '64'], ['call', 'cuCtxGetCurrent'], ['call', 'cuStreamSynchronize'],
            ['call', 'cuMemsetD8Async']], text)
    check(r.out.count(', past the gate ') == 3 and 'past' not in without.out, r.out)
    served = int(r.err.split('thaw-cuda: ')[-1].split(' blocks')[0])
    check(served > 100, r.err)
    r = box.must(box.run([argv[0], '--parts', '4'], env=cuda.env()))
    check(r.out.count('create') == 5 and r.out.count(' in 2 pieces: alloc ') == 1, r.out)


@case('direct/timeline')
def timeline():
    """--trace of a restore says when what was done to GPU memory, in an order that can be."""
    pid = started()
    images_of(pid)
    box.wait_gone(pid)
    back('--trace', 'trace.json')
    with open('trace.json') as f:
        spans = {x['name']: x for x in json.load(f) if x['ph'] == 'X'}
    order = ['memory created', 'loaded', 'exported', 'import and map', 'made its own, gate opened']
    for name in ['agent gets ready', *order, "driver's restore", 'unlock', 'let threads go', 'fill memory', 'wait']:
        check(name in spans, f'no span "{name}" in {sorted(spans)}')
    for first, then in zip(order, order[1:]):
        end = spans[first]['ts'] + spans[first]['dur']
        check(end <= spans[then]['ts'] + 1, f'"{then}" begins before "{first}" ends')
    check(spans['loaded']['args']['bytes'] >= 64 << 20, f'{spans["loaded"]}')
    check(spans['agent gets ready']['ts'] < spans['launch']['ts'], 'the agent was asked only when the tasks were made')
    cuda.passes(pid)
