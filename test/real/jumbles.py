# SPDX-License-Identifier: Apache-2.0
"""Memory of all kinds at random (jumble.c): trees with mappings of every sort and state, dumped and restored in a way
that is chosen at random, too. Afterwards every page, every mapping and its flags (smaps) must be what they were.

The seeds are fixed, and found something once; THAW_SEEDS=FIRST-LAST tries others."""
import functools
import os
import random
import re
import signal

import box
import facts
import incremental
from box import check
from case import case_add

PROGRAM = os.path.join(box.BUILD, 'test/real/jumble')
SEEDS = (*range(1, 13), 28, 30, 35)
FILLS = ([], ['--disable-parallel-restore'], ['--parallel-restore=1'], ['--parallel-restore=2'], ['--parallel-restore=3'])
READS = ([], ['--page-io=read'], ['--page-io=uring'], ['--page-io=direct'])


def answer(pid):
    """What one process says; the file is taken away."""
    def there():
        return os.path.exists(f'{pid}.done') or box.state(pid) in ('', 'Z')
    box.until(there, 30)
    check(os.path.exists(f'{pid}.done'), f'process {pid} has died')
    with open(f'{pid}.done') as f:
        text = f.read()
    os.unlink(f'{pid}.done')
    return text


def do(pids, word):
    """What each process says to it, which must be that its memory is right."""
    said = {}
    for pid in pids:
        with open(f'{pid}.do', 'w') as f:
            f.write(word)
        os.kill(pid, signal.SIGUSR1)
        said[pid] = answer(pid)
        check(said[pid].startswith('right '), f'process {pid}, {word}: {said[pid]}')
    return said


def start(seed):
    """The processes of a tree, the root first."""
    root = box.spawn([PROGRAM, str(seed)])
    seen = set()

    def ready():
        """all processes to be ready"""
        pids = box.pids()
        seen.update(p for p in pids if os.path.exists(f'{p}.done'))
        return root in seen and seen == set(pids)
    box.until(ready, 30)
    for pid in seen:
        text = answer(pid)
        check(text == 'ready', f'process {pid}: {text}')
    return [root, *sorted(seen - {root})]


def maps(pids):
    """The mappings of each and their flags; not those that tracking itself adds."""
    return {p: {'mappings': [re.sub(r' uw\b', '', x) for x in facts.process(p, facts._Names())['mappings']]} for p in pids}


def dumped(root, pids, dice, dirs):
    """Dumps the tree to a new directory in some way; whether it still runs, its digests and its mappings."""
    n = len(dirs) + 1
    prev = ['--prev-images-dir', f'../{dirs[-1]}'] if dirs and dice.random() < 0.8 else []
    stay = dice.random() < 0.3
    said, before = do(pids, 'check'), maps(pids)
    box.dump(root, f'images/{n}', *prev, *dice.choice([[], ['--page-io=direct']]),
             *(['--leave-running', *dice.choice([[], ['--track-mem']])] if stay else []),
             *(['--auto-dedup'] if prev and dice.random() < 0.3 else []))
    dirs.append(n)
    return stay, said, before


def same(pids, before, when):
    left = facts.differences(before, maps(pids))
    check(not left, f'{when}: ' + '; '.join(left))


def one(seed):
    incremental.tracker()
    dice = random.Random(seed)
    os.makedirs('images')
    pids = start(seed)
    dirs = []
    for _ in range(dice.choice([0, 0, 1, 2])):
        n = len(dirs) + 1
        prev = ['--prev-images-dir', f'../{dirs[-1]}'] if dirs else []
        box.must(box.thaw('pre-dump', f'images/{n}', '-t', pids[0], *prev))
        dirs.append(n)
        do(pids, 'change')
    stay, said, before = dumped(pids[0], pids, dice, dirs)
    if stay:
        same(pids, before, 'left running')
        do(pids, 'change')
        box.kill_all()
    box.nothing_left('after the dump')
    box.restore(f'images/{dirs[-1]}', *dice.choice(FILLS), *dice.choice(READS), *dice.choice([[], [], ['--auto-dedup']]))
    check(box.pids() == sorted(pids), f'{box.pids()} run, not {pids}')
    same(pids, before, 'restored')
    now = do(pids, 'check')
    check(now == said, 'memory is not what it was before the dump')
    do(pids, 'change')
    box.kill_all()


def seeds():
    first, _, last = os.environ.get('THAW_SEEDS', '').partition('-')
    return range(int(first), int(last) + 1) if last else SEEDS


for k in seeds():
    case_add(f'jumble/{k}', functools.partial(one, k), limit=120)
