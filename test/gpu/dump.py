# SPDX-License-Identifier: Apache-2.0
"""CUDA processes dumped and restored as a whole: on the stub driver, or a real one. What goes wrong in between leaves
them running with every word of their GPU memory, or, in a restore, leaves nothing."""
import functools
import json
import os
import re
import signal
import socket
import subprocess
import time

import box
import cuda
from box import check
from case import case, case_add

CALL = 'cuCheckpointProcess'


def stub_only():
    if cuda.REAL:
        raise box.Skipped('only the stub driver can be made to fail')


def two_gpus():
    if cuda.REAL and not os.path.exists('/dev/nvidia1'):
        raise box.Skipped('needs two GPUs')


def dump(pid, *more, images='img', **kw):
    os.makedirs(images, exist_ok=True)
    return cuda.thaw('dump', '-t', pid, '-D', images, '-o', os.path.abspath('dump.log'), '-v4', *more, **kw)


def restore(*more, images='img', **kw):
    return cuda.thaw('restore', '-d', '-D', images, '-o', os.path.abspath('restore.log'), '-v4', *more, **kw)


def logged(name, text):
    with open(f'{name}.log') as f:
        log = f.read()
    check(text in log, f'"{text}" was expected in {name}.log: {log[-2000:]}')


def no_image(images='img'):
    check(not os.path.exists(f'{images}/inventory.img'), 'a failed dump has left an image')


def tree(n, mib=8, **more):
    """A shell with n CUDA processes and one that is none; (its PID, {name: PID})."""
    names = [f'subject{i}' for i in range(n)]
    for x in names:
        if os.path.exists(x):
            os.unlink(x)
    start = ''.join(f'{cuda.MEMORY} {os.path.abspath(x)} {mib} 2 & ' for x in names)
    root = box.spawn(['/bin/sh', '-c', f'{start} sleep 1000 & wait'], env=cuda.env(**more))
    box.until(lambda: all(cuda.verdict(x).startswith('ready') for x in names), 60)
    return root, {x: int(cuda.verdict(x).split()[1]) for x in names}


def all_pass(kids):
    for name, pid in kids.items():
        check(cuda.state(pid) == 'running', f'{name} is {cuda.state(pid)}')
        cuda.passes(pid, name)


def kill_all():
    cuda_agent = cuda.agent_pid()
    for p in box.pids():
        if p != cuda_agent:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
    box.until(lambda: [p for p in box.pids() if p != cuda_agent] == [], 20)


def nothing_left():
    """nothing but the agent"""
    left = [p for p in box.pids() if p != cuda.agent_pid()]
    check(not left, f'left behind: {[(p, box.comm(p)) for p in left]}')


# --- what is to work ---------------------------------------------------------------------------------------------------

def twice(how):
    pid = cuda.start(busy=True)
    box.must(dump(pid))
    nothing_left()
    for again in (False, True):
        box.must(restore(*how))
        check(cuda.state(pid) == 'running', f'{cuda.state(pid)} after restore')
        if not again:
            kill_all()
    cuda.passes(pid)


@case('dump/serial')
def serial():
    twice(('--disable-parallel-restore',))


@case('dump/parallel')
def parallel():
    twice(('--parallel-restore=4',))


@case('dump/tree')
def a_tree():
    """Four at once: their checkpoints and restores overlap, and another dump of what was restored."""
    root, kids = tree(4)
    if not cuda.REAL:
        cuda.rules(f'{CALL}Checkpoint 0 sleep=300', f'{CALL}Restore 0 sleep=300')
    for _ in range(2):
        t = time.monotonic()
        box.must(dump(root))
        nothing_left()
        box.must(restore())
        check(cuda.REAL or time.monotonic() - t < 2, f'{time.monotonic() - t:.1f} s: were they done in turn?')
    logged('dump', '4 CUDA processes are checkpointed')
    all_pass(kids)


@case('dump/left running')
def left_running():
    root, kids = tree(2)
    box.must(dump(root, '--leave-running'))
    logged('dump', 'its GPU state is as before')
    all_pass(kids)
    kill_all()
    for x in kids:
        os.unlink(x)
    box.must(restore())
    all_pass(kids)


