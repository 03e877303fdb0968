# SPDX-License-Identifier: Apache-2.0
"""What /proc says about the processes of a box, in a form in which "before the dump" and "after the restore" must be
equal word for word. What the kernel numbers afresh is renumbered here or left out, and nothing else:

  * inode numbers of pipes, sockets, anonymous inodes, deleted files and memfds: new objects have new ones. Which
    descriptors mean the same object stays comparable (#1, #2 ... in order of appearance).
  * an eventfd's ID: the lowest that nobody on the machine has.
  * a timer's remaining time: it goes on.
  * neighbouring mappings that agree in everything may be one or two: the kernel merges them or not after what
    happened to be faulted in first. They are joined here.
  * VmFlags "sd" (soft-dirty): belongs to whoever tracks memory, and a new mapping is always dirty. "gu": there are guard
    pages, or there were. "ac" (accounted): tells that a mapping was writable at some time; images do not record it, and
    it only steers overcommit's sums.
"""
import os
import re

STATUS = ('Name', 'Umask', 'Tgid', 'Pid', 'PPid', 'TracerPid', 'Uid', 'Gid', 'Groups', 'NStgid', 'NSpid', 'NSpgid', 'NSsid',
          'Kthread', 'Threads', 'SigPnd', 'ShdPnd', 'SigBlk', 'SigIgn', 'SigCgt', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd',
          'CapAmb', 'NoNewPrivs', 'Seccomp', 'THP_enabled', 'untag_mask', 'Cpus_allowed')
FDINFO_LEFT_OUT = ('mnt_id', 'ino', 'it_value', 'scm_fds', 'eventfd-id')
FLAGS_LEFT_OUT = {'sd', 'gu', 'ac'}
NUMBERED = re.compile(r'^(pipe|socket|anon_inode|mnt|net|pid|user|uts|ipc|cgroup|time):\[(\d+)\]$')


def _read(path):
    try:
        with open(path, errors='replace') as f:
            return f.read()
    except OSError as e:
        return f'<{e.strerror}>'


def _link(path):
    try:
        return os.readlink(path)
    except OSError as e:
        return f'<{e.strerror}>'


class _Names:
    """Gives kernel objects numbers in order of appearance."""

    def __init__(self):
        self.seen = {}

    def __call__(self, text):
        m = NUMBERED.match(text)
        if not m:
            return re.sub(r'/#\d+ \(deleted\)$', '/#N (deleted)', text)  # O_TMPFILE: named after its inode
        return f'{m[1]}:#{self.seen.setdefault(text, len(self.seen) + 1)}'


def _status(pid, tid):
    lines = _read(f'/proc/{pid}/task/{tid}/status').splitlines()
    return {k: ' '.join(v.split()) for k, _, v in (x.partition(':') for x in lines) if k in STATUS}


def _fdinfo(text):
    lines = []
    for x in text.splitlines():
        if x.split(':')[0] in FDINFO_LEFT_OUT:
            continue
        x = re.sub(r'\s*(ino|sdev):\S+', '', x)  # the watched file's, in epoll's lines
        x = re.sub(r'^(lock:\s+\d+: .*) \S+:\S+:\d+ (.*)$', r'\1 \2', x)
        lines.append(' '.join(x.split()))
    return sorted(lines)


def _fds(pid, names):
    fds = {}
    for fd in sorted(map(int, os.listdir(f'/proc/{pid}/fd'))):
        fds[f'fd {fd}'] = [names(_link(f'/proc/{pid}/fd/{fd}'))] + _fdinfo(_read(f'/proc/{pid}/fdinfo/{fd}'))
    return fds


