# SPDX-License-Identifier: Apache-2.0
"""The box that every test of whole processes runs in.

A box is a set of new PID, mount and network namespaces in which the test is process 1. So PIDs and ports are
free, whatever thaw leaves behind is visible in one /proc, orphans become our children (we learn how they ended),
and when the test ends or is killed the kernel kills all the rest.

Everything on disk is read-only but the test's own directory and private tmpfs on /tmp, /run, /var/tmp and
/dev/shm: a damaged image may well name other files to open and truncate.

Nothing here sleeps for time: processes are waited for by pidfd; only a file's contents are polled.
"""
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get('B', os.path.join(TOP, 'build')))
THAW = os.environ.get('THAW', os.path.join(BUILD, 'thaw'))
DYNAMIC = os.path.join(BUILD, 'thaw-gpu-agent')  # the same code linked dynamically: a library can be preloaded into it
PYTHON = '/usr/bin/python3'  # Debian's, not whatever a user's PATH holds


class Failed(Exception):
    """The test failed; the text is the reason."""


class Skipped(Exception):
    """The test cannot be run here; the text is the reason."""


def check(cond, text):
    if not cond:
        raise Failed(text)


# --- setting up ---------------------------------------------------------------------------------------------------

def _mount(*args):
    subprocess.run(['mount', *args], check=True, stdin=subprocess.DEVNULL)


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack('16sh14x', b'lo', 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(s, 0x8914, request)  # SIOCSIFFLAGS


_home = '.'


def enter(home, *more):
    """Makes the namespaces that unshare(1) gave us into a box with the directory home to write in, and more of them;
    goes there."""
    global _home
    _home = home
    loopback_up()
    os.umask(0o022)
    for d in (home, *more):
        _mount('--bind', d, d)
    for d in ('/tmp', '/run', '/var/tmp', '/dev/shm'):
        if os.path.isdir(d) and not any((x + '/').startswith(d + '/') for x in (home, *more, TOP, BUILD)):
            _mount('-t', 'tmpfs', 'none', d)
    _mount('-o', 'remount,bind,ro', '/')
    os.chdir(home)


def tmpfs(path, size=None):
    os.makedirs(path, exist_ok=True)
    _mount('-t', 'tmpfs', *(['-o', f'size={size}'] if size else []), 'none', path)


# --- processes ----------------------------------------------------------------------------------------------------

_ended = {}  # pid -> wait status of children that were reaped


def reap():
    """Takes the status of every child that has ended, orphans that became ours included."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _ended[pid] = status


def spawn(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, session=True, **kw):
    """Starts a program in a session of its own (or else a process group, which is not an orphaned one: those cannot be
    stopped by a terminal's signals) with nothing but descriptors 0 to 2; returns its PID."""
    p = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=session,
                         process_group=None if session else 0, close_fds=True, **kw)
    p.returncode = 0  # reap() takes the status, not Popen
    _ended.pop(p.pid, None)
    return p.pid


def wait_gone(pid, timeout=20):
    """Waits until pid has ended, our child or not. Its wait status if it was our child, else None."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        reap()
        return _ended.pop(pid, None)
    try:
        if not select.select([fd], [], [], timeout)[0]:
            raise Failed(f'process {pid} ({comm(pid)}) is still there after {timeout} s')
    finally:
        os.close(fd)
    end = time.monotonic() + timeout
    while os.path.exists(f'/proc/{pid}') and time.monotonic() < end:
        reap()  # when it was an orphan, its parent's end comes first
        time.sleep(0.001)
    reap()
    return _ended.pop(pid, None)


def status_text(status):
    if status is None:
        return 'ended'
    if os.WIFSIGNALED(status):
        return f'was killed by {signal.Signals(os.WTERMSIG(status)).name}'
    return f'exited with {os.WEXITSTATUS(status)}'


def pids():
    """Every process of the box but this one; zombies that are ours are reaped first."""
    reap()
    return sorted(int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid())


def comm(pid):
    try:
        with open(f'/proc/{pid}/comm') as f:
            return f.read().strip()
    except OSError:
        return 'gone'


def state(pid):
    """The letter of a process's state: R, S, D, Z, T, t, or nothing at all when there is no such process."""
    try:
        with open(f'/proc/{pid}/stat', errors='replace') as f:
            return f.read().rsplit(')', 1)[1].split()[0]
    except OSError:
        return ''  # it is gone


def thread_states(pid):
    """The letters of all threads of a process."""
    out = []
    try:
        for tid in sorted(map(int, os.listdir(f'/proc/{pid}/task'))):
            with open(f'/proc/{pid}/task/{tid}/stat') as f:
                out.append(f.read().rsplit(')', 1)[1].split()[0])
    except OSError:
        pass
    return out


def kill_all(keep=()):
    """Kills every other process of the box, but those to keep."""
    for _ in range(1000):
        left = [p for p in pids() if p not in keep]
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for pid in left:
            wait_gone(pid)
    raise Failed('processes that cannot be killed')


def nothing_left(text, keep=(), timeout=10):
    """Fails unless all processes but keep are gone soon."""
    end = time.monotonic() + timeout
    while True:
        left = [p for p in pids() if p not in keep]
        if not left:
            return
        if time.monotonic() > end:
            raise Failed(f'{text}: left behind: ' + ', '.join(f'{p} ({comm(p)}, {state(p)})' for p in left[:5]))
        time.sleep(0.005)


def until(what, seconds=20, every=0.003):
    """Calls what() until it returns something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        r = what()
        if r:
            return r
        if time.monotonic() > end:
            raise Failed(f'waited {seconds} s in vain for: {what.__doc__ or what.__name__}')
        time.sleep(every)


# --- programs and thaw --------------------------------------------------------------------------------------------

class Result:
    """How a program ended: code (-N: killed by signal N), out, err, seconds, args."""

    def __init__(self, args, code, out, err, seconds):
        self.args, self.code, self.out, self.err, self.seconds = args, code, out, err, seconds

    def __str__(self):
        return f'{" ".join(self.args)}: exit code {self.code}: {self.err.strip() or "(nothing on stderr)"}'


def _tail(path):
    with open(path, errors='replace') as f:
        return f.read()


def run(argv, timeout=60, **kw):
    """Runs a program to its end and returns a Result. Fails when it takes longer than timeout seconds."""
    out, err = os.path.join(_home, '.out'), os.path.join(_home, '.err')
    t0 = time.monotonic()
    with open(out, 'w') as fo, open(err, 'w') as fe:
        pid = spawn(argv, stdout=fo, stderr=fe, **kw)
    try:
        status = wait_gone(pid, timeout)
    except Failed:
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        print(_tail(out) + _tail(err))
        raise Failed(f'{" ".join(argv)}: no end after {timeout} s') from None
    seconds = time.monotonic() - t0
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    r = Result(argv, code, _tail(out), _tail(err), seconds)
    print(f'+ {" ".join(argv)} -> {code} ({seconds:.3f} s)\n{r.out}{r.err}', end='', flush=True)
    return r


def must(r):
    """r if it is a success."""
    if r.code != 0:
        raise Failed(str(r).replace('\n', ' | '))
    return r


def thaw(cmd, images, *args, timeout=60, log=None, program=THAW, **kw):
    """Runs thaw CMD on an image directory (made if need be); the log goes beside the directory."""
    if cmd == 'dump':
        os.makedirs(images, exist_ok=True)
    log = log or os.path.abspath(images) + f'.{cmd}.log'
    return run([program, cmd, '-D', images, '-o', log, '-v4', *map(str, args)], timeout=timeout, **kw)


def dump(pid, images, *args, **kw):
    return must(thaw('dump', images, '-t', pid, *args, **kw))


def restore(images, *args, **kw):
    return must(thaw('restore', images, '-d', *args, **kw))


def refused(r, text=''):
    """r, which must have failed the way thaw fails: exit code 1 and one sentence that holds text."""
    lines = r.err.splitlines()
    check(r.code == 1, f'exit code 1 was expected of: {r}')
    check(len(lines) == 1 and lines[0].startswith('thaw: ') and len(lines[0]) > 15,
          f'one sentence on stderr was expected of {" ".join(r.args)}: {lines}')
    check(text.lower() in lines[0].lower(), f'a sentence with "{text}" was expected: {lines[0]}')
    return r


# The two ways to fill memory.
FILL = {'serial': ['--disable-parallel-restore'], 'parallel': ['--parallel-restore=2']}


def compiled(source, *flags):
    """Compiles a C file of this repository into the box's directory; returns the program's path."""
    out = os.path.join(os.getcwd(), os.path.basename(source)[:-2])
    must(run([os.environ.get('CC', 'gcc'), '-std=gnu17', '-D_GNU_SOURCE', '-O2', '-g', '-Wall', '-Wextra', '-pthread',
              '-I', os.path.join(TOP, 'test/kind'), '-o', out, os.path.join(TOP, source), *flags], timeout=120))
    return out


def die(text):
    print(text, file=sys.stderr)
    sys.exit(1)
