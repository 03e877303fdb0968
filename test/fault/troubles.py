# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around thaw: taken IDs, files that changed, no privileges, a full disk, wrong options, targets that
die. Each time: exit code 1, one sentence, the target unharmed or nothing left behind; and once the trouble is over,
the same images restore."""
import ctypes
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import box
import facts
import kinds
from box import Skipped, check, refused
from case import case

RICH = os.path.join(box.BUILD, 'test/fault/rich')
LOCKS = ['--file-locks']


def dumped(program=RICH, options=LOCKS):
    """A dumped subject that is gone; its PID."""
    pid = kinds.start(program)
    box.dump(pid, 'images', *options)
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    return pid


def restores(pid, options=LOCKS):
    """The trouble is over: the images restore and the subject passes."""
    box.restore('images', *options)
    kinds.passes(pid, 'restored in the end')


def refuses_restore(text='', keep=(), options=LOCKS):
    r = refused(box.thaw('restore', 'images', '-d', *options), text)
    box.nothing_left(r.err.strip(), keep=keep)


def last_pid(pid):
    with open('/proc/sys/kernel/ns_last_pid', 'w') as f:
        f.write(str(pid))


def sleeper(pid):
    """A process that has this PID; later ones, thaw's own among them, get others than the images need."""
    last_pid(pid - 1)
    p = box.spawn(['sleep', '1000'])
    check(p == pid, f'could not take the PID {pid}')
    last_pid(20000)
    return p


# --- IDs ------------------------------------------------------------------------------------------------------------

def taken(which):
    pid = kinds.start(RICH)
    ids = box.pids() if which == 'PID' else [int(t) for t in os.listdir(f'/proc/{pid}/task')]
    box.dump(pid, 'images', *LOCKS)
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    for i in sorted(ids):
        p = sleeper(i)
        refuses_restore(str(i), keep=[p])
        check(box.state(p) == 'S', 'the process that had the PID was harmed')
        os.kill(p, signal.SIGKILL)
        box.wait_gone(p)
    restores(pid)


@case('PID taken')
def pid_taken():
    taken('PID')


@case('thread ID taken')
def tid_taken():
    taken('TID')


@case('restored twice')
def twice():
    pid = dumped()
    box.restore('images', *LOCKS)
    before = facts.tree(box.pids())
    refuses_restore(keep=box.pids())
    kinds.same(before, 'a second restore')
    kinds.passes(pid, 'restored once')


# --- files ----------------------------------------------------------------------------------------------------------

def own_program():
    shutil.copy(RICH, 'program')
    return os.path.abspath('program')


@case('binary missing')
def binary_missing():
    program = own_program()
    pid = dumped(program)
    os.rename('program', 'away')
    refuses_restore('program')
    os.rename('away', 'program')
    restores(pid)


@case('binary changed')
def binary_changed():
    program = own_program()
    pid = dumped(program)
    size = os.path.getsize('program')
    with open('program', 'ab') as f:
        f.write(b'x')
    refuses_restore('program')
    os.truncate('program', size)
    restores(pid)


@case('file missing')
def file_missing():
    pid = dumped()
    os.rename('subject/data', 'away')
    refuses_restore('subject/data')
    os.rename('away', 'subject/data')
    restores(pid)


@case('file size changed')
def file_changed():
    pid = dumped()
    for size in (0, 8, 10, 100000):
        os.truncate('subject/data', size)
        refuses_restore('subject/data')
    with open('subject/data', 'wb') as f:
        f.write(b'some data')
    restores(pid)


@case('directory missing')
def directory_missing():
    pid = dumped()
    os.rename('subject', 'away')
    refuses_restore('subject')
    os.rename('away', 'subject')
    restores(pid)


@case('port taken')
def port_taken():
    pid = dumped()
    p = box.spawn([box.PYTHON, '-c', 'import socket, time; s = socket.create_server(("127.0.0.1", 7777)); open("up", "w"); time.sleep(1000)'])
    box.until(lambda: os.path.exists('up'))
    refuses_restore('7777', keep=[p])
    os.kill(p, signal.SIGKILL)
    box.wait_gone(p)
    restores(pid)


# --- privileges, room -----------------------------------------------------------------------------------------------

NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all']


