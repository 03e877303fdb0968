# SPDX-License-Identifier: Apache-2.0
"""The agent as a process: how it is started, what it survives, what it says, how it ends."""
import functools
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import time

import box
import cuda
from box import Skipped, check
from case import case, case_add

SOCKET = '/run/thaw/gpu.sock'


def stub_only():
    if cuda.REAL:
        raise Skipped('needs the stub driver')


def start_agent(*args, **more):
    """Starts an agent by hand; returns its PID when it listens."""
    os.makedirs('/run/thaw', exist_ok=True)
    pid = box.spawn([box.THAW, 'gpu-agent', '-v3', '-o', os.path.abspath('agent.log'), *map(str, args)], env=cuda.env(**more))

    def listens():
        """the agent to listen"""
        check(box.state(pid) not in ('', 'Z'), 'the agent has ended')
        return os.path.exists('agent.log') and 'listens at' in open('agent.log').read()
    box.until(listens)
    return pid


def status():
    """What the agent says of itself, once it has started the driver."""
    def answer():
        """the agent to have started the driver"""
        r = cuda.thaw('gpu-agent', '--status', '--json')
        return r if 'just starting' not in r.err else None
    return json.loads(box.must(box.until(answer)).out)


def at_once(*commands, **more):
    """Runs thaw cuda commands at the same time; [(exit code, stderr)]."""
    ps = [subprocess.Popen([box.THAW, 'cuda', *map(str, c)], env=cuda.env(**more), stdout=subprocess.PIPE, text=True,
                           stderr=subprocess.PIPE) for c in commands]
    return [(p.communicate(timeout=60)[1], p.returncode)[::-1] for p in ps]


# --- its life -----------------------------------------------------------------------------------------------------

@case('agent/systemd unit')
def systemd_unit():
    """The unit is one that systemd takes, and what it starts takes its options."""
    with open(os.path.join(box.TOP, 'packaging/thaw-gpu-agent.service')) as f:
        unit = f.read()
    start = next(x for x in unit.splitlines() if x.startswith('ExecStart=')).split('=', 1)[1].split()
    check(start[0] == '/usr/bin/thaw', f'it starts {start[0]}')
    if not shutil.which('systemd-analyze'):
        raise Skipped('no systemd-analyze')
    with open('thaw-gpu-agent.service', 'w') as f:  # the manual need not be installed here
        f.write('\n'.join(x for x in unit.splitlines() if not x.startswith('Documentation')).replace('/usr/bin/thaw', box.THAW))
    r = box.must(box.run(['systemd-analyze', 'verify', './thaw-gpu-agent.service']))
    check(r.err == '', r.err)
    pid = box.spawn([box.THAW, *start[1:]], env=cuda.env())
    box.until(lambda: cuda.thaw('gpu-agent', '--status').code == 0)  # it answers: it knows signals, too
    os.kill(pid, signal.SIGTERM)
    status_ = box.wait_gone(pid)
    check(os.WIFEXITED(status_) and os.WEXITSTATUS(status_) == 0, box.status_text(status_))


@case('agent/one for all')
def one_for_all():
    """Many clients at once start one agent; it has a session of its own and no descriptor of theirs."""
    pid = cuda.start()
    for code, err in at_once(*[['--get-state', '--pid', pid]] * 12):
        check(code == 0, err)
    check(len(cuda.agents()) == 1, f'{len(cuda.agents())} agents')
    agent = cuda.agents()[0]
    with open(f'/proc/{agent}/stat') as f:
        session = int(f.read().rsplit(')', 1)[1].split()[3])
    check(session != os.getsid(0), 'it is in the session of whoever started it')
    check(os.readlink(f'/proc/{agent}/cwd') == '/', 'it keeps a directory busy')
    for fd in ('0', '1', '2'):
        check(os.readlink(f'/proc/{agent}/fd/{fd}') == '/dev/null', f'descriptor {fd}')
    cuda.passes(pid)


@case('agent/ends idle')
def ends_idle():
    agent = start_agent('--gpu-idle-timeout', 1)
    check(status()['pid'] == agent, 'another one answers')
    t0 = time.monotonic()
    box.wait_gone(agent, 10)
    check(time.monotonic() - t0 > 0.8, 'it did not wait')
    check(not os.path.exists(SOCKET), 'its socket is left')


