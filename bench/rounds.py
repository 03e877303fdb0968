# SPDX-License-Identifier: Apache-2.0
"""One scene, measured in rounds.

A round is: start the scene's processes, dump them with thaw, then restore these images in every mode, each time looking
at every word and killing them, with the raw ceilings and (--criu) CRIU's restores of the same images in between. CRIU's
own dump is timed with another fresh set of processes. The order changes from round to round. So whatever the machine
does meanwhile, it does to all alike, and ratios hold within one run where absolute times may not. One round goes
before, uncounted, for caches and memory.
"""
import os
import shutil
import time

import box
import lab
import machine

SMALL = 16 << 20  # images below this have no ceiling worth the name
IO = ('read', 'uring', 'direct')


class Mode:
    """A way to restore, or a ceiling: one row of numbers."""

    def __init__(self, what, who, name, run, workers=None, cold=False, must=False):
        self.run, self.must = run, must
        self.row = {'what': what, 'who': who, 'mode': name, 'workers': workers, 'cold': cold, 'seconds': [],
                    'failures': [], 'note': ''}


def steps(n):
    """1, 2, 4 ... n, and n."""
    out = [1]
    while out[-1] * 2 < n:
        out.append(out[-1] * 2)
    return out + [n] * (n > 1)


def ceiling_name(threads, pages):
    return f'{threads} thread{"s" * (threads > 1)}, {pages}'