@case('dump/left stopped')
def left_stopped():
    pid = cuda.start()
    box.must(dump(pid, '--leave-stopped'))
    check(box.state(pid) == 'T', f'state {box.state(pid)}')
    os.kill(pid, signal.SIGCONT)
    cuda.passes(pid)
    os.unlink('subject')
    box.must(restore('--leave-stopped'))
    check(box.state(pid) == 'T', f'state {box.state(pid)} after restore')
    os.kill(pid, signal.SIGCONT)
    check(cuda.state(pid) == 'running', 'not unlocked')
    cuda.passes(pid)


@case('dump/as found')
def as_found():
    """Who was locked or checkpointed before the dump is so afterwards."""
    for steps, state, back in ((('lock',), 'locked', ('unlock',)),
                               (('lock', 'checkpoint'), 'checkpointed', ('restore', 'unlock'))):
        pid = cuda.start()
        for s in steps:
            box.must(cuda.cuda('--action', s, '--pid', pid))
        box.must(dump(pid, '--leave-running'))
        check(cuda.state(pid) == state, f'{cuda.state(pid)} after dump, {state} before')
        box.must(dump(pid))
        nothing_left()
        box.must(restore())
        check(cuda.state(pid) == state, f'{cuda.state(pid)} after restore, {state} before')
        for s in back:
            box.must(cuda.cuda('--action', s, '--pid', pid))
        cuda.passes(pid)


@case('dump/prefault')
def prefault():
    """The driver's buffer gets huge pages by our doing, which neither the process nor the image knows of."""
    with open('/sys/kernel/mm/transparent_hugepage/enabled') as f:
        if '[never]' in f.read():
            raise box.Skipped('this kernel gives no huge pages')
    pid = cuda.start(mib=256, pieces=2, busy=True)
    with open('hook', 'w') as f:
        f.write(f'#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION != post-dump ] || grep AnonHuge /proc/{pid}/smaps_rollup >huge\n')
    os.chmod('hook', 0o755)
    box.must(dump(pid, '--leave-running', '--action-script', os.path.abspath('hook')))
    logged('dump', "MiB of the driver's buffer with huge pages")
    with open('huge') as f:
        huge = int(f.read().split()[1])
    check(huge >= 250 << 10, f'only {huge} KiB of huge pages')
    shown = box.must(box.run([box.THAW, 'show', '-D', 'img', '--json']))
    check('"madv": 16384' not in shown.out, 'the advice is in the image')
    box.must(dump(pid, '--leave-running', '--no-gpu-prefault'))
    with open('dump.log') as f:
        check("of the driver's buffer" not in f.read(), 'it was populated all the same')
    cuda.passes(pid)


@case('dump/prefault on two GPUs')
def prefault_two():
    """The driver's buffer holds what is on all GPUs."""
    with open('/sys/kernel/mm/transparent_hugepage/enabled') as f:
        if '[never]' in f.read():
            raise box.Skipped('this kernel gives no huge pages')
    two_gpus()
    pid = cuda.start(mib=256, pieces=4, gpu='0,1', STUB_CUDA_GPUS='1,2')
    box.must(dump(pid, '--leave-running', STUB_CUDA_GPUS='1,2'))
    with open('dump.log') as f:
        sizes = [int(x) for x in re.findall(r'populated (\d+) MiB of the driver', f.read())]
    check(sizes and sizes[0] >= 256, f'populated: {sizes} MiB')
    shown = box.must(box.run([box.THAW, 'show', '-D', 'img', '--json']))
    check('"madv": 16384' not in shown.out, 'the advice is in the image')
    cuda.passes(pid)


@case('dump/signals')
def signals():
    """A signal that comes while the driver works waits until the process runs as a whole; a dump takes it along."""
    stub_only()
    pid = cuda.start()
    cuda.rules(f'{CALL}Checkpoint 0 sleep=500', f'{CALL}Restore 0 sleep=500')
    p = subprocess.Popen([box.THAW, 'dump', '-t', str(pid), '-D', '.', '-o', os.path.abspath('dump.log'), '-v4'],
                         env=cuda.env())
    box.until(lambda: os.path.exists('calls') and (any(c == f'{CALL}Checkpoint' for _, c in cuda.calls())))
    os.kill(pid, signal.SIGTERM)
    check(p.wait() == 0, 'dump')
    box.wait_gone(pid)
    check(cuda.verdict('subject').startswith('ready'), 'the signal was handled during the dump')
    box.must(cuda.thaw('restore', '-d', '-D', '.'))
    box.until(lambda: cuda.verdict('subject') == 'PASS', 20)