@case('agent/SIGTERM')
def sigterm():
    """It gives back all that it has, and is gone; the next command starts another one."""
    pid = cuda.start()
    agent = start_agent('--gpu-pool-size', 2)
    box.until(lambda: status()['gpus'][0]['pool']['state'] == 'ready')
    os.kill(agent, signal.SIGTERM)
    status_ = box.wait_gone(agent)
    check(os.WIFEXITED(status_) and os.WEXITSTATUS(status_) == 0, box.status_text(status_))
    check(not os.path.exists(SOCKET), 'its socket is left')
    if not cuda.REAL:
        mine = [c for p, c in cuda.calls() if p == agent]
        check(mine.count('cuMemHostAlloc') == 4 == mine.count('cuMemFreeHost'), 'pinned buffers')
        check(mine.count('cuDevicePrimaryCtxRetain') == 2 == mine.count('cuDevicePrimaryCtxRelease_v2'), 'contexts')
    box.refused(cuda.thaw('gpu-agent', '--status'), 'no GPU agent runs here')
    check(cuda.state(pid) == 'running', 'no new agent')
    cuda.passes(pid)


@case('agent/killed')
def killed():
    """One that was killed in the middle of a step leaves a stale socket; its client gets a sentence, the next a new agent."""
    stub_only()
    pid = cuda.start()
    cuda.rules('cuCheckpointProcessLock 1 sleep=60000')
    agent = start_agent()
    p = subprocess.Popen([box.THAW, 'cuda', '--action', 'lock', '--pid', str(pid)], env=cuda.env(), stderr=subprocess.PIPE, text=True)
    box.until(lambda: status()['steps'])
    os.kill(agent, signal.SIGKILL)
    err = p.communicate(timeout=20)[1]
    check(p.returncode == 1 and 'the GPU agent is gone' in err, err)
    check(os.path.exists(SOCKET), 'no stale socket: this test tests nothing')
    box.wait_gone(agent)
    cuda.rules()
    check(cuda.state(pid) == 'running', 'no new agent')
    cuda.passes(pid)


@case('agent/slow driver')
def slow_driver():
    """While the driver starts, clients get in and the status answers; the first step waits."""
    stub_only()
    pid = cuda.start()
    cuda.rules('cuInit 1 sleep=1500')
    start_agent()
    r = cuda.thaw('gpu-agent', '--status')
    box.refused(r, 'just starting the NVIDIA driver')
    check(r.seconds < 1, f'the status took {r.seconds} s')
    check(cuda.state(pid) == 'running', 'no answer')
    cuda.passes(pid)


@case('agent/only one')
def only_one():
    start_agent()
    r = cuda.thaw('gpu-agent')
    box.refused(r, f'a GPU agent listens at {SOCKET} already')


@case('agent/users')
def users():
    """An ordinary user has an agent of the own; it does not work on others' processes."""
    os.chmod('.', 0o777)
    os.makedirs('/run/user/65534', exist_ok=True)
    os.chown('/run/user/65534', 65534, 65534)
    pid = cuda.start()
    nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    env = cuda.env(XDG_RUNTIME_DIR='/run/user/65534')
    thaw = '/run/user/65534/thaw'  # the checkout may lie where only root goes
    shutil.copy(box.THAW, thaw)
    if not cuda.REAL:
        shutil.copy(f'{cuda.STUB}/libcuda.so.1', '/run/user/65534')
        env.update(THAW_LIBCUDA='/run/user/65534/libcuda.so.1', STUB_CUDA_LOG='/run/user/65534/calls')
    r = box.run([*nobody, thaw, 'cuda', '--get-state', '--pid', str(pid)], env=env)
    box.refused(r, 'thaw-gpu-agent is neither in /run/user/65534 nor in ')
    os.mkdir('/run/user/65534/lib', 0o700)
    shutil.copy(box.DYNAMIC, '/run/user/65534/lib')
    os.symlink('lib/thaw-gpu-agent', '/run/user/65534/thaw-gpu-agent')
    r = box.run([*nobody, thaw, 'cuda', '--get-state', '--pid', str(pid)], env=env)
    box.refused(r, '/run/user/65534/thaw-gpu-agent: Permission denied')
    os.chmod('/run/user/65534/lib', 0o755)
    r = box.run([*nobody, thaw, 'cuda', '--get-state', '--pid', str(pid)], env=env)
    box.refused(r, f'process {pid} belongs to user 0, not to user 65534')
    start_agent()
    r = box.run([*nobody, thaw, 'cuda', '--gpu-socket', SOCKET, '--get-state', '--pid', str(pid)], env=env)
    box.refused(r, 'Permission denied')
    os.chmod(SOCKET, 0o666)
    r = box.run([*nobody, thaw, 'cuda', '--gpu-socket', SOCKET, '--get-state', '--pid', str(pid)], env=env)
    box.refused(r, 'user 65534 may not use the GPU agent of user 0')
    cuda.passes(pid)


