# SPDX-License-Identifier: Apache-2.0
"""Kind tests: every *.c here is a subject (subject.h) that is dumped and restored in three ways.

  serial    dump, gone, restore, dump, gone, restore; PASS      (memory filled by each task itself)
  parallel  the same with page workers
  running   dump --leave-running; the original goes on and passes; its images restored afterwards pass as well

Each time /proc is compared before and after (test/box/facts.py). A subject marked `thaw-refuses: text` must be
refused at dump with a sentence that holds the text, and go on as if nothing had been. What a subject marked
`thaw-changes: SigPnd` says of itself under that noun of /proc/PID/status changes by itself and is not compared."""
import functools
import os
import re
import shlex
import signal
import time

import box
import facts
from box import Failed, Skipped, check
from case import case_add

HERE = os.path.dirname(os.path.abspath(__file__))
DIR = 'subject'  # the subject's own directory


def note(source, word):
    """The text of the comment `// word: text`, or None."""
    with open(source) as f:
        m = re.search(r'^\s*(?://|/?\*)\s*' + word + r':\s*(.*?)\s*(?:\*/)?$', f.read(), re.M)
    return m[1] if m else None


def verdict():
    try:
        with open(f'{DIR}/state') as f:
            return f.readline().strip()
    except FileNotFoundError:
        return ''


def start(program):
    """Starts a subject; returns its PID when it is ready."""
    os.mkdir(DIR)
    pid = box.spawn([program, os.path.abspath(f'{DIR}/state')], cwd=DIR, env={'LC_ALL': 'C', 'PATH': os.environ['PATH']})

    def ready():
        """the subject to be ready"""
        box.reap()
        dead = box.state(pid) in ('', 'Z')  # first: its last word comes before its end
        v = verdict()
        if v.startswith('SKIP'):
            raise Skipped(v[6:])
        if v.startswith('FAIL') or dead:
            raise Failed(f'while preparing: {v or "the subject died"}')
        return v == f'ready {pid}'
    box.until(ready)
    settle()
    return pid


def settle():
    """Gives every process a moment to come to rest; those that work all the time never do."""
    try:
        box.until(lambda: all(box.state(p) in 'SZT' for p in box.pids()), 0.5)
    except Failed:
        pass


def passes(pid, when):
    """Tells the subject to check itself; it must pass, and all of its tree must end."""
    check(box.state(pid) not in ('', 'Z'), f'{when}: the subject is not running: {verdict()}')
    os.kill(pid, signal.SIGTERM)
    status = box.wait_gone(pid, 30)
    check(verdict() == 'PASS', f'{when}: {verdict() or "no verdict"}; the subject {box.status_text(status)}')
    box.nothing_left(when)


def settled():
    """The facts, as soon as every thread waits for something: one may still be on its way into the call it waits in."""
    for _ in range(100):
        threads = [t for p in box.pids() for t in os.listdir(f'/proc/{p}/task')]
        if not any(box.state(t) == 'R' for t in threads):
            break
        time.sleep(0.02)
    return facts.tree(box.pids())


def same(before, when, changes=()):
    """The facts are as before; a thread may need a moment to get back into the call in which it waited."""
    for _ in range(100):
        d = facts.differences(before, facts.tree(box.pids()), changes)
        if not d:
            break
        time.sleep(0.02)
    for x in d:
        print(f'{when}: {x}')
    check(not d, f'{when}: {d[0] if d else ""}' + (f' (and {len(d) - 1} more)' if len(d) > 1 else ''))


def saved():
    """Keeps a copy of the subject's files as they are now."""
    box.must(box.run(['cp', '-a', DIR, 'saved']))


def put_back():
    """Makes the subject's files what they were, in the same inodes where they still exist: /proc tells inodes."""
    for where, _, files in os.walk('saved'):
        there = os.path.join(DIR, os.path.relpath(where, 'saved'))
        for f in files:
            old, new = os.path.join(where, f), os.path.join(there, f)
            if os.path.lexists(new) and os.path.isfile(old) and not os.path.islink(old):
                box.must(box.run(['cp', '-p', '--sparse=always', old, new]))
            elif not os.path.lexists(new):
                os.makedirs(there, exist_ok=True)
                box.must(box.run(['cp', '-a', old, new]))
    for where, _, files in os.walk(DIR):
        for f in files:
            if not os.path.lexists(os.path.join('saved', os.path.relpath(where, DIR), f)):
                os.unlink(os.path.join(where, f))


def cycle(pid, options, fill, n, changes):
    """One dump, death and restore."""
    before = settled()
    box.dump(pid, f'images{n}', *options)
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    box.restore(f'images{n}', *box.FILL[fill], *options)
    same(before, f'restore {n}', changes)


def killed(program, options, fill, changes):
    pid = start(program)
    for n in (1, 2):
        cycle(pid, options, fill, n, changes)
    passes(pid, 'restored twice')


def running(program, options, changes):
    pid = start(program)
    before = settled()
    box.dump(pid, 'images', '--leave-running', *options)
    saved()
    same(before, 'left running', changes)
    passes(pid, 'left running')
    put_back()
    box.restore('images', *options)
    same(before, 'restore', changes)
    passes(pid, 'restored')


def refuses(program, options, text, changes):
    pid = start(program)
    before = settled()
    box.refused(box.thaw('dump', 'images', '-t', pid, *options), text)
    check(not os.path.exists('images/inventory.img'), 'the images of a refused dump look complete')
    same(before, 'refused', changes)
    passes(pid, 'refused')


def one(name, mode):
    source = f'{HERE}/{name}.c'
    program = os.path.join(box.BUILD, 'test/kind', name)
    options = shlex.split(note(source, 'thaw-options') or '')
    text = note(source, 'thaw-refuses')
    changes = shlex.split(note(source, 'thaw-changes') or '')
    if mode == 'refused':
        refuses(program, options, text, changes)
    elif mode == 'running':
        running(program, options, changes)
    else:
        killed(program, options, mode, changes)


for f in sorted(os.listdir(HERE)):
    if f.endswith('.c'):
        modes = ('serial', 'parallel', 'running') if note(f'{HERE}/{f}', 'thaw-refuses') is None else ('refused',)
        for mode in modes:
            case_add(f'{f[:-2]}/{mode}', functools.partial(one, f[:-2], mode), limit=120)