class Rounds:
    def __init__(self, scene, opts, thaw, criu, save):
        self.scene, self.o, self.thaw, self.criu = scene, opts, thaw, criu
        self.images = os.path.join(lab.IMAGES, 'thaw')
        self.cpus = machine.cpus()
        self.modes, self.dumps = [], []
        self.result = {'scene': scene.name, 'about': scene.about, 'size': scene.size, 'rows': [], 'skipped': '',
                       'goals': scene.goals(self.cpus), 'rounds': 0, 'filesystem': opts.filesystem}
        self.save = lambda: save(self.result)
        self.layout = None

    # --- what there is to measure

    def restore(self, *words, cold=False):
        def run(row):
            if cold:
                row['note'] = evicted(lab.evict(self.images))
            return self.thaw.restore(self.scene, self.images, *words)
        return run

    def restore_criu(self, cold=False):
        def run(row):
            if cold:
                row['note'] = evicted(lab.evict(self.images))
            return self.criu.restore(self.scene, self.images)
        return run

    def ceiling(self, threads, pages, cold=False):
        def run(row):
            if cold:
                row['note'] = evicted(lab.evict(self.images))
            return lab.ceiling(threads, pages, self.images)
        return run

    def modes_make(self):
        """The most telling come first, in case the time is over early."""
        large = self.scene.bytes()[1] >= SMALL
        for cold in [False] * ('hot' in self.o.temp) + [True] * ('cold' in self.o.temp and large):
            self.modes_at(cold, large)
        for m in [*self.dumps, *self.modes]:
            self.result['rows'].append(m.row)

    def modes_at(self, cold, large):
        def add(*a, **kw):
            self.modes.append(Mode(*a, cold=cold, **kw))
        default = self.default_traced if self.o.trace and not cold else self.restore(cold=cold)
        add('restore', 'thaw', 'default', default)
        if large:
            ways = [(self.cpus, '2m'), (self.cpus, 'direct'), (1, 'direct')] if cold else [(self.cpus, '2m'), (self.cpus, '4k')]
            for threads, pages in dict.fromkeys(ways):
                add('ceiling', 'raw', ceiling_name(threads, pages), self.ceiling(threads, pages, cold), threads)
        if self.criu:
            add('restore', 'criu', 'default', self.restore_criu(cold), 1)
        if 'serial' in self.o.mode:
            add('restore', 'thaw', 'serial', self.restore('--disable-parallel-restore', cold=cold), 0)
        if large and 'io' in self.o.mode and self.thaw.knows('--page-io'):
            for io in IO:
                add('restore', 'thaw', io, self.restore(f'--page-io={io}', cold=cold))
        if self.scene.sweep and 'workers' in self.o.mode and not cold:
            for n in steps(self.o.workers or self.cpus):
                add('restore', 'thaw', f'{n} worker{"s" * (n > 1)}', self.restore(f'--parallel-restore={n}'), n)
                if n != self.cpus:
                    add('ceiling', 'raw', ceiling_name(n, '2m'), self.ceiling(n, '2m'), n)

    def default_traced(self, row):
        """Keeps the timeline of the fastest."""
        trace = os.path.join(lab.SCRATCH, 'trace.json')
        seconds = self.thaw.restore(self.scene, self.images, '--trace', trace)
        if row['seconds'] and seconds < min(row['seconds']) or not row['seconds']:
            name = f'trace-{self.scene.name}-{self.scene.size >> 20}m.json'
            shutil.copyfile(trace, os.path.join(self.o.out, name))
            row['trace'] = name
        return seconds

    # --- doing it

    def images_clear(self):
        for d in os.listdir(lab.IMAGES):
            shutil.rmtree(os.path.join(lab.IMAGES, d))

    def check_time(self):
        if time.monotonic() > self.o.deadline:
            raise lab.Late

    def measure(self, m, counted, verify=None):
        """Runs a mode once. A restore counts when it came back right."""
        what, row = f'{m.row["who"]} {m.row["what"]}, {m.row["mode"]}{", cold" if m.row["cold"] else ""}', m.row
        self.check_time()
        if len(row['failures']) >= 2:
            return  # it does not work here; no need to try it in every round
        try:
            if self.o.warm:
                lab.warm(self.scene.bytes()[row['what'] == 'dump'], self.cpus)
            seconds = m.run(row)
            if verify:
                verify(row)
            if counted:
                row['seconds'].append(round(seconds, 6))
            self.o.say(f'    {what}: {seconds:.4f} s{"" if counted else " (warm-up)"}')
        except box.Failed as e:
            row['failures'].append(str(e))
            self.o.say(f'    {what}: FAILED: {e}')
            if m.must:
                raise
        finally:
            if m.row['what'] == 'restore':
                box.kill_all()
        self.save()

    def verify(self, row):
        """Everything is where it was, and right."""
        now = lab.layout() if self.layout else None
        box.check(now == self.layout, 'the mappings are not those of before the dump')
        row['memory'] = lab.memory()
        row['verified'] = self.scene.verify()

    def begin(self):
        self.scene.start()
        self.layout = lab.layout() if self.scene.name != 'redis' else None  # which works on by itself
        self.result['memory'] = lab.memory()
        self.result['tasks'] = lab.tasks_count()

    def dump_by(self, engine, images):
        def run(_):
            seconds = engine.dump(self.scene, images)
            box.nothing_left(f'{engine.who} dump')
            return seconds
        return run

    def dump_criu(self):
        """Of a fresh set of the same processes; nobody restores it."""
        self.images_clear()
        self.begin()
        self.measure(self.dumps[1], True)
        box.kill_all()

    def dump(self, counted):
        self.begin()
        self.measure(self.dumps[0], counted)
        self.result['image_bytes'] = lab.size(self.images)
        self.result['payload_bytes'] = sum(map(os.path.getsize, lab.payload(self.images)))
        if self.o.damage:
            damage(lab.payload(self.images)[0])

    def round(self, number):
        counted = number > 0
        self.o.say(f'  round {number} of {self.o.iterations}' if counted else '  warm-up')
        self.images_clear()
        self.dump(counted)
        modes = self.modes if counted else self.modes[:1]
        turn = (number - 1) % len(modes) if counted else 0
        for m in modes[turn:] + modes[:turn]:
            self.measure(m, counted, self.verify if m.row['what'] == 'restore' else None)
        if counted and self.criu:
            self.dump_criu()
        if counted:
            self.result['rounds'] = number
            self.save()

    def why_not(self):
        need, have = sum(self.scene.bytes()) + self.scene.bytes()[1] * bool(self.criu), machine.memory_free()
        if self.scene.missing():
            return self.scene.missing()
        return f'needs {need >> 20} MiB of memory, {have >> 20} are free' if need * 1.1 > have else ''

    def run(self):
        self.result['load'] = round(os.getloadavg()[0], 1)
        self.result['skipped'] = self.why_not()
        if self.result['skipped']:
            self.o.say(f'  skipped: {self.result["skipped"]}')
            return self.save()
        self.dumps = [Mode('dump', 'thaw', 'default', self.dump_by(self.thaw, self.images), must=True)]
        if self.criu:
            self.dumps.append(Mode('dump', 'criu', 'default', self.dump_by(self.criu, os.path.join(lab.IMAGES, 'criu'))))
        self.modes_make()
        try:
            for n in range(self.o.iterations + 1):
                self.round(n)
        except lab.Late:
            self.result['note'] = 'the time given was over before all rounds were done'
            self.o.say('  ' + self.result['note'])
        except box.Failed as e:
            self.result['note'] = f'given up: {e}'
            self.o.say('  ' + self.result['note'])
        finally:
            box.kill_all()
            self.images_clear()
        self.save()


def evicted(stayed):
    return f'{stayed >> 20} MiB stayed in the page cache' if stayed else ''


def damage(path):
    """Changes one bit of a payload file: a benchmark that does not notice proves nothing."""
    with open(path, 'r+b') as f:
        f.seek(os.path.getsize(path) // 2)
        b = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([b[0] ^ 4]))