@case('no privileges')
def no_privileges():
    pid = dumped()
    box.restore('images', *LOCKS)
    if not os.path.ismount('/tmp'):
        raise Skipped('no place here that everybody may read')
    shutil.copy(box.THAW, '/tmp/thaw')
    shutil.copytree('images', '/tmp/images')
    os.chmod('/tmp', 0o1777)
    box.must(box.run(['chmod', '-R', 'a+rX', '/tmp/thaw', '/tmp/images']))
    os.mkdir('/tmp/out')
    os.chmod('/tmp/out', 0o777)
    before = facts.tree(box.pids())
    refused(box.run([*NOBODY, '/tmp/thaw', 'dump', '-t', str(pid), '-D', '/tmp/out'], cwd='/tmp'))
    kinds.same(before, 'a dump without privileges')
    check(not os.path.exists('/tmp/out/inventory.img'), 'a dump without privileges left images that look complete')
    kinds.passes(pid, 'after a dump without privileges')
    refused(box.run([*NOBODY, '/tmp/thaw', 'restore', '-d', '-D', '/tmp/images', *LOCKS], cwd='/tmp'))
    box.nothing_left('a restore without privileges')


@case('disk full')
def disk_full():
    """Whatever does not fit, from nearly nothing to nearly everything: the target goes on, the images are no images."""
    pid = kinds.start(RICH)
    before = facts.tree(box.pids())
    box.dump(pid, 'whole', '--leave-running', *LOCKS)
    need = sum(os.path.getsize(f'whole/{f}') for f in os.listdir('whole')) >> 12
    for pages in sorted({1, 5, need // 4, need // 2, need * 3 // 4, need - 2}):
        box.tmpfs('small', pages << 12)
        refused(box.thaw('dump', 'small', '-t', pid, *LOCKS))
        check(not os.path.exists('small/inventory.img'), f'images on a full disk look complete ({pages} pages of {need})')
        left = os.listdir('small')
        check(not left, f'a failed dump left files: {left}')
        box.must(box.run(['umount', 'small']))
        kinds.same(before, f'a dump to a full disk ({pages} pages of {need})')
    kinds.passes(pid, 'after dumps to a full disk')


@case('file size limit')
def size_limit():
    """RLIMIT_FSIZE would kill a program that does not expect SIGXFSZ."""
    pid = kinds.start(RICH)
    before = facts.tree(box.pids())
    os.mkdir('images')
    refused(box.run(['prlimit', '--fsize=20000', box.THAW, 'dump', '-t', str(pid), '-D', 'images', *LOCKS]))
    check(not os.path.exists('images/inventory.img'), 'images that were cut look complete')
    kinds.same(before, 'a dump cut by a limit')
    kinds.passes(pid, 'after a dump cut by a limit')


# --- names ----------------------------------------------------------------------------------------------------------

WILD = '''
import ctypes, time
ctypes.CDLL(None).prctl(15, b"\\x1b[31m\\n\\"\\\\\\xff\\xc2\\x9b", 0, 0, 0)
f = open(b"a\\x1b[2J\\n\\"\\\\\\xff\\t\\x7f", "w")
open("up", "w")
time.sleep(1000)
'''


@case('wild names')
def wild_names():
    """Names that would paint the terminal, break a line or are no UTF-8: text has no control characters, JSON is JSON."""
    with open('wild.py', 'w') as f:
        f.write(WILD)
    pid = box.spawn([box.PYTHON, 'wild.py'])
    box.until(lambda: os.path.exists('up'))
    box.must(box.thaw('dump', 'images', '-t', pid, '--trace', 'dump.json'))
    box.wait_gone(pid)

    def said(*words):
        r = subprocess.run([box.THAW, *words], capture_output=True)
        text = r.stdout + r.stderr
        painting = re.search(rb'[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]', text)
        check(words[0] == 'show' and text.startswith(b'{') or not painting, f'thaw {words}: control characters: {text}')
        return r.returncode, r.stdout, r.stderr

    check(json.loads(said('show', 'images', '--json')[1])['tasks'][0]['pid'] == pid, 'show --json')
    json.loads(said('show', f'images/core-{pid}.img')[1])
    check(said('show', 'images')[1].count(b'\\x1b[2J\\x0a') == 1, 'the name is not shown')
    check(said('plan', 'images', '--pie')[1].count(b'?[31m?'), 'the plan')
    said('restore', '-d', '-D', 'images', '--trace', 'restore.json')
    box.kill_all()
    for f in ('dump.json', 'restore.json'):
        with open(f, encoding='ascii') as f:
            check(all('ph' in e and 'pid' in e and 'name' in e for e in json.load(f)), f'{f.name} is no timeline')
    os.unlink(b'a\x1b[2J\n"\\\xff\t\x7f')
    code, _, err = said('restore', '-d', '-D', 'images')
    check(code == 1 and len(err.splitlines()) == 1 and b'No such file' in err, f'{err}')
    box.nothing_left('a restore without a file')


# --- options --------------------------------------------------------------------------------------------------------

@case('wrong options')
def wrong_options():
    pid = kinds.start(RICH)
    before = facts.tree(box.pids())
    os.mkdir('empty')
    with open('file', 'w'):
        pass
    lines = f'''
        dump
        dump -D empty
        dump -t
        dump -t 0 -D empty
        dump -t -5 -D empty
        dump -t seven -D empty
        dump -t {pid}x -D empty
        dump -t 4000000 -D empty
        dump -t 99999999999999999999 -D empty
        dump -t {pid} -D empty --no-such-option
        dump -t {pid} -D empty surplus
        dump -t {pid} -D file
        dump -t {pid} -D file/below
        dump -t {pid} -D /proc
        dump -t {pid} -D empty --ghost-limit=many
        dump -t {pid} -D empty --timeout=-1
        dump -t {pid} -D empty --tcp-established
        dump -t {pid} -D empty -o nowhere/log
        dump -t {pid} -D empty -W nowhere
        dump -t {pid} -D empty --config nowhere
        dump -t {pid} -D empty --action-script /bin/false
        restore
        restore -D empty
        restore -D nowhere
        restore -D file
        restore -D empty --parallel-restore=0
        restore -D empty --parallel-restore=many
        restore -D empty --leave-running
        restore -D empty --inherit-fd fd[1]:x
        restore -D empty -vx
        show empty
        show nowhere
        show file
        plan empty
        check --no-such-option
        resurrect -D empty
        --frobnicate
    '''
    for line in filter(None, map(str.strip, lines.split('\n'))):
        refused(box.run([box.THAW, *line.split()], timeout=20))
        left = sorted(os.listdir('empty'))
        check(not left, f'thaw {line}: left {left}')
    kinds.same(before, 'wrong options')
    kinds.passes(pid, 'after wrong options')


@case('usage')
def usage():
    """What asks for help gets it, and exit code 0."""
    for words in (['--help'], ['-h'], ['--version'], ['-V'], ['dump', '--help'], ['restore', '--help'], ['check', '--help']):
        r = box.must(box.run([box.THAW, *words], timeout=20))
        check('thaw' in r.out and not r.err, f'thaw {" ".join(words)}: {r.out!r} {r.err!r}')


# --- targets --------------------------------------------------------------------------------------------------------

@case('dump of its own ancestor')
def ancestor():
    os.mkdir('images')
    refused(box.run([box.THAW, 'dump', '-t', str(os.getpid()), '-D', 'images'], timeout=20))


@case('traced target')
def traced():
    """Somebody else traces the target: a debugger. It keeps its target, thaw says so."""
    libc = ctypes.CDLL(None, use_errno=True)
    pid = kinds.start(RICH)
    check(libc.ptrace(0x4206, pid, 0, 0) == 0, 'PTRACE_SEIZE')
    before = facts.tree(box.pids())
    refused(box.thaw('dump', 'images', '-t', pid, *LOCKS))
    kinds.same(before, 'a dump of a traced process')
    libc.ptrace(0x4207, pid, 0, 0)  # PTRACE_INTERRUPT: only a stopped tracee can be let go
    os.waitpid(pid, 0)
    check(libc.ptrace(17, pid, 0, 0) == 0, 'PTRACE_DETACH')
    kinds.passes(pid, 'let go by its tracer')


@case('zombie target')
def zombie():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    refused(box.thaw('dump', 'images', '-t', pid))


@case('target dies during the dump', limit=120)
def dies():
    """It is killed at a random moment: the dump fails with a sentence, or it had the target already."""
    random.seed(4)
    seconds = 0.05
    failed = 0
    for n in range(40):
        for d in ('images', kinds.DIR):
            shutil.rmtree(d, ignore_errors=True)
        pid = kinds.start(RICH)
        os.mkdir('images')
        with open('err', 'w') as e:
            t = box.spawn([box.THAW, 'dump', '-t', str(pid), '-D', 'images', '-o', os.path.abspath('log'), *LOCKS], stderr=e)
        time.sleep(random.uniform(0, seconds))  # the random moment itself
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        status = box.wait_gone(t, 20)
        with open('err') as e:
            r = box.Result(['thaw', 'dump'], os.waitstatus_to_exitcode(status), '', e.read(), 0)
        if r.code:
            failed += 1
            refused(r)
            check(not os.path.exists('images/inventory.img'), f'run {n}: a failed dump left images that look complete')
        box.kill_all()
    print(f'{failed} of 40 dumps failed')
