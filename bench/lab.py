# SPDX-License-Identifier: Apache-2.0
"""What the benchmark does with programs: starting them with a clock in hand, and reading what subjects say.

Runs as process 1 of a box (test/box/box.py). A program's time is from before its start until it is a zombie: loading it,
exec and exit are in it, for thaw, CRIU and the ceiling's process alike (but the ceiling tells its own time).
"""
import glob
import os
import select
import shlex
import signal
import time

import box

BENCH = os.path.join(box.BUILD, 'bench')
SUBJECT, CEILING = os.path.join(BENCH, 'subject'), os.path.join(BENCH, 'ceiling')
SCRATCH = REPORT = IMAGES = LOG = ''
PATIENCE = 300  # seconds that any one step may take


class Late(Exception):
    """The time given is over."""


def place(scratch, images):
    """scratch is for logs and reports, images for images."""
    global SCRATCH, REPORT, IMAGES, LOG
    SCRATCH, IMAGES = scratch, images
    REPORT, LOG = os.path.join(scratch, 'report'), os.path.join(scratch, 'said')


def timed(argv, timeout=None):
    """(seconds, exit status as wait() has it); what it says goes to LOG. Killed when it takes too long."""
    with open(LOG, 'w') as f:
        t0 = time.perf_counter()
        pid = box.spawn(argv, stdout=f, stderr=f, cwd='/')
        fd = os.pidfd_open(pid)
        try:
            ended = select.select([fd], [], [], timeout or PATIENCE)[0]
            seconds = time.perf_counter() - t0
        finally:
            os.close(fd)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if not ended:
        raise box.Failed(f'{os.path.basename(argv[0])} had not ended after {timeout or PATIENCE} s')
    return seconds, status


def said(*files):
    """What a program said, or its log: the first line that calls itself an error, or the last there is."""
    for path in (LOG, *files):
        try:
            with open(path, errors='replace') as f:
                lines = [x.strip() for x in f if x.strip()]
        except OSError:
            continue
        errors = [x for x in lines if 'Error' in x]
        if lines:
            return (errors[0] if errors else lines[-1])[:300]
    return 'it said nothing'


def must(argv, *logs):
    """Seconds of a program that has to succeed."""
    seconds, status = timed(argv)
    if status:
        raise box.Failed(f'{" ".join(argv[:3])} {box.status_text(status)}: {said(*logs)}')
    return seconds


def command(text):
    """A command line. The name of a program that bench/pack put into the build directory with its libraries becomes
    what starts it there; a path becomes absolute."""
    libs, carried = os.path.join(box.BUILD, 'lib'), os.path.join(box.BUILD, text)
    if text and '/' not in text and os.path.isfile(carried):
        return f'{carried}.loader --library-path {libs} {carried}' if os.path.exists(carried + '.loader') else carried
    first, *rest = text.split() or ['']
    return ' '.join([os.path.abspath(first) if '/' in first else first, *rest])


class Engine:
    """thaw or CRIU: a command line to put words behind."""

    def __init__(self, who, command):
        self.who, self.command = who, shlex.split(command)
        self.work = os.path.join(SCRATCH, f'{who}-work')
        os.makedirs(self.work, exist_ok=True)

    def _run(self, cmd, images, *words):
        log = f'{cmd}.log'
        argv = [*self.command, cmd, '-D', images, '-W', self.work, '-o', log, *map(str, words)]
        seconds, status = timed(argv)
        if status:
            raise box.Failed(f'{self.who} {cmd} {box.status_text(status)}: {said(os.path.join(self.work, log))}')
        return seconds

    def dump(self, scene, images):
        os.makedirs(images)
        return self._run('dump', images, '-t', scene.root, *(['--tcp-close'] if scene.tcp else []))

    def restore(self, scene, images, *words):
        return self._run('restore', images, '-d', *(['--tcp-close'] if scene.tcp else []), *words)

    def version(self):
        timed([*self.command, '--version'])
        with open(LOG) as f:
            return f.readline().strip()

    def knows(self, option):
        timed([*self.command, 'restore', '--help'])
        with open(LOG) as f:
            return option in f.read()


# --- the raw ceiling ----------------------------------------------------------------------------------------------

def payload(images):
    """The images' files of page contents, largest first."""
    files = glob.glob(os.path.join(images, 'pages-*.img'))
    return sorted((f for f in files if os.path.getsize(f)), key=os.path.getsize, reverse=True)


def size(images):
    return sum(os.stat(os.path.join(images, f)).st_size for f in os.listdir(images))


def ceiling(threads, pages, images):
    """Seconds that it takes to read the payload into fresh memory."""
    must([CEILING, '--runs', '1', str(threads), pages, *payload(images)])
    return float(said().split()[0])


def warm(nbytes, threads):
    """Touches so much free memory: doc/benchmark.md says why."""
    if nbytes:
        must([CEILING, '--warm', str(nbytes), str(threads)])


def evict(images):
    """Drops all images from the page cache; returns how many bytes of them stayed."""
    files = [os.path.join(images, f) for f in os.listdir(images)]
    os.sync()
    try:
        with open('/proc/sys/vm/drop_caches', 'w') as f:
            f.write('3')
    except OSError:
        pass  # not allowed here: what counts is what the files' own eviction leaves
    must([CEILING, '--evict', *(f for f in files if os.path.isfile(f) and os.path.getsize(f))])
    return int(said())


# --- subjects -----------------------------------------------------------------------------------------------------

def reports_clear():
    for f in glob.glob(REPORT + '.*'):
        os.unlink(f)


def reports_wait(count, want):
    """Waits until count processes have said something, and fails unless all said want; returns how many words of
    memory they have looked at."""
    def all_said():
        """all subjects to answer"""
        files = [f for f in glob.glob(REPORT + '.*') if not f.endswith('.part')]
        return files if len(files) >= count else None
    words = 0
    for path in box.until(all_said, PATIENCE, every=0.005):
        with open(path) as f:
            text = f.read()
        pid = path.rsplit('.', 1)[1]
        box.check(text.startswith(want), f'process {pid}: {text}')
        words += int(text.split()[1]) if text.startswith('OK ') else 0
    return f'{words} words of memory are right'


def tasks_count():
    return sum(len(os.listdir(f'/proc/{p}/task')) for p in box.pids())


def memory():
    """What all processes of the box but this one take, in KiB: their proportional share, and of it huge pages."""
    pss = huge = 0
    for pid in box.pids():
        with open(f'/proc/{pid}/smaps_rollup') as f:
            for x in f:
                if x.startswith('Pss:'):
                    pss += int(x.split()[1])
                elif x.startswith('AnonHugePages:'):
                    huge += int(x.split()[1])
    return {'pss_kib': pss, 'huge_kib': huge}


def layout():
    """The mappings of all processes, neighbours of one kind joined: the kernel merges them or not as it happens."""
    out = {}
    for pid in box.pids():
        rows = []
        with open(f'/proc/{pid}/maps') as f:
            for x in f:
                w = x.split(None, 5)
                start, end = w[0].split('-')
                now = [start, end, w[1], w[5].strip() if len(w) > 5 else '']
                if rows and rows[-1][1] == start and rows[-1][2:] == now[2:]:
                    rows[-1][1] = end
                else:
                    rows.append(now)
        out[pid] = rows
    return out
