# SPDX-License-Identifier: Apache-2.0
"""thaw is killed at every step of a dump and of a restore (sabotage.c): the engine, or together with the process that waits
for it. The target goes on, and nothing of thaw stays in it: the one that waits cleans up, or else the next dump does, and its
images hold nothing of it."""
import functools
import os
import re
import shutil

import board
import box
import kills
from box import check
from case import case_add

LIBRARY = os.path.join(box.BUILD, 'test/fault/sabotage.so')
LEFT = 'a thaw that was killed had left'
STAYS = 'a thread of it is to go home through it'  # allowed: what cannot be told from a thread in a handler
STEPS = 1000  # more than a dump of the program takes


def mappings(pid):
    """(start, end, the line) of each."""
    with open(f'/proc/{pid}/maps') as f:
        return [(*(int(x, 16) for x in re.match(r'(\w+)-(\w+) ', line).groups()), line.strip()) for line in f]


def vdso(pid):
    start, end = next(m[:2] for m in mappings(pid) if '[vdso]' in m[2])
    with open(f'/proc/{pid}/mem', 'rb') as f:
        f.seek(start)
        return f.read(end - start)


def remains():
    """What is in the processes of the program that does not belong there."""
    found = [m[2] for p in board.pids() for m in mappings(p) if ' rwx' in m[2]]
    return found + [f'bytes in the vdso of {p}' for p in board.pids() if vdso(p) != vdso('self')]


def harmed(cmd, step, both, *args):
    """A dump or restore in which thaw is killed before that step; whether it was."""
    if os.path.exists('mark'):
        os.remove('mark')
    env = {**os.environ, 'LD_PRELOAD': LIBRARY, 'KILL_STEP': str(step), 'KILL_MARK': os.path.abspath('mark')}
    if both:
        env['KILL_FRONT'] = '1'
    r = box.thaw(cmd, 'images', *args, env=env, program=box.DYNAMIC)
    if not os.path.exists('mark'):
        box.must(r)
        return False
    check(r.code == (-9 if both else 1), f'step {step}: {r}')
    if not both:
        box.refused(r, 'the engine')
    return True


def log(path):
    with open(path) as f:
        return f.read()


def dump(both):
    pid = board.start()
    before = [m[2] for p in board.pids() for m in mappings(p) if '[vdso]' in m[2]]
    cleaned = stayed = 0
    for step in range(1, STEPS):
        shutil.rmtree('images', ignore_errors=True)
        if not harmed('dump', step, both, '-t', pid, '--leave-running'):
            break
        if both:  # as soon as no dead tracer holds it: threads are on their way home
            box.nothing_left(f'step {step}', keep=board.pids())
            box.dump(pid, 'next', '--leave-running')
        said = log('next.dump.log' if both else 'images.dump.log')
        cleaned += LEFT in said
        stays = STAYS in said
        stayed += stays
        board.counts(f'step {step}')
        check(stays or not remains(), f'step {step}: {remains()}')
        if both and step % 8 == 0 or stays:
            box.dump(pid, 'again')
            box.wait_gone(pid)
            box.restore('again')
            board.counts(f'step {step}, restored')
            check(stays or not remains(), f'step {step}, restored: {remains()}')
            check(before == [m[2] for p in board.pids() for m in mappings(p) if '[vdso]' in m[2]], f'step {step}: the vdso was taken for another')
        if stays:
            box.kill_all()
            os.remove('board')
            pid = board.start()
            before = [m[2] for p in board.pids() for m in mappings(p) if '[vdso]' in m[2]]
    print(f'{step} steps: {cleaned} times something was left, {stayed} times it had to stay')
    check(step > 50 and cleaned > 20 and stayed < step / 8, f'{step} steps, {cleaned} times something was left, {stayed} times it stayed')


def restore(both):
    pid = board.start()
    box.dump(pid, 'images')
    box.wait_gone(pid)
    alive = 0
    for step in range(1, STEPS):
        if not harmed('restore', step, both, '-d'):
            break
        if kills.whole_or_gone(f'step {step}'):
            alive += 1
            check(both or not remains(), f'step {step}: {remains()}')
            box.dump(pid, 'again')
            box.wait_gone(pid)
            box.restore('again')
            board.counts(f'step {step}, dumped and restored')
            check(not remains(), f'step {step}, dumped and restored: {remains()}')
        box.kill_all()
    print(f'{step} steps: {alive} times the tree lived')
    check(step > 20 and alive > 10, f'{step} steps, {alive} times the tree lived')


for w, b in (('engine', False), ('both', True)):
    case_add(f'dump killed at every step: {w}', functools.partial(dump, b), limit=120)
    case_add(f'restore killed at every step: {w}', functools.partial(restore, b), limit=120)