@case('agent/garbage')
def garbage():
    """Whatever is sent to it, and by how many at once: the agent goes on."""
    pid = cuda.start()
    agent = start_agent()
    status()
    dice = random.Random(1)
    for n in (0, 1, 27, 28, 1052, 1053, 5000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.connect(SOCKET)
            s.send(dice.randbytes(n))
    with open(os.path.join(box.TOP, 'src/gpu/gpu_wire.h')) as f:
        version = int(f.read().split('GPU_WIRE_VERSION = ')[1].split(',')[0], 16)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(SOCKET)
        for i in range(500):  # nearly right ones, whose answers are read
            n = dice.choice((0, 0, 1, 32, 33, 2**32 - 1))
            head = struct.pack('<4Ii2I', dice.choice((version, version, i)), dice.randrange(16), i, 1000, dice.choice((0, -1, 1, pid, 999999)), n, i % 2)
            s.send(head + dice.randbytes(32 * dice.choice((0, min(n, 32)))))
            answer = s.recv(65536)
            check(struct.unpack_from('<2I', answer) == (version, i), f'answer {i}: {answer[:40]}')
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    deaf.connect(SOCKET)
    for i in range(300):
        deaf.send(struct.pack('<4Ii2I', version, 1, i, 1000, 0, 0, 0))  # and answers that nobody reads
    crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(300)]
    for s in crowd[:250]:
        s.connect(SOCKET)
    for s in crowd:
        s.close()
    check(status()['pid'] == agent, 'another one answers')
    # some of the requests may have been a lock and a checkpoint
    check(cuda.state(pid) in ('running', 'locked', 'checkpointed'), cuda.state(pid))
    deaf.close()


# --- what it cannot work with -------------------------------------------------------------------------------------

def nothing_left():
    """an agent that has nothing to work with ends, and its socket with it"""
    box.until(lambda: not cuda.agents())
    check(not os.path.exists(SOCKET), 'its socket is left')


def broken(text, more):
    stub_only()
    box.refused(cuda.cuda('--get-state', '--pid', os.getpid(), **more), text)
    nothing_left()


for what, text, more in (
        ('no driver', 'no NVIDIA driver that can be loaded', {'THAW_LIBCUDA': '/nowhere/libcuda.so.1'}),
        ('no driver at all', 'does not tell its version', {'THAW_LIBCUDA': 'libm.so.6'}),
        ('old driver', 'CUDA 12.4: checkpoints need driver 570', {'STUB_CUDA_DRIVER': 12040}),
        ('no GPU', 'CUDA_ERROR_NO_DEVICE', {'STUB_CUDA_GPUS': ''})):
    case_add(f'agent/{what}', functools.partial(broken, text, more))


@case('agent/missing calls')
def missing_calls():
    """A driver that lacks calls is refused by their names."""
    stub_only()
    with open('thin.c', 'w') as f:
        f.write('int cuDriverGetVersion(int *v) { *v = 13000; return 0; }\nint cuInit(unsigned f) { return (int)f; }\n')
    box.must(box.run(['gcc', '-shared', '-fPIC', '-o', 'thin.so', 'thin.c']))
    r = cuda.cuda('--get-state', '--pid', os.getpid(), THAW_LIBCUDA=os.path.abspath('thin.so'))
    box.refused(r, 'cuCheckpointProcessLock')
    check('cuInit' not in r.err, r.err)


def start_fails(call):
    stub_only()
    cuda.rules(f'{call} 0 999')
    box.refused(cuda.cuda('--get-state', '--pid', os.getpid()), 'CUDA_ERROR_UNKNOWN')
    nothing_left()


for call in ('cuInit', 'cuDeviceGetCount', 'cuDeviceGet', 'cuDeviceGetUuid_v2', 'cuDeviceGetName', 'cuDeviceTotalMem_v2'):
    case_add(f'agent/{call} fails', functools.partial(start_fails, call))