def _maps(pid):
    """Mappings as 'start-end perms offset name VmFlags', equal neighbours joined."""
    out = []
    for x in _read(f'/proc/{pid}/smaps').splitlines():
        m = re.match(r'([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) (\S+) (\d+)\s*(.*)', x)
        if m:
            name = m[7]
            deleted = name.endswith(' (deleted)') or name.startswith('/memfd:') or name.startswith('/dev/zero')
            inode = '' if deleted or m[6] == '0' else f'{m[5]} {m[6]}'
            now = [int(m[1], 16), int(m[2], 16), m[3], int(m[4], 16), inode, name, '']
        elif x.startswith('VmFlags:'):
            now[6] = ' '.join(w for w in x.split()[1:] if w not in FLAGS_LEFT_OUT)
            last = out[-1] if out else None
            follows = last and last[1] == now[0] and last[2] == now[2] and last[4:] == now[4:]
            if follows and (now[4] == '' and now[5] == '' or last[3] + now[0] - last[0] == now[3]):
                last[1] = now[1]
            else:
                out.append(now)
    return [f'{v[0]:x}-{v[1]:x} {v[2]} {v[3]:x} {v[4]} {v[5]} [{v[6]}]' for v in out]


def _stat(pid, tid):
    w = _read(f'/proc/{pid}/task/{tid}/stat').rsplit(')', 1)[-1].split()
    if len(w) < 45:
        return {}
    # 4 ppid is in status; the numbers are those of proc(5) minus 3
    return {'pgrp': w[2], 'session': w[3], 'tty': w[4], 'priority': w[15], 'nice': w[16], 'exit_signal': w[35],
            'rt_priority': w[37], 'policy': w[38]}


def process(pid, names):
    """The facts of one process, as {noun: text or list of texts}."""
    f = {}
    for what in ('exe', 'cwd', 'root'):
        f[what] = _link(f'/proc/{pid}/{what}')
    for what in ('cmdline', 'environ', 'limits', 'oom_score_adj', 'personality', 'coredump_filter', 'timerslack_ns'):
        f[what] = _read(f'/proc/{pid}/{what}').replace('\0', ' ').splitlines()
    with open(f'/proc/{pid}/auxv', 'rb') as a:
        f['auxv'] = a.read().hex()
    f['timers'] = [x for x in _read(f'/proc/{pid}/timers').splitlines() if not x.startswith('<')]
    f['mappings'] = _maps(pid)
    f.update(_fds(pid, names))
    for tid in sorted(map(int, os.listdir(f'/proc/{pid}/task'))):
        f[f'thread {tid}'] = {**_status(pid, tid), **_stat(pid, tid), 'comm': _read(f'/proc/{pid}/task/{tid}/comm').strip()}
    return f


def tree(pids):
    """{pid: facts}; zombies have only what /proc still says of them."""
    names = _Names()
    out = {}
    for pid in pids:
        st = _stat(pid, pid)
        if _read(f'/proc/{pid}/stat').rsplit(')', 1)[-1].split()[0] in 'ZX':
            out[pid] = {'zombie': {**st, 'status': _read(f'/proc/{pid}/stat').split()[-1]}}
        else:
            out[pid] = process(pid, names)
    return out


def _lines(v, changes):
    if isinstance(v, dict):
        return [f'{k} {v[k]}' for k in sorted(v) if k not in changes]
    return [v] if isinstance(v, str) else list(v)


def _process_differences(a, b, changes):
    out = []
    for noun in sorted(set(a) | set(b)):
        was, now = _lines(a.get(noun, []), changes), _lines(b.get(noun, []), changes)
        if was != now:
            gone, new = [x for x in was if x not in now], [x for x in now if x not in was]
            out.append(f'{noun}: was {"; ".join(gone) or "nothing else"}, is {"; ".join(new) or "nothing else"}')
    return out


def differences(before, after, changes=()):
    """One line per thing that differs: 'process 12: fd 3: was ..., is ...'; the nouns of /proc/PID/status in changes
    are not looked at."""
    out = []
    for pid in sorted(set(before) | set(after)):
        if pid not in after or pid not in before:
            out.append(f'process {pid}: ' + ('is new' if pid not in before else 'is missing'))
        else:
            out += [f'process {pid}: {x}' for x in _process_differences(before[pid], after[pid], changes)]
    return out
