# SPDX-License-Identifier: Apache-2.0
"""thaw without the privileges it needs: as an ordinary user, and as root without this or that. Each command that cannot do
its work says in one sentence what could not be done, where, and what to do about it; the target is unharmed, and nothing is
left."""
import functools
import os
import shutil
import signal

import box
import kinds
from box import Skipped, check
from case import case_add

RICH = os.path.join(box.BUILD, 'test/fault/rich')
LOCKS = '--file-locks'
USER = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all']
ROOT = 'run thaw as root'
# how thaw is started: (words before it, what its advice says)
WAYS = {
    'user': (USER, ROOT),
    'user, nothing to be had': ([*USER, '--bounding-set=-all'], ROOT),
    'root without any': (['setpriv', '--inh-caps=-all', '--bounding-set=-all'], "more of root's capabilities"),
    'root without CAP_SYS_PTRACE': (['setpriv', '--bounding-set=-sys_ptrace'], 'cap_sys_ptrace'),
    'root without CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE': (['setpriv', '--bounding-set=-sys_admin,-checkpoint_restore'],
                                                             'cap_checkpoint_restore'),
}


def prepared():
    """thaw and images where everybody may read them; a directory where everybody may write, one where nobody else may."""
    if not os.path.ismount('/tmp'):
        raise Skipped('no place here that everybody may read')
    os.chmod('/tmp', 0o1777)
    shutil.copy(box.THAW, '/tmp/thaw')
    pid = kinds.start(RICH)
    box.dump(pid, '/tmp/images', LOCKS)
    box.wait_gone(pid)
    shutil.copytree('/tmp/images', '/tmp/closed')
    box.must(box.run(['chmod', '-R', 'a+rX', '/tmp/thaw', '/tmp/images']))
    for d, mode in (('out', 0o777), ('mine', 0o755)):
        os.mkdir(f'/tmp/{d}')
        os.chmod(f'/tmp/{d}', mode)
    return pid


def refuses(way, words, text):
    before, _ = WAYS[way]
    box.refused(box.run([*before, '/tmp/thaw', *words.split()], cwd='/tmp'), text)


def dumps(way):
    """A target of root's, which a user may not stop; without CAP_SYS_PTRACE root may not either."""
    _, advice = WAYS[way]
    pid = prepared()
    box.restore('/tmp/images', LOCKS)
    before = kinds.settled()
    commands = [f'dump -t {pid} -D out {LOCKS}', f'dump -t {pid} -D out {LOCKS} --leave-running', f'pre-dump -t {pid} -D out']
    if 'CAP_SYS_ADMIN' in way:
        commands.pop()  # that is all a pre-dump can do without
    for words in commands:
        refuses(way, words, advice)
        kinds.same(before, words)
        left = [n for n in os.listdir('/tmp/out') if n.endswith('.img')]
        check(not left, f'{words}: left {left}')
    if way.startswith('user'):
        for words in (f'dump -t {pid} -D mine', f'dump -t {pid} -D mine/more', f'dump -t {pid} -D out -o /tmp/mine/log'):
            refuses(way, words, advice)
            kinds.same(before, words)
        check(not os.listdir('/tmp/mine'), f'left {os.listdir("/tmp/mine")}')
    kinds.passes(pid, way)


def restores(way):
    _, advice = WAYS[way]
    pid = prepared()
    if way != 'root without CAP_SYS_PTRACE':
        refuses(way, f'restore -d -D images {LOCKS}', advice)
        box.nothing_left(way)
    if way.startswith('user'):
        for words in ('restore -d -D closed', 'plan closed', 'show closed', 'dedup -D closed'):
            refuses(way, words, advice)
            box.nothing_left(words)
        box.must(box.run([*WAYS[way][0], '/tmp/thaw', 'show', 'images'], cwd='/tmp'))
    r = box.run([*WAYS[way][0], '/tmp/thaw', 'check'], cwd='/tmp')
    check('MISS cap-' in r.out, f'check does not say what is missing: {r.out}')
    box.restore('/tmp/images', LOCKS)
    kinds.passes(pid, 'restored in the end')


def sleeper():
    pid = box.spawn([*USER, 'sleep', '1000'])

    def sleeps():
        """it to sleep"""
        with open(f'/proc/{pid}/syscall') as f:
            return box.comm(pid) == 'sleep' and f.read().startswith('230 ')  # clock_nanosleep
    box.until(sleeps)
    return pid


def own_process():
    """A user's own process may be stopped by its user, but not dumped, and not brought back."""
    prepared()
    pid = sleeper()
    before = kinds.settled()
    for words in (f'dump -t {pid} -D out', f'dump -t {pid} -D out --leave-running', f'dump -t {pid} -D mine'):
        refuses('user', words, ROOT)
        kinds.same(before, words)
    shutil.rmtree('/tmp/images')
    box.dump(pid, '/tmp/images')
    box.wait_gone(pid)
    box.must(box.run(['chmod', '-R', 'a+rX', '/tmp/images']))
    refuses('user', 'restore -d -D images', ROOT)
    box.nothing_left('restored as a user')
    box.restore('/tmp/images')
    kinds.same(before, 'restored in the end')


def tracked():
    """A user's pre-dump tracks the memory; root does not believe a user's keeper, and says what is in the way."""
    prepared()
    pid = sleeper()
    box.must(box.run([*USER, '/tmp/thaw', 'pre-dump', '-t', str(pid), '-D', 'out'], cwd='/tmp'))
    box.refused(box.thaw('dump', 'images', '-t', pid), 'thaw-track')
    keeper = [p for p in box.pids() if box.comm(p) == 'thaw-track']
    check(len(keeper) == 1, f'keepers: {keeper}')
    os.kill(keeper[0], signal.SIGKILL)
    box.wait_gone(keeper[0])
    box.dump(pid, 'images')
    box.wait_gone(pid)
    box.restore('images')


case_add("privileges/a user's own process", own_process)
case_add("privileges/tracked by a user", tracked)
for w in WAYS:
    case_add(f'privileges/dump: {w}', functools.partial(dumps, w))
    case_add(f'privileges/restore: {w}', functools.partial(restores, w))