@case('agent/no memory for the pool')
def no_pool():
    """Without a pool the agent works all the same."""
    stub_only()
    pid = cuda.start()
    cuda.rules('cuMemHostAlloc 3 2')
    start_agent()
    box.until(lambda: status()['gpus'][0]['pool']['state'] == 'given up')
    for _ in range(2):
        box.must(cuda.cuda('--toggle', '--pid', pid))
    log = open('agent.log').read()
    check('goes without a context pool' in log and 'using pooled' not in log, log)
    if not cuda.REAL:
        agent = cuda.agents()[0]
        mine = [c for p, c in cuda.calls() if p == agent]
        check(mine.count('cuDevicePrimaryCtxRetain') == mine.count('cuDevicePrimaryCtxRelease_v2'), 'contexts are left')
    cuda.passes(pid)


# --- steps --------------------------------------------------------------------------------------------------------

@case('agent/steps at once')
def steps_at_once():
    """Steps on different processes overlap; the fifth finds the pool exhausted."""
    stub_only()
    pids = [cuda.start(f's{i}') for i in range(5)]
    cuda.rules('cuCheckpointProcessCheckpoint 0 sleep=1000')
    start_agent()
    box.until(lambda: status()['gpus'][0]['pool']['state'] == 'ready')
    for p in pids:
        box.must(cuda.cuda('--action', 'lock', '--pid', p))
    t0 = time.monotonic()
    for code, err in at_once(*[['--action', 'checkpoint', '--pid', p] for p in pids]):
        check(code == 0, err)
    check(time.monotonic() - t0 < 3.5, 'they went one after the other')
    log = open('agent.log').read()
    check(sum(f'using pooled context for PID {p} ' in log for p in pids) == 4, 'pooled contexts')
    check(log.count('context pool exhausted') == 1, 'exhaustion')
    pool = status()['gpus'][0]['pool']
    check((pool['made'], pool['free'], pool['users']) == (4, 4, []), f'{pool}')
    cuda.rules()
    for i, p in enumerate(pids):
        box.must(cuda.cuda('--action', 'restore', '--pid', p))
        box.must(cuda.cuda('--action', 'unlock', '--pid', p))
        cuda.passes(p, f's{i}')


@case('agent/hung call')
def hung_call():
    """A driver call that never comes back: a sentence in time, and all others go on."""
    stub_only()
    bad, good = cuda.start('bad'), cuda.start('good')
    cuda.rules('cuCheckpointProcessCheckpoint 1 hang')
    agent = start_agent()
    box.must(cuda.cuda('--action', 'lock', '--pid', bad))
    r = cuda.cuda('--action', 'checkpoint', '--pid', bad, '--timeout', 300)
    box.refused(r, f'process {bad}: the NVIDIA driver has not finished its checkpoint in 300 ms')
    check(r.seconds < 5, f'that took {r.seconds} s')
    box.refused(cuda.cuda('--action', 'unlock', '--pid', bad), 'is still at its checkpoint')
    check([s['late'] for s in status()['steps']] == [True], 'the status does not tell')
    for _ in range(2):
        box.must(cuda.cuda('--toggle', '--pid', good))
    cuda.passes(good, 'good')
    os.kill(agent, signal.SIGTERM)
    box.wait_gone(agent, 15)
    box.must(cuda.cuda('--action', 'unlock', '--pid', bad))
    cuda.passes(bad, 'bad')


@case('agent/late lock')
def late_lock():
    """A lock that comes about when nobody waits for it any more is undone."""
    stub_only()
    pid = cuda.start()
    cuda.rules('cuCheckpointProcessLock 1 sleep=2500')
    start_agent()
    box.refused(cuda.cuda('--action', 'lock', '--pid', pid, '--timeout', 100), 'has not finished its lock')
    box.until(lambda: 'came back after' in open('agent.log').read() and not status()['steps'])
    check(cuda.state(pid) == 'running', f'{cuda.state(pid)} after a late lock')
    cuda.passes(pid)


@case('agent/busy program')
def busy_program():
    """Calls in flight finish before the lock; when they do not, the lock is given up and the program goes on."""
    stub_only()
    pid = cuda.start(busy=True)
    cuda.rules('cuLaunchKernel 0 sleep=700')
    r = cuda.cuda('--action', 'lock', '--pid', pid, '--timeout', 100)
    box.refused(r, 'did not come to rest in time')
    check(cuda.state(pid) == 'running', 'not running after a lock that was given up')
    box.must(cuda.cuda('--action', 'lock', '--pid', pid, '--timeout', 5000))
    cuda.rules()
    box.must(cuda.cuda('--action', 'unlock', '--pid', pid))
    cuda.passes(pid)


