# SPDX-License-Identifier: Apache-2.0
"""The scenes: what is dumped and restored, how it is started, and how one knows that it came back whole.

A scene is a class; start() returns its processes' root, verify() fails unless everything is as it was. All but two are
bench/subject.c, which looks at every word of its own memory; redis-server is asked for the digest of its data, and
sleep, which can say nothing, is looked at from outside.
"""
import hashlib
import os
import re
import shutil
import signal

import box
import lab
import redis
from goal import CEILING, DISK, GBS, MS, goal


class Scene:
    name, about = '', ''
    sweep = False  # whether it is restored with 1, 2, 4 ... workers
    tcp = False

    def __init__(self, size):
        self.size = size
        self.root = None

    def bytes(self):
        """About how many bytes of memory the processes have, and how many the images may get."""
        return self.size, self.size

    def tasks(self):
        return 1

    def missing(self):
        """Why it cannot be run here."""
        return ''

    def goals(self, _cpus):
        return []

    def argv(self):
        return []

    def processes(self):
        return 1

    # --- subjects that look at themselves

    def start(self):
        lab.reports_clear()
        self.root = box.spawn([lab.SUBJECT, lab.REPORT, *map(str, self.argv())], cwd='/')
        lab.reports_wait(self.processes(), 'ready')

    def verify(self):
        """Returns what was looked at, in words."""
        lab.reports_clear()
        tasks = lab.tasks_count()
        box.check(tasks == self.tasks(), f'{tasks} of {self.tasks()} tasks are there')
        for pid in box.pids():
            os.kill(pid, signal.SIGUSR1)
        return lab.reports_wait(self.processes(), 'OK')


class Mem(Scene):
    name, about, sweep = 'mem', 'one process with one mapping of the size', True

    def goals(self, cpus):
        rate = [goal('restore', 18, GBS)] if cpus >= 16 and self.size >= 16 << 30 else []
        return [goal('dump', 2.0, CEILING), goal('restore', 1.35, CEILING), *rate, goal('restore', 95, DISK, cold=True)]

    def argv(self):
        return ['mem', self.size, 0, 0]


class Huge(Mem):
    name, about, sweep = 'huge', 'the same, and the program asked for huge pages (MADV_HUGEPAGE)', False

    def argv(self):
        return ['mem', self.size, 0, 1]


class Zeros(Mem):
    name, about, sweep = 'zeros', 'the same, 40 % of it zeros, in runs of 64 KiB', False

    def goals(self, _cpus):
        return []  # most of it has to be small pages again: no ceiling of huge ones

    def argv(self):
        return ['mem', self.size, 40, 0]

    def bytes(self):
        return self.size, self.size * 6 // 10


class Small(Scene):
    name, about = 'small', 'half the size in many mappings of 4 to 124 KiB (at most 30000)'

    def bytes(self):
        return self.size // 2, self.size // 2

    def argv(self):
        return ['small', self.size // 2]


class Cow(Scene):
    name, about = 'cow', '200 processes that share 1/128 of the size copy-on-write; each wrote over 1 page in 64'
    count = 200

    def bytes(self):
        return self.size // 128 * 5, self.size // 128 * self.count

    def tasks(self):
        return self.count

    def processes(self):
        return self.count

    def argv(self):
        return ['tree', self.count, self.size // 128]


class Procs(Cow):
    name, about = 'procs', '200 processes with nothing in them'

    def __init__(self, _):
        super().__init__(0)

    def goals(self, _cpus):
        return [goal('dump', 200, MS), goal('restore', 80, MS)]


class Threads(Scene):
    name, about, count = 'threads', 'one process of 1000 threads', 1000

    def __init__(self, _):
        super().__init__(0)

    def goals(self, _cpus):
        return [goal('dump', 60, MS), goal('restore', 60, MS)]

    def tasks(self):
        return self.count

    def argv(self):
        return ['threads', self.count]


class Herd(Scene):
    name, about, sweep = 'herd', '12 processes of 1/12 of the size and one of the whole, together', True

    def goals(self, _cpus):
        return [goal('restore', 1.3, CEILING)]

    def bytes(self):
        return 2 * self.size, 2 * self.size

    def tasks(self):
        return 13

    def processes(self):
        return 13

    def argv(self):
        return ['herd', 12, self.size // 12 & ~4095, self.size]


class Sleep(Scene):
    name, about = 'sleep', 'sleep(1): the smallest there is'

    def __init__(self, _):
        super().__init__(0)
        self.before = None

    def goals(self, _cpus):
        return [goal('dump', 5, MS), goal('restore', 5, MS)]

    def start(self):
        self.root = box.spawn(['sleep', '100000'], cwd='/')
        box.until(self._sleeps)
        self.before = self._digest()

    def _sleeps(self):
        """sleep to sleep"""
        try:
            with open(f'/proc/{self.root}/syscall') as f:
                return f.read().split()[0] in ('35', '230')  # nanosleep, clock_nanosleep
        except OSError:
            return False

    def _digest(self):
        """Its mappings, and what is in those of its files and in its heap."""
        h = hashlib.sha256()
        with open(f'/proc/{self.root}/maps') as f, open(f'/proc/{self.root}/mem', 'rb', 0) as mem:
            for x in f:
                m = re.match(r'([0-9a-f]+)-([0-9a-f]+) (r\S+) \S+ \S+ \d+\s*(/.*|\[heap\])', x)
                if m:
                    h.update(x.encode())
                    mem.seek(int(m[1], 16))
                    h.update(mem.read(int(m[2], 16) - int(m[1], 16)))
        return h.hexdigest()

    def verify(self):
        box.until(self._sleeps)
        box.check(self._digest() == self.before, 'its mappings or their contents are not as they were')
        return 'sleeps; the digest of its mappings is the same'


class Redis(Scene):
    name, about, tcp = 'redis', 'redis-server with a quarter of the size in keys of 2000 bytes', True

    def __init__(self, size):
        super().__init__(size)
        self.digest, self.server = None, lab.command('redis-server').split()

    def missing(self):
        return '' if shutil.which(self.server[0]) else 'there is no redis-server'

    def bytes(self):
        return self.size // 4 * 5 // 4, self.size // 4 * 5 // 4

    def tasks(self):
        return len(os.listdir(f'/proc/{self.root}/task'))

    def start(self):
        self.root = redis.server_start('--dynamic-hz', 'no', program=self.server)
        with redis.Client() as c:
            c('DEBUG', 'POPULATE', max(1, self.size // 4 // 2100), 'key', 2000)
            self.digest = c('DEBUG', 'DIGEST')
        box.until(self._alone)

    def _alone(self):
        """redis-server to close its client's connection"""
        fds = f'/proc/{self.root}/fd'
        try:
            return sum(os.readlink(f'{fds}/{x}').startswith('socket:') for x in os.listdir(fds)) <= 1
        except FileNotFoundError:  # closed while we look
            return False

    def verify(self):
        with redis.Client() as c:
            d = c('DEBUG', 'DIGEST')
            box.check(d == self.digest, f'the digest of its data is {d} and was {self.digest}')
        return f'digest {d}'


# The quick ones first: of the time given, what they leave is the others'.
SCENES = {c.name: c for c in (Sleep, Threads, Procs, Redis, Small, Cow, Zeros, Huge, Mem, Herd)}
