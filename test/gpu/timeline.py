# SPDX-License-Identifier: Apache-2.0
"""bench/timeline: what it draws of a file of --trace (timeline.json is one of a restore with the stub driver), and which
steps it says bound the whole."""
import json
import os
import sys
import xml.etree.ElementTree as xml

import box
from box import check
from case import case

sys.path.append(os.path.join(box.TOP, 'bench'))
import spans  # noqa: E402

TOOL = [box.PYTHON, os.path.join(box.TOP, 'bench/timeline')]
RECORDED = os.path.join(box.TOP, 'test/gpu/timeline.json')
SVG = '{http://www.w3.org/2000/svg}'


def written(*rows):
    """A trace of rows (name, [(span, from, to)]) in ms, of process 1."""
    events = [{'ph': 'M', 'name': 'process_name', 'pid': 1, 'tid': 0, 'args': {'name': 'thaw'}}]
    for tid, (name, row) in enumerate(rows, 1):
        events.append({'ph': 'M', 'name': 'thread_name', 'pid': 1, 'tid': tid, 'args': {'name': name}})
        events += [{'ph': 'X', 'name': n, 'pid': 1, 'tid': tid, 'ts': 5e6 + a * 1e3, 'dur': (b - a) * 1e3} for n, a, b in row]
    with open('trace.json', 'w') as f:
        json.dump(events, f)
    return 'trace.json'


def chain(*rows):
    return [s.name if s else None for s, _, _ in spans.bound(spans.read(written(*rows)))]


@case('timeline/picture')
def picture():
    """Every span is a bar at its time, every row has its name, and the chain is drawn above all."""
    r = box.must(box.run([*TOOL, RECORDED, 'out.svg', '--title', 'a <b>']))
    check(r.out.startswith('made its own, gate opened: 176.4 ms, 50 %\nloaded: 143.5 ms, 41 %\n'), r.out)
    tree = xml.parse('out.svg').getroot()
    texts = [t.text for t in tree.iter(SVG + 'text')]
    for name in ('a <b>', 'bounds the whole', 'stages', 'task', 'GPU memory', 'driver', 'thaw 36', 'memory 6', '100', 'ms',
                 'loaded: 66 MiB in 144 ms, 0.5 GB/s'):
        check(name in texts, f'"{name}" is not in the picture: {texts}')
    bars = [b for b in tree.iter(SVG + 'rect') if b.find(SVG + 'title') is not None]
    with open(RECORDED) as f:
        all_spans = [e for e in json.load(f) if e['ph'] == 'X']
    steps = spans.bound(spans.read(RECORDED))
    check(len(bars) == len(all_spans) + len(steps), f'{len(bars)} bars of {len(all_spans)} spans and {len(steps)} steps')
    # the same left edge and width as the times say
    zero, scale = min(e['ts'] for e in all_spans), (1240 - 150 - 30) / 352119.633
    for e in all_spans:
        at = 150 + (e['ts'] - zero) * scale
        there = [b for b in bars if abs(float(b.get('x')) - at) < 1 and abs(float(b.get('width')) - e['dur'] * scale) < 1]
        check(there, f'{e["name"]} is not at {at:.1f}')
    check(all(float(b.get('x')) + float(b.get('width')) <= 1240 - 29 for b in bars), 'a bar leaves the picture')


@case('timeline/what bounds')
def bounds():
    """The last that ended before a step began; waiting is no step."""
    stages = ('stages', [('load', 0, 10), ('wait', 10, 90), ('commit', 90, 100), ('let threads go', 95, 100)])
    task = ('task', [('fill memory', 10, 60)])
    check(chain(stages, task, ('driver', [("driver's restore", 61, 94)]), ('GPU memory', [('loaded', 5, 70)])) ==
          ['load', 'fill memory', None, "driver's restore", None, 'let threads go'], 'the driver bounds this one')
    check(chain(stages, task, ('driver', [("driver's restore", 61, 80)]), ('GPU memory', [('loaded', 10, 95)])) ==
          ['load', 'loaded', 'let threads go'], 'loading bounds this one')
    check(chain(('stages', [('load', 0, 40), ('wait', 40, 100)])) == ['load', None], 'nobody says what it waited for')


@case('timeline/page workers')
def workers():
    """They share a row and a lane each; what they do is said by the task's span."""
    path = written(('stages', [('load', 0, 1), ('wait', 1, 50)]), ('task', [('fill memory', 1, 50)]),
                   *((f'page worker {i}', [('read pages', 2, 49)]) for i in range(3)))
    rows = spans.read(path)
    check([r.name for r in rows] == ['stages', 'task', 'page workers'], f'{[r.name for r in rows]}')
    check([s.name for s, _, _ in spans.bound(rows)] == ['load', 'fill memory'], 'a page worker is in the chain')
    box.must(box.run([*TOOL, path]))
    with open('trace.svg') as f:
        check('>3 page workers<' in f.read(), 'the row does not say how many workers there were')


@case('timeline/no trace')
def no_trace():
    for text in ('', '[]', '{"a": 1}', '[{"ph": "X"}]'):
        with open('bad.json', 'w') as f:
            f.write(text)
        r = box.run([*TOOL, 'bad.json'])
        check(r.code == 1 and r.err.startswith('timeline: bad.json') and 'Traceback' not in r.err, f'{text}: {r}')
    check(not os.path.exists('bad.svg'), 'a picture of nothing')
