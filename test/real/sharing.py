# SPDX-License-Identifier: Apache-2.0
"""What the tasks of a tree share while they are restored.

  cow/...      copy-on-write memory (test/kind/cow.c) out of images that do not say which pages are shared, as CRIU's: the
               restore compares; and with the images freed behind it
  budget/...   the workers: a large task and small ones (crowd.c) never have more at once than there are, and the
               large one gets what the small ones give back
"""
import functools
import json
import os
import re
import struct

import box
import kinds
from box import check
from case import case_add

OURS = 10001  # the first number of fields that are thaw's own


def varint(b, at):
    n = shift = 0
    while True:
        n |= (b[at] & 0x7f) << shift
        shift += 7
        at += 1
        if not b[at - 1] & 0x80:
            return n, at


def without_ours(message):
    """A message less the fields that are thaw's own. Page maps hold nothing but numbers."""
    out, at = b'', 0
    while at < len(message):
        key, value = varint(message, at)
        check(key & 7 == 0, f'field {key >> 3} is no number')
        _, end = varint(message, value)
        if key >> 3 < OURS:
            out += message[at:end]
        at = end
    return out


def forget(images):
    """Page maps as CRIU writes them. Returns how many entries have changed."""
    changed = 0
    for name in sorted(os.listdir(images)):
        if not name.startswith('pagemap-'):
            continue
        with open(f'{images}/{name}', 'rb') as f:
            old = f.read()
        new, at = old[:8], 8
        while at < len(old):
            n = struct.unpack_from('<I', old, at)[0]
            message = without_ours(old[at + 4:at + 4 + n])
            changed += len(message) != n
            new += struct.pack('<I', len(message)) + message
            at += 4 + n
        with open(f'{images}/{name}', 'wb') as f:
            f.write(new)
    return changed


def blocks(images):
    return sum(os.stat(f'{images}/{x}').st_blocks for x in os.listdir(images) if x.startswith('pages-')) * 512


def frames_are_told():
    """Does pagemap say which frame a page is in? Some containers hide it."""
    with open('/proc/self/maps') as f:
        stack = next(int(x.split('-')[1].split()[0], 16) for x in f if x.endswith('[stack]\n'))
    with open('/proc/self/pagemap', 'rb') as f:
        f.seek((stack - 4096) // 4096 * 8)
        return struct.unpack('<Q', f.read(8))[0] & ((1 << 55) - 1)


def cow(fill, foreign, *options):
    """The subject finds every word right, and that all of the tree takes no more memory than before."""
    if not frames_are_told():
        raise box.Skipped('this kernel does not tell root which frame a page is in')
    pid = kinds.start(os.path.join(box.BUILD, 'test/kind/cow'))
    box.dump(pid, 'images')
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    shown, planned = (box.must(box.run([box.THAW, x, '-D', 'images'])).out for x in ('show', 'plan'))
    check(shown.count('copy-on-write') == 21, 'show: not all tasks are said to share memory')
    check(len(re.findall(r', shares [\d.]+ [KM]iB with \d+', planned)) == 21, 'plan: not all tasks are said to share memory')
    if foreign:
        check(forget('images') > 20, 'the images did not say what is shared')
    before = blocks('images')
    box.restore('images', *box.FILL[fill], *options)
    kinds.passes(pid, 'restored')
    if '--auto-dedup' in options:
        check(blocks('images') < before / 50, f'of {before} bytes of pages {blocks("images")} are still there')


def spans(trace):
    """(start, end, pid) of every page worker in a timeline, in order."""
    with open(trace) as f:
        events = json.load(f)
    return sorted((e['ts'], e['ts'] + e['dur'], e['pid']) for e in events if e.get('name') == 'read pages')


def budget(workers):
    pid = kinds.start(os.path.join(box.BUILD, 'test/real/crowd'))
    box.dump(pid, 'images')
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    box.restore('images', f'--parallel-restore={workers}', '--trace', 'trace.json')
    all_spans = spans('trace.json')
    pids = {p for _, _, p in all_spans}
    check(len(pids) == 4, f'{len(pids)} of 4 tasks had page workers')
    for start, _, _ in all_spans:
        now = sum(s <= start < e for s, e, _ in all_spans)
        check(now <= workers, f'{now} page workers were at work at once, {workers} are allowed')
    most = sum(p == pid for _, _, p in all_spans)
    check(most == workers, f'the large task had {most} workers, though the small ones were done before it')
    # as long as there is work nobody idles: all together they stand for as long as `workers` of them from first to last
    busy = sum(e - s for s, e, _ in all_spans) / (max(e for _, e, _ in all_spans) - min(s for s, _, _ in all_spans))
    check(busy >= 0.6 * workers, f'of {workers} page workers only {busy:.2f} were at work on average')
    kinds.passes(pid, 'restored')


for how in box.FILL:
    case_add(f'cow/foreign images, {how}', functools.partial(cow, how, True), limit=120)
    case_add(f'cow/images freed, {how}', functools.partial(cow, how, False, '--auto-dedup'), limit=120)
case_add('cow/foreign images freed', functools.partial(cow, 'parallel', True, '--auto-dedup'), limit=120)
for n in (2, 3):
    case_add(f'budget/{n} workers', functools.partial(budget, n), limit=120)
