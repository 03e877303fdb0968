# SPDX-License-Identifier: Apache-2.0
"""--auto-dedup: what a restore has read is freed in the pages file, whatever way it goes to its place (huge pages, runs of
small pages, many mappings), in parallel as in serial, in memory (where a block is a huge page) as on the disk."""
import functools
import glob
import os
import signal

import box
from box import check
from case import case_add

SUBJECT = os.path.join(box.BUILD, 'bench/subject')
SCENES = {'one mapping': ('mem', 32 << 20, 0, 0), 'zeros': ('mem', 32 << 20, 40, 0), 'small mappings': ('small', 24 << 20)}
WAYS = dict(box.FILL, ring=['--parallel-restore=2', '--page-io=uring'], direct=['--parallel-restore=2', '--page-io=direct'])
LEFT = 64 << 10   # the vdso is kept, and the file system has blocks of its own


def answers(word):
    """Waits until the subject says it."""
    def there():
        """the subject to speak"""
        return glob.glob('said.*[0-9]')
    box.until(there, 30)
    name, = there()
    with open(name) as f:
        text = f.read()
    os.unlink(name)
    check(text.startswith(word), f'it says {text}, not {word}')


def blocks(images):
    return sum(os.stat(x).st_blocks * 512 for x in glob.glob(f'{images}/pages-*.img'))


def freed(scene, in_memory):
    if in_memory:
        box.tmpfs('place')
    else:
        os.mkdir('place')
    pid = box.spawn([SUBJECT, os.path.abspath('said'), *map(str, SCENES[scene])], cwd='/')
    answers('ready')
    box.dump(pid, 'place/whole')
    box.wait_gone(pid)
    before, left = blocks('place/whole'), {}
    for how, way in WAYS.items():
        box.must(box.run(['cp', '-a', 'place/whole', 'place/images']))
        box.restore('place/images', '--auto-dedup', *way)
        left[how] = blocks('place/images')
        os.kill(pid, signal.SIGUSR1)
        answers('OK')
        box.kill_all()
        box.wait_gone(pid)
        box.must(box.run(['rm', '-r', 'place/images']))
    check(max(left.values()) <= LEFT < before, f'of {before} bytes there are left: {left}')


for scene in SCENES:
    case_add(f'freed/{scene}, on the disk', functools.partial(freed, scene, False))
    case_add(f'freed/{scene}, in memory', functools.partial(freed, scene, True))