@case('agent/stopped program')
def stopped_program():
    """The driver's work is done by a thread of the process: where that cannot run, the step hangs and is given up."""
    pid = cuda.start()
    box.must(cuda.cuda('--action', 'lock', '--pid', pid))
    os.kill(pid, signal.SIGSTOP)
    box.refused(cuda.cuda('--action', 'checkpoint', '--pid', pid, '--timeout', 500), 'has not finished its checkpoint')
    os.kill(pid, signal.SIGCONT)
    box.until(lambda: not status()['steps'])
    check(cuda.state(pid) == 'checkpointed', cuda.state(pid))
    box.must(cuda.cuda('--toggle', '--pid', pid))
    cuda.passes(pid)


@case('agent/program that dies')
def dies():
    stub_only()
    pid = cuda.start()
    box.must(cuda.cuda('--action', 'lock', '--pid', pid))
    cuda.rules('cuCheckpointProcessCheckpoint 0 sleep=600')
    p = subprocess.Popen([box.THAW, 'cuda', '--action', 'checkpoint', '--pid', str(pid)], env=cuda.env(), stderr=subprocess.PIPE, text=True)
    box.until(lambda: status()['steps'])
    os.kill(pid, signal.SIGKILL)
    box.wait_gone(pid)
    err = p.communicate(timeout=20)[1]
    check(p.returncode == 1 and f'process {pid} ended during' in err, err)
    check(len(cuda.agents()) == 1, 'the agent went with it')


def step_fails(call, action, error, text):
    """A step fails: a sentence that says which, and the state is as before."""
    stub_only()
    pid = cuda.start()
    before = {'lock': (), 'checkpoint': ('lock',), 'restore': ('lock', 'checkpoint'), 'unlock': ('lock',)}[action]
    for a in before:
        box.must(cuda.cuda('--action', a, '--pid', pid))
    state = cuda.state(pid)
    cuda.rules(f'{call} 0 {error}')
    box.refused(cuda.cuda('--action', action, '--pid', pid), text)
    cuda.rules()
    check(cuda.state(pid) == state, f'{cuda.state(pid)} after a {action} that failed')
    for a in {'lock': (), 'checkpoint': ('unlock',), 'restore': ('restore', 'unlock'), 'unlock': ('unlock',)}[action]:
        box.must(cuda.cuda('--action', a, '--pid', pid))
    cuda.passes(pid)


for call, action in (('Lock', 'lock'), ('Checkpoint', 'checkpoint'), ('Restore', 'restore'), ('Unlock', 'unlock')):
    for error, text in ((2, 'memory'), (801, 'cannot checkpoint'), (999, f"driver's {action} failed: CUDA_ERROR_UNKNOWN")):
        case_add(f'agent/{action} fails with {error}',
                 functools.partial(step_fails, f'cuCheckpointProcess{call}', action, error, text))


@case('agent/toggle that fails')
def toggle_fails():
    """A toggle whose checkpoint fails lets the process go on."""
    stub_only()
    pid = cuda.start()
    cuda.rules('cuCheckpointProcessCheckpoint 1 801')
    box.refused(cuda.cuda('--toggle', '--pid', pid), 'CUDA_ERROR_NOT_SUPPORTED')
    check(cuda.state(pid) == 'running', cuda.state(pid))
    cuda.rules('cuCheckpointProcessCheckpoint 0 801', 'cuCheckpointProcessUnlock 0 999')
    box.refused(cuda.cuda('--toggle', '--pid', pid), 'CUDA_ERROR_NOT_SUPPORTED (says the stub): it uses what this driver cannot')
    cuda.rules()
    check(cuda.state(pid) == 'locked', cuda.state(pid))
    box.must(cuda.cuda('--action', 'unlock', '--pid', pid))
    cuda.passes(pid)


@case('agent/full GPU')
def full_gpu():
    """Where there is no room on the GPU, the agent leaves its own to the process and tries once more."""
    stub_only()
    pid = cuda.start()
    start_agent()
    box.must(cuda.cuda('--toggle', '--pid', pid))
    cuda.rules('cuCheckpointProcessRestore 1 2')
    box.must(cuda.cuda('--toggle', '--pid', pid))
    check('the context pools are given up' in open('agent.log').read(), 'not given up')
    check(status()['gpus'][0]['pool']['made'] == 0, 'contexts are left')
    cuda.passes(pid)


# --- several GPUs -------------------------------------------------------------------------------------------------

def uuid(n):
    return f'GPU-5b5b5b5b-5b5b-5b5b-5b5b-5b5b5b5b{n:04x}'


