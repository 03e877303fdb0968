# SPDX-License-Identifier: Apache-2.0
"""CUDA programs for the tests, on the stub driver (test/stub) or, where there is one, the real one.

The stub's rules (test/stub/stub.h) are lines of the file `rules`, its calls are logged in `calls`."""
import os
import signal
import stat

import box
from box import check

STUB = os.path.join(box.BUILD, 'test/stub')
MEMORY = os.path.join(box.BUILD, 'test/gpu/memory')
REAL = os.path.exists('/dev/nvidiactl') and not os.environ.get('THAW_TEST_STUB')


def env(**more):
    """The environment of thaw and of CUDA programs."""
    e = {k: os.environ[k] for k in ('PATH', 'LD_LIBRARY_PATH') if k in os.environ} | {'LC_ALL': 'C'}
    if not REAL:
        e.update(LD_LIBRARY_PATH=STUB, THAW_LIBCUDA=f'{STUB}/libcuda.so.1', THAW_LIBNVML=f'{STUB}/libcuda.so.1',
                 STUB_CUDA_LOG=os.path.abspath('calls'), STUB_CUDA_RULES=os.path.abspath('rules'))
    e.update({k: str(v) for k, v in more.items()})
    return e


def rules(*lines):
    """What goes wrong from now on: 'CALL N WHAT'."""
    with open('rules.new', 'w') as f:
        f.write('\n'.join(lines) + '\n')
    os.rename('rules.new', 'rules')


def calls():
    """[(pid, call)] that the stub has seen."""
    with open('calls') as f:
        return [(int(p), c) for p, c in (x.split() for x in f)]


def verdict(name):
    try:
        with open(name) as f:
            return f.readline().strip()
    except FileNotFoundError:
        return ''


def start(name='subject', mib=16, pieces=4, gpu=0, busy=False, how='', timeout=60, under=(), **more):
    """Starts a CUDA program (memory.c); returns its PID when its GPU memory is filled."""
    argv = [*under, MEMORY, os.path.abspath(name), str(mib), str(pieces), str(gpu)] + (['busy'] if busy else [how] if how else [])
    pid = box.spawn(argv, env=env(**more))

    def ready():
        """the CUDA program to be ready"""
        v = verdict(name)
        if v.startswith('SKIP'):
            raise box.Skipped(v[6:])
        check(not v.startswith('FAIL') and box.state(pid) not in ('', 'Z'), f'while preparing: {v or "it died"}')
        return v == f'ready {pid}'
    box.until(ready, timeout)
    return pid


def passes(pid, name='subject'):
    """Tells the program to verify its GPU memory, which must be right."""
    os.kill(pid, signal.SIGTERM)
    box.wait_gone(pid, 60)
    check(verdict(name) == 'PASS', f'{name}: {verdict(name) or "no verdict"}')


def thaw(*args, timeout=60, **more):
    return box.run([box.THAW, *map(str, args)], timeout=timeout, env=env(**more))


def cuda(*args, **kw):
    return thaw('cuda', *args, **kw)


def state(pid, **kw):
    return box.must(cuda('--get-state', '--pid', pid, **kw)).out.strip()


def agents():
    """The PIDs of all agents."""
    return [p for p in box.pids() if box.state(p) != 'Z' and cmdline(p).split(b'\0')[1:2] == [b'gpu-agent']]


def agent_pid():
    """The agent's PID, or None."""
    return next(iter(agents()), None)


def cmdline(pid):
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as f:
            return f.read()
    except OSError:
        return b''


def agent_log():
    """What the agent that was started on demand has logged."""
    with open('/run/thaw/gpu.sock.log') as f:
        return f.read()


def devices(n):
    """Makes /dev/nvidiactl, nvidia-uvm and nvidia0 to n-1 of the box, which the stub then opens and maps, so as zero devices."""
    os.makedirs('dev', exist_ok=True)
    box.tmpfs(os.path.abspath('dev'))
    os.mkdir('dev/shm')
    for name, major, minor in (('null', 1, 3), ('zero', 1, 5), ('full', 1, 7), ('random', 1, 8), ('urandom', 1, 9), ('tty', 5, 0),
                               ('nvidiactl', 1, 5), ('nvidia-uvm', 1, 5), *((f'nvidia{i}', 1, 5) for i in range(n))):
        os.mknod(f'dev/{name}', 0o666 | stat.S_IFCHR, os.makedev(major, minor))
    box.must(box.run(['mount', '--bind', 'dev', '/dev']))