@case('dump/another GPU')
def another_gpu():
    stub_only()
    pid = cuda.start()
    box.must(dump(pid))

    def uuid():
        """Of the first GPU that the agent has."""
        s = box.must(cuda.thaw('gpu-agent', '--status', '--json'))
        return json.loads(s.out)['gpus'][0]['uuid']

    def agent_of(gpus):
        a = cuda.agent_pid()
        if a:
            os.kill(a, signal.SIGKILL)
            box.wait_gone(a)
        return {'STUB_CUDA_GPUS': gpus}
    old = uuid()
    box.refused(cuda.thaw('restore', '-d', '-D', 'img', '--gpu-map', 'nonsense'), '--gpu-map')
    box.refused(cuda.thaw('restore', '-d', '-D', 'img', **agent_of('2')), f'it uses {old}, which is not in this machine')
    new = uuid()
    check(old != new, f'{old} is still there')
    box.refused(cuda.thaw('restore', '-d', '-D', 'img', '--gpu-map', f'{new}={new}'), f'does not name {old}')
    box.refused(cuda.thaw('restore', '-d', '-D', 'img', '--gpu-map', f'{old}={old}'), 'is not here')
    nothing_left()
    box.must(restore('--gpu-map', f'{old}={new}'))
    cuda.passes(pid)


def early(r, text):
    """Refused before anything was created."""
    box.refused(r, text)
    with open('restore.log') as f:
        check('stage launch' not in f.read(), 'it was refused late')
    nothing_left()


@case('dump/GPUs that do not do')
def do_not_do():
    """Another model, one too few, too little memory for all together: each with a sentence, before anything is created."""
    stub_only()
    root, kids = tree(2, mib=64)
    box.must(dump(root))

    def now(*more, **env):
        a = cuda.agent_pid()
        if a:
            os.kill(a, signal.SIGKILL)
            box.wait_gone(a)
        return restore(*more, **env)
    one, two, other = (f'GPU-5b5b5b5b-5b5b-5b5b-5b5b-5b5b5b5b{n:04x}' for n in (1, 2, 100))
    early(now(STUB_CUDA_GPUS='2'), f'it uses {one}, which is not in this machine')
    early(now('--gpu-map', f'{one}={other}', STUB_CUDA_GPUS='1,2,100'),
          f'it used {one}, an Stub GPU A, and {other} is an Stub GPU B')
    early(now('--gpu-map', f'{two}={one}', STUB_CUDA_GPUS='1,2'), f'does not name {one}')
    early(now(STUB_CUDA_GPUS='1,2', STUB_CUDA_MEM=100),
          f'{one} (Stub GPU A) has 100 MiB of memory free, and the processes of the image need 128 MiB there')
    hog = cuda.start('hog', mib=64, STUB_CUDA_GPUS='1,2')
    box.refused(now(STUB_CUDA_GPUS='1,2', STUB_CUDA_MEM=180), 'has 115 MiB of memory free')
    box.must(now('--gpu-map', f'{one}={two}', STUB_CUDA_GPUS='1,2', STUB_CUDA_MEM=180))
    cuda.passes(hog, 'hog')
    for name, pid in kids.items():
        cuda.passes(pid, name)


@case('dump/memory that nobody tells')
def not_told():
    """Without NVML, and for images that do not say what they need, the driver's restore has the word."""
    stub_only()
    pid = cuda.start()
    box.must(dump(pid, THAW_LIBNVML='/nowhere'))
    box.must(restore(STUB_CUDA_MEM=1))
    logged('restore', 'GPU restore took')
    box.must(dump(pid))
    os.kill(cuda.agent_pid(), signal.SIGKILL)
    box.must(restore(THAW_LIBNVML='/nowhere', STUB_CUDA_MEM=1))
    logged('restore', 'libnvidia-ml.so.1 cannot be used')
    cuda.passes(pid)


