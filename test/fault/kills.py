# SPDX-License-Identifier: Apache-2.0
"""thaw itself is killed (SIGKILL) at random moments of a dump and of a restore, fifty times each: the process that was
started, its child that does the work, or both.

A killed dump leaves the target counting, or it had come to its end: then the target is gone as a whole and the images
restore. Images that are not complete are refused. A killed restore leaves nothing: no process, no file, no mount; or
it too had come to its end, and the whole tree counts."""
import functools
import os
import random
import shutil
import signal
import time

import board
import box
from box import check
from case import case_add

TIMES, TRIES = 50, 300


def victims(pid, whom):
    """The processes to kill: thaw's own, never one that it dumps or restores."""
    own = [pid]
    for p in box.pids():
        try:
            with open(f'/proc/{p}/stat') as f:
                parent = int(f.read().rsplit(')', 1)[1].split()[1])
            if parent == pid and os.path.samefile(f'/proc/{p}/exe', box.THAW) and box.comm(p) != 'counting':
                own.append(p)
        except OSError:
            pass
    return {'thaw': own[:1], 'engine': own[1:], 'both': own}[whom]


def thaw_killed(cmd, args, delay, whom):
    """Starts thaw and kills it after delay seconds; False if it had ended before."""
    with open('thaw.err', 'w') as e:
        pid = box.spawn([box.THAW, cmd, *map(str, args)], stderr=e)
    time.sleep(delay)  # the random moment itself
    killed = victims(pid, whom)
    for p in killed:
        try:
            os.kill(p, signal.SIGKILL)
        except ProcessLookupError:
            pass
    status = box.wait_gone(pid)
    with open('thaw.err') as e:
        err = e.read()
    if os.WIFSIGNALED(status):
        return True
    r = box.Result(['thaw', cmd], os.WEXITSTATUS(status), '', err, 0)
    if r.code:
        box.refused(r)
    return bool(killed and r.code)


def until_cut(one):
    """Calls one(n) until it says that thaw was killed before its end, TIMES times."""
    cut = n = 0
    while cut < TIMES:
        n += 1
        check(n <= TRIES, f'only {cut} of {n} were killed before their end')
        cut += one(n)
    print(f'{cut} of {n} were killed before their end')


def whole_or_gone(when, saved=lambda: False):
    """True if all of the tree counts, False if all of it is gone; fails when it is anything in between for long.

    A dump that has saved everything kills the tree, task by task: when it dies over that, the rest is alone."""
    _, _, _, first = board.read()

    def settled():
        """the tree to count or to be gone"""
        now = board.read()[3]
        return not box.pids() or (len(board.pids()) == board.PROCESSES and all(a != b for a, b in zip(first, now)))
    try:
        box.until(settled, 5)
    except box.Failed as e:
        if saved():
            box.kill_all()
            return False
        raise box.Failed(f'{when}: half a tree: {[(p, box.comm(p), "".join(box.thread_states(p))) for p in box.pids()]}') from e
    if not box.pids():
        return False
    board.counts(when)
    box.nothing_left(when, keep=board.pids())  # what thaw leaves to undo its work soon ends
    for p in board.pids():
        with open(f'/proc/{p}/status') as f:
            check('TracerPid:\t0\n' in f.read(), f'{when}: process {p} is still traced')
    return True


def dump_killed(n, pid, seconds, whom):
    """One killed dump; afterwards the tree counts again, by itself or restored. True if the dump was cut short."""
    stay = n % 2 == 0
    shutil.rmtree('images', ignore_errors=True)
    os.mkdir('images')
    cut = thaw_killed('dump', ['-t', pid, '-D', 'images', '-o', os.path.abspath('dump.log'), '-v4',
                               *(['--leave-running'] if stay else [])], random.uniform(0, 1.2 * seconds), whom)
    when = f'dump {n} {"killed" if cut else "ended"}{" (--leave-running)" if stay else ""}'
    alive = whole_or_gone(when, saved=lambda: not stay and os.path.exists('images/inventory.img'))
    complete = os.path.exists('images/inventory.img')
    check(alive or complete, f'{when}: the target is gone and the images are not complete')
    check(alive or not stay, f'{when}: the target is gone')
    if complete:
        box.kill_all()
        box.restore('images')
        check(whole_or_gone(f'{when}: restored'), f'{when}: its images look complete and hold nothing')
    else:
        box.refused(box.thaw('restore', 'images', '-d'))
        check(whole_or_gone(when), f'{when}: the target is gone')
    return cut


def dump(whom):
    random.seed(whom)
    pid = board.start()
    seconds = min(box.dump(pid, f'first{i}', '--leave-running').seconds for i in range(3))
    board.counts('undisturbed')
    until_cut(lambda n: dump_killed(n, pid, seconds, whom))


def host():
    """What a restore might leave behind, other than processes."""
    with open('/proc/self/mountinfo') as f:
        mounts = f.read()
    # one that is no mount of the box's own is the machine's (the project lies there), where others make files, too
    tops = ['.'] + [d for d in ('/tmp', '/dev/shm', '/run', '/var/tmp') if os.path.ismount(d)]
    files = sorted(os.path.join(w, x) for top in tops for w, ds, fs in os.walk(top) for x in fs + ds)
    return mounts, [f for f in files if not f.endswith(('stats-restore', '.out', '.err', 'thaw.err', 'restore.log'))]


def restore_killed(n, seconds, whom):
    before = host()
    fill = box.FILL['parallel' if n % 2 else 'serial']
    cut = thaw_killed('restore', ['-d', '-D', 'images', '-o', os.path.abspath('restore.log'), '-v4', *fill],
                      random.uniform(0, 1.2 * seconds), whom)
    when = f'restore {n} {"killed" if cut else "ended"}'
    alive = whole_or_gone(when)
    check(alive or cut, f'{when}: nothing runs')
    after = host()
    check(before[0] == after[0], f'{when}: mounts are left')
    check(before[1] == after[1], f'{when}: files are left or lost: {set(before[1]) ^ set(after[1])}')
    box.kill_all()
    return cut


def restore(whom):
    random.seed(whom)
    pid = board.start()
    box.dump(pid, 'images')
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    seconds = 10.0
    for _ in range(3):
        seconds = min(seconds, box.restore('images').seconds)
        check(whole_or_gone('undisturbed'), 'the restored tree is gone')
        box.kill_all()
    until_cut(lambda n: restore_killed(n, seconds, whom))
    box.restore('images')
    check(whole_or_gone('in the end'), 'the restored tree is gone')


for w in ('thaw', 'engine', 'both'):
    case_add(f'dump killed 50 times: {w}', functools.partial(dump, w), limit=300)
    case_add(f'restore killed 50 times: {w}', functools.partial(restore, w), limit=300)