@case('agent/map of GPUs')
def map_of_gpus():
    """Two programs swap their GPUs; a map that is not complete, or means another chip, is refused."""
    stub_only()
    gpus = {'STUB_CUDA_GPUS': '1,2,100'}
    pids = [cuda.start(f's{i}', gpu=i, STUB_CUDA_GPUS='1,2') for i in range(2)]
    start_agent(**gpus)
    check([g['uuid'] for g in status()['gpus']] == [uuid(1), uuid(2), uuid(100)], 'the GPUs of the status')
    for p in pids:
        box.must(cuda.cuda('--toggle', '--pid', p))
        for bad, text in ((f'{uuid(1)}={uuid(2)}', 'must name every GPU'), (f'{uuid(1)}={uuid(1)},{uuid(2)}={uuid(100)}', 'GPUs differ'),
                          (f'{uuid(1)}={uuid(7)},{uuid(2)}={uuid(1)}', f'{uuid(7)} of the map of GPUs is not here'),
                          (f'{uuid(1)}={uuid(2)},{uuid(1)}={uuid(1)}', 'twice'), (f'{uuid(1)}={uuid(2)},{uuid(2)}={uuid(2)}', 'twice')):
            box.refused(cuda.cuda('--action', 'restore', '--device-map', bad, '--pid', p), text)
        box.must(cuda.cuda('--action', 'restore', '--device-map', f'{uuid(1)}={uuid(2)},{uuid(2)}={uuid(1)}', '--pid', p))
        box.must(cuda.cuda('--action', 'unlock', '--pid', p))
    for i, p in enumerate(pids):
        cuda.passes(p, f's{i}')


@case('agent/which GPU')
def which_gpu():
    """A process is worked on with contexts of the GPUs that it has open."""
    stub_only()
    cuda.devices(2)
    pid = cuda.start(STUB_CUDA_GPUS='1')
    start_agent(STUB_CUDA_GPUS='1,2')
    box.until(lambda: all(g['pool']['state'] == 'ready' for g in status()['gpus']))
    cuda.rules('cuCheckpointProcessCheckpoint 0 sleep=800')
    box.must(cuda.cuda('--action', 'lock', '--pid', pid))
    p = subprocess.Popen([box.THAW, 'cuda', '--action', 'checkpoint', '--pid', str(pid)], env=cuda.env())
    used = box.until(lambda: (lambda n: any(n) and n)([len(g['pool']['users']) for g in status()['gpus']]))
    p.wait(20)
    check(used == [1, 0], f'contexts of {used}')
    for a in ('restore', 'unlock'):
        box.must(cuda.cuda('--action', a, '--pid', pid, STUB_CUDA_GPUS='1,2'))
    cuda.passes(pid)


@case('agent/map for a restore')
def map_for_restore():
    """A restore whose map names a GPU that is not here is refused before anything is created."""
    stub_only()
    pid = cuda.start(STUB_CUDA_GPUS='1')
    start_agent(STUB_CUDA_GPUS='1,2')
    os.mkdir('images')
    box.must(cuda.thaw('dump', '-t', pid, '-D', 'images', '-o', 'dump.log', '-v4'))
    box.wait_gone(pid)
    restore = ('restore', '-d', '-D', 'images', '-o', 'restore.log', '-v4')
    box.refused(cuda.thaw(*restore, '--gpu-map', f'{uuid(1)}={uuid(9)}'), f'{uuid(9)} of the map of GPUs is not here')
    with open('images/restore.log') as f:
        check('stage launch' not in f.read(), 'it was refused late')
    box.must(cuda.thaw(*restore, '--gpu-map', f'{uuid(1)}={uuid(2)}'))
    cuda.passes(pid)


# --- with thaw's own dump -----------------------------------------------------------------------------------------

@case('agent/dump between')
def dump_between():
    """A checkpointed process is an ordinary one: thaw dumps and restores it, and its GPU memory comes back."""
    stub_only()
    pid = cuda.start(busy=True)
    box.must(cuda.cuda('--toggle', '--pid', pid))
    os.kill(cuda.agents()[0], signal.SIGTERM)
    box.must(cuda.thaw('dump', '-t', pid, '-D', 'images', '-o', 'dump.log', '-v4'))
    box.wait_gone(pid)
    box.must(cuda.thaw('restore', '-d', '-D', 'images', '-o', 'restore.log', '-v4'))
    if cuda.state(pid) == 'checkpointed':
        box.must(cuda.cuda('--toggle', '--pid', pid))
    check(cuda.state(pid) == 'running', cuda.state(pid))
    cuda.passes(pid)