def no_driver():
    return dict(cuda.env(), THAW_LIBCUDA='/nowhere/libcuda.so.1')


def device_fds(pid):
    """{descriptor: path} of /dev/nvidia*."""
    links = {fd: os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')}
    return {fd: path for fd, path in links.items() if path.startswith('/dev/nvidia')}


def ranges(pid):
    """Which addresses a process has mapped, neighbours joined; with a device there or without."""
    out = []
    with open(f'/proc/{pid}/maps') as f:
        for x in f:
            start, end = (int(n, 16) for n in x.split()[0].split('-'))
            if out and out[-1][1] == start:
                out[-1][1] = end
            else:
                out.append([start, end])
    return out


@case('dump/forked child')
def forked_child():
    """A child inherits the driver's descriptors and mappings, and is brought back with such that are of as little use."""
    if not cuda.REAL:
        cuda.devices(1)
    pid = cuda.start(how='fork')
    child, = children(pid)
    before = device_fds(child)
    check(before, 'it has inherited nothing: this test tests nothing')
    for _ in range(2):
        box.must(dump(pid, '--leave-running'))
        check(device_fds(child) == before, f'{device_fds(child)} after a dump, {before} before')
    taken = ranges(child)
    box.must(dump(pid))
    nothing_left()
    logged('dump', '1 of them with what they have inherited')
    if not cuda.REAL:
        os.rename('/dev/nvidia0', '/dev/gone')
        box.refused(restore(), '/dev/nvidia0, which a child of a CUDA process has inherited open, is not in this machine')
        nothing_left()
        os.rename('/dev/gone', '/dev/nvidia0')
    for _ in range(2):
        box.must(restore())
        check(device_fds(child) == before, f'{device_fds(child)} after a restore, {before} before')
        check(ranges(child) == taken, 'other addresses are taken')
        box.must(dump(pid))
    box.must(restore())
    check(cuda.state(pid) == 'running', f'{cuda.state(pid)} after restore')
    cuda.passes(pid)
    box.wait_gone(child)


@case('dump/descriptors of nobody')
def orphan():
    """A process that holds a device that no CUDA process of the tree has open is refused before anything is locked."""
    stub_only()
    cuda.devices(1)
    pid = cuda.start(how='fork')
    child, = children(pid)
    box.refused(dump(child), 'it has the descriptors of a process that is gone or not in this tree')
    check(not any(c.startswith(f'{CALL}Lock') for _, c in cuda.calls()), 'it was locked')
    cuda.passes(pid)


def refused_unlocked(how, text):
    """Refused before it is locked; it goes on."""
    if not cuda.REAL:
        cuda.devices(1)
    pid = cuda.start(how=how)
    box.refused(dump(pid), text)
    no_image()
    if not cuda.REAL:
        check(not any(c.startswith(f'{CALL}Lock') for _, c in cuda.calls()), 'it was locked')
    cuda.passes(pid)


case_add('dump/unified memory', functools.partial(refused_unlocked, 'managed', 'it uses unified memory'))
case_add('dump/imported event', functools.partial(refused_unlocked, 'import', 'imported from process 1 is lost'))


@case('dump/rank of NCCL')
def rank_of_nccl():
    """One rank alone is dumped like any other; with a second one there it is refused before anything is locked."""
    pid = cuda.start(how='rank')
    box.must(dump(pid, '--leave-running'))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind('\0tmp/nccl-socket-1-2f')
        box.refused(dump(pid, images='again'), 'it is one of several ranks of NCCL')
        no_image('again')
    cuda.passes(pid)


@case('dump/unified memory of another driver')
def managed_elsewhere():
    """Where the driver has nothing at the usual place, its own checkpoint has the word; it is put back."""
    stub_only()
    pid = cuda.start(how='managed')
    box.refused(dump(pid), 'unified memory, CUDA IPC')
    check(any(c == f'{CALL}Checkpoint' for _, c in cuda.calls()), 'the driver was not asked')
    cuda.passes(pid)


@case('dump/libcuda alone')
def libcuda_alone():
    """Who maps libcuda without using a GPU is an ordinary process, with a driver and without."""
    stub_only()
    pid = box.spawn([box.PYTHON, '-c', 'import ctypes, time; ctypes.CDLL("libcuda.so.1"); open("up", "w"); '
                                       'time.sleep(1000)'], env=cuda.env())
    box.until(lambda: os.path.exists('up'))
    for i, (env, text) in enumerate(((no_driver(), 'map libcuda but have no GPU'),
                                     (cuda.env(), '1 tasks only map libcuda'))):
        for a in box.pids():
            if a == cuda.agent_pid():
                os.kill(a, signal.SIGKILL)
        os.makedirs(f'img{i}')
        box.must(box.run([box.THAW, 'dump', '-t', str(pid), '-D', f'img{i}', '-v4', '-o', 'dump.log'], env=env))
        with open(f'img{i}/dump.log') as f:
            check(text in f.read(), f'"{text}" is not in the log')
        box.wait_gone(pid)
        box.must(box.run([box.THAW, 'restore', '-d', '-D', f'img{i}'], env=no_driver()))
        check(box.state(pid) == 'S', f'state {box.state(pid)}')


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def to_varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def without(message, *path):
    """A message in wire format without the field that the path of numbers leads to."""
    out, at = b'', 0
    while at < len(message):
        start = at
        key, at = varint(message, at)
        if key & 7 == 2:
            length, body = varint(message, at)
            at = body + length
        else:
            at = {0: varint(message, at)[1], 1: at + 8, 5: at + 4}[key & 7]
        if key >> 3 != path[0]:
            out += message[start:at]
        elif len(path) > 1:
            inner = without(message[body:at], *path[1:])
            out += to_varint(key) + to_varint(len(inner)) + inner
    return out


def strip(file, *path):
    """Takes a field out of the only message of an image (4 or 8 bytes of magic, then 4 of length)."""
    with open(file, 'rb') as f:
        data = f.read()
    head = next(n for n in (4, 8) if n + 4 + int.from_bytes(data[n:n + 4], 'little') == len(data))
    message = without(data[head + 4:], *path)
    check(len(message) + head + 4 < len(data), f'{file} has no field {path}')
    with open(file, 'wb') as f:
        f.write(data[:head] + len(message).to_bytes(4, 'little') + message)


@case("dump/CRIU's image")
def crius_image():
    """Nothing in it says who has GPU state, and in which thread: the driver is asked."""
    root, kids = tree(2)
    box.must(dump(root))
    strip('img/inventory.img', 10001)
    for pid in kids.values():
        strip(f'img/core-{pid}.img', 3, 10003)
    box.must(restore())
    logged('restore', 'GPU restore took')
    all_pass(kids)


# --- what goes wrong ---------------------------------------------------------------------------------------------------

@case('dump/failing calls')
def failing_calls():
    """Each call on the way fails once, in one of two processes: both go on, no image is left."""
    stub_only()
    root, kids = tree(2)
    for call, text in (('GetState', 'GPU state'), ('GetRestoreThreadId', 'GPU state'), ('Lock', 'GPU lock'),
                       ('Checkpoint', 'GPU checkpoint')):
        agent = cuda.agent_pid()
        if agent:
            os.kill(agent, signal.SIGKILL)  # a new one counts from one
            box.wait_gone(agent)
        cuda.rules(f'{CALL}{call} 2 999')
        box.refused(cuda.thaw('dump', '-t', root, '-D', '.'), text)
        no_image('.')
        cuda.rules()
        check([cuda.state(p) for p in kids.values()] == ['running'] * 2, f'not running after {call} has failed')
    # and on the way back: it is tried again
    cuda.rules(f'{CALL}Checkpoint 2 999', f'{CALL}Restore 1 999', f'{CALL}Unlock 1 999')
    os.kill(cuda.agent_pid(), signal.SIGKILL)
    box.refused(cuda.thaw('dump', '-t', root, '-D', '.'), 'GPU checkpoint')
    all_pass(kids)


@case('dump/slow driver')
def slow_driver():
    stub_only()
    pid = cuda.start()
    cuda.rules(f'{CALL}Lock 1 hang')
    box.refused(cuda.thaw('dump', '-t', pid, '-D', '.', '--timeout', 1), 'GPU lock')
    cuda.rules()
    check(cuda.state(pid) == 'running', f'{cuda.state(pid)} after a lock that did not end')
    os.kill(cuda.agent_pid(), signal.SIGKILL)  # it still waits
    cuda.rules(f'{CALL}Checkpoint 1 hang')
    r = cuda.thaw('dump', '-t', pid, '-D', '.', '--gpu-timeout', 1)
    check(r.code == 1 and 'its GPU state was not put back' in r.err and 'GPU checkpoint' in r.err, str(r))
    cuda.rules()
    os.kill(cuda.agent_pid(), signal.SIGKILL)
    box.must(cuda.cuda('--action', 'unlock', '--pid', pid))  # as the warning says
    cuda.passes(pid)


def starts_dump(pid, until):
    p = subprocess.Popen([box.THAW, 'dump', '-t', str(pid), '-D', '.', '-o', os.path.abspath('dump.log'), '-v4'],
                         env=cuda.env(), stderr=subprocess.PIPE, text=True)
    box.until(lambda: os.path.exists('calls') and any(c == CALL + until for _, c in cuda.calls()))
    return p


def blocked(pid):
    """The signals that the driver's thread has blocked."""
    tid = int(cuda.cuda('--get-restore-tid', '--pid', pid).out)
    with open(f'/proc/{pid}/task/{tid}/status') as f:
        return next(x.split()[1] for x in f if x.startswith('SigBlk'))


def cut(victims):
    """Kills during the checkpoint; the process must be as before."""
    stub_only()
    for call in ('Lock', 'Checkpoint'):
        pid = cuda.start()
        before = blocked(pid)
        cuda.rules(f'{CALL}{call} 1 sleep=700')
        p = starts_dump(pid, call)
        for v in victims(p.pid):
            os.kill(v, signal.SIGKILL)
        err = p.communicate(timeout=30)[1]
        check(p.returncode, 'a dump that was cut has succeeded')
        print(err)
        box.until(lambda: cuda.state(pid) == 'running', 20)
        no_image('.')
        check(blocked(pid) == before, f'the driver\'s thread has {blocked(pid)} blocked, not {before}')
        cuda.passes(pid)
        os.unlink('subject')
        os.unlink('calls')
        a = cuda.agent_pid()
        if a:
            os.kill(a, signal.SIGKILL)
            box.wait_gone(a)


def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children') as f:
        return [int(x) for x in f.read().split()]


@case('dump/engine killed')
def engine_killed():
    """The process that waits for the engine puts things right."""
    cut(lambda front: [c for c in children(front) if c != cuda.agent_pid()])


@case('dump/front killed')
def front_killed():
    """The engine notices, and undoes what it did."""
    cut(lambda front: [front])


@case('dump/agent killed')
def agent_killed():
    """A new agent is started to put things right."""
    cut(lambda front: [cuda.agent_pid()])


@case('dump/failing restore')
def failing_restore():
    """One of two cannot be restored or unlocked, or takes too long, or its agent dies: nothing is left."""
    stub_only()
    root, kids = tree(2)
    box.must(dump(root))

    def fails(rule, text, *more):
        a = cuda.agent_pid()
        if a:
            os.kill(a, signal.SIGKILL)
            box.wait_gone(a)
        cuda.rules(rule)
        box.refused(restore(*more), text)
        nothing_left()
    fails(f'{CALL}Restore 2 999', 'GPU restore')
    fails(f'{CALL}Unlock 2 999', 'GPU unlock')
    fails(f'{CALL}Restore 2 hang', 'GPU restore', '--gpu-timeout', 1)
    fails(f'{CALL}Restore 1 die', 'agent')
    os.unlink('rules')
    for p in box.pids():
        os.kill(p, signal.SIGKILL)
    box.until(lambda: not box.pids(), 20)
    box.refused(box.run([box.THAW, 'restore', '-d', '-D', 'img'], env=no_driver()), 'libcuda')
    nothing_left()
    box.must(restore())
    all_pass(kids)
