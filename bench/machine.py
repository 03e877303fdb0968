# SPDX-License-Identifier: Apache-2.0
"""What machine, kernel and build the numbers are of."""
import datetime
import os
import re
import subprocess

import box


def _read(path):
    try:
        with open(path, errors='replace') as f:
            return f.read().strip()
    except OSError:
        return ''


def _field(text, name):
    m = re.search(rf'^{name}\s*:\s*(.*)$', text, re.M)
    return m[1].strip() if m else ''


def cpus():
    """The CPUs that may be used: affinity, and a container's share of time."""
    share = (_read('/sys/fs/cgroup/cpu.max') or 'max 1').split()
    n = len(os.sched_getaffinity(0))
    return n if share[0] == 'max' else max(1, min(n, int(share[0]) // int(share[1])))


def meminfo(name):
    """A line of /proc/meminfo, in bytes."""
    return int((_field(_read('/proc/meminfo'), name) or '0 kB').split()[0]) << 10


def _container(left):
    """A container's limit of memory, or what is left of it; without one, more than there is."""
    most, now = _read('/sys/fs/cgroup/memory.max'), _read('/sys/fs/cgroup/memory.current')
    return int(most) - int(now or 0) * left if most.isdigit() else 1 << 62


def memory():
    return min(meminfo('MemTotal'), _container(False))


def memory_free():
    return min(meminfo('MemAvailable'), _container(True))


def _bracketed(path):
    """The word in [brackets] in such a file."""
    m = re.search(r'\[(\w+)\]', _read(path))
    return m[1] if m else 'unknown'


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M:%S UTC')


def facts():
    info = _read('/proc/cpuinfo')
    return {
        'cpu': _field(info, 'model name') or 'unknown',
        'cpus': cpus(),
        'memory_bytes': memory(),
        'virtual': 'hypervisor' in _field(info, 'flags').split(),
        'thp': _bracketed('/sys/kernel/mm/transparent_hugepage/enabled'),
        'thp_defrag': _bracketed('/sys/kernel/mm/transparent_hugepage/defrag'),
        'kernel': os.uname().release,
    }


def slug(m):
    """A name for the machine that can be a directory's."""
    cpu = re.sub(r'\((R|TM)\)|@.*|CPU|Processor', '', m['cpu'], flags=re.I)
    cpu = re.sub(r'[^a-z0-9]+', '-', cpu.lower()).strip('-') or 'unknown'
    return f'{cpu}-{m["cpus"]}cpu-{round(m["memory_bytes"] / (1 << 30))}g'


def commit():
    """What thaw was built from: the file `commit` of a carried folder (bench/pack), or git's word."""
    carried = _read(os.path.join(box.TOP, 'commit'))
    if carried:
        return carried
    r = subprocess.run(['git', '-C', box.TOP, 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'],
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) if _has('git') else None
    return r.stdout.strip() if r and r.returncode == 0 else 'unknown'


def _has(program):
    return any(os.access(os.path.join(d, program), os.X_OK) for d in os.environ.get('PATH', '').split(':'))


def filesystem(path):
    """The type of the file system that path is on."""
    best, kind = '', 'unknown'
    for x in _read('/proc/self/mountinfo').splitlines():
        left, _, right = x.partition(' - ')
        at = left.split()[4]
        if (path + '/').startswith(at.rstrip('/') + '/') and len(at) >= len(best):
            best, kind = at, right.split()[0]
    return kind
