# SPDX-License-Identifier: Apache-2.0
"""bench/run: that it measures, says so in JSON and HTML, notices a restore that came back wrong, and leaves what it has
when it is interrupted. The figures themselves are nobody's business here."""
import json
import os
import signal
import subprocess

import box
from case import case

ENV = dict(os.environ, B=box.BUILD)
RUN = [box.PYTHON, os.path.join(box.TOP, 'bench/run')]


def results(out):
    with open(os.path.join(out, 'results.json')) as f:
        doc = json.load(f)
    with open(os.path.join(out, 'index.html')) as f:
        html = f.read()
    box.check(html.startswith('<!doctype html>') and html.endswith('</html>\n'), 'the page is not whole')
    for s in doc['scenes']:
        box.check(f'<h2>{s["scene"]}' in html, f'the page says nothing of {s["scene"]}')
    return doc, html


def bench(*words, timeout=100):
    out = os.path.join(os.getcwd(), 'out')
    return box.run([*RUN, '--out', out, '--iterations', '1', *words], timeout=timeout, env=ENV), out


def row(doc, scene, **want):
    s = next(s for s in doc['scenes'] if s['scene'] == scene)
    return next(r for r in s['rows'] if all(r[k] == v for k, v in want.items()))


def timeline(events):
    """Events as Perfetto wants them: each span on a row, each row with a name; page workers have rows of their own."""
    names = {(e['pid'], e['tid']): e['args']['name'] for e in events if e['name'] == 'thread_name'}
    groups = {e['pid'] for e in events if e['name'] == 'process_name'}
    for e in events:
        box.check(e['ph'] in 'MX' and e['pid'] in groups, f'an event of nobody: {e}')
        if e['ph'] == 'X':
            box.check(e['ts'] > 0 and e['dur'] >= 0 and (e['pid'], e['tid']) in names, f'a span that has no row: {e}')
    read = [e for e in events if e['name'] == 'read pages']
    box.check(read and all(names[e['pid'], e['tid']].startswith('page worker') for e in read), 'no rows of page workers')
    fill = next(e for e in events if e['name'] == 'fill memory')
    done = sum(e['args']['bytes'] for e in read if 'args' in e)
    box.check(0 <= fill['args']['bytes'] - done <= 64 << 10, f'workers read {done} bytes of {fill["args"]["bytes"]}')  # vdso


def joins(out, doc):
    """A later run takes the place of the earlier one's scenes, but not of those with images elsewhere."""
    later = os.path.join(out, 'later.json')
    first = next(s for s in doc['scenes'] if s['scene'] == 'mem')
    more = dict(doc, scenes=[dict(s, about='a later one') for s in doc['scenes'] if s['scene'] == 'sleep'])
    more['scenes'].append(dict(first, filesystem='ext4'))
    with open(later, 'w') as f:
        json.dump(more, f)
    joined = os.path.join(out, 'joined')
    box.must(box.run([*RUN, '--out', joined, '--plot', os.path.join(out, 'results.json'), later], env=ENV))
    both, html = results(joined)
    box.check(sum(s['scene'] == 'mem' for s in both['scenes']) == 2, 'images on a disk have taken the place of those in memory')
    box.check([s['about'] for s in both['scenes'] if s['scene'] == 'sleep'] == ['a later one'], 'sleep is not the later one')
    box.check('images on ext4' in html and 'at most 1.35 x ceiling' in html, 'the page says nothing of the disk, or of goals')
    with open(later, 'w') as f:
        json.dump(dict(more, commit='another'), f)
    r = box.run([*RUN, '--out', joined, '--plot', os.path.join(out, 'results.json'), later], env=ENV)
    box.check(r.code != 0 and 'not joined' in r.err, f'runs of two builds were joined: {r}')


@case('floor')
def floor():
    program = os.path.join(box.BUILD, 'bench/floor')
    words = box.must(box.run([program, '--runs', '1', '20', '.'])).out.split()
    box.check([x for x in words if x.isalpha() or x.endswith(':')] == ['dump:', 'ms', 'stop', 'look', 'call', 'store', 'end', 'restore:', 'ms'],
              f'it says {words}')
    box.check(len([x for x in os.listdir('.') if x.startswith('core-')]) == 20, 'there is not a file for each thread')
    box.check(box.run([program, '0', '.']).code == 1 and box.run([program, '3', 'nowhere']).code == 1, 'it takes anything')


@case('bench measures and shows', limit=120)
def measures():
    r, out = bench('--scene', 'mem,cow,threads,sleep', '--size', '32M', '--trace', '--note', 'a <test>')
    box.must(r)
    doc, html = results(out)
    box.check(doc['finished'] and doc['machine']['cpus'] >= 1, 'the results are not whole')
    box.check('a &lt;test&gt;' in html, 'the note is not on the page')
    for scene, tasks in (('mem', 1), ('cow', 200), ('threads', 1000), ('sleep', 1)):
        for mode in ('default', 'serial'):
            x = row(doc, scene, what='restore', who='thaw', mode=mode)
            box.check(len(x['seconds']) == 1 and not x['failures'], f'{scene}, {mode}: {x}')
        box.check(next(s for s in doc['scenes'] if s['scene'] == scene)['tasks'] == tasks, f'{scene}: not {tasks} tasks')
    words = row(doc, 'mem', what='restore', who='thaw', mode='default')['verified']
    box.check(words.startswith(f'{32 << 17} words'), f'not every word was looked at: {words}')
    box.check(row(doc, 'mem', what='ceiling')['seconds'], 'there is no ceiling')
    with open(os.path.join(out, row(doc, 'mem', what='restore', mode='default')['trace'])) as f:
        timeline(json.load(f))
    joins(out, doc)


@case('bench notices a wrong restore', limit=120)
def notices():
    r, out = bench('--scene', 'mem', '--size', '32M', '--mode', 'none', '--damage')
    box.check(r.code == 1, f'exit code 1 was expected: {r}')
    doc, html = results(out)
    x = row(doc, 'mem', what='restore', who='thaw', mode='default')
    box.check(not x['seconds'], f'a wrong restore has counted: {x}')
    box.check(any('should be' in t for t in x['failures']), f'the wrong word is not named: {x}')
    box.check('should be' in html and 'FAILED' in r.out, 'the reader is not told')


@case('bench interrupted leaves what it has', limit=120)
def interrupted():
    out = os.path.join(os.getcwd(), 'out')
    p = subprocess.Popen([*RUN, '--out', out, '--scene', 'sleep,mem', '--size', '32M', '--iterations', '10000'],
                         stdout=subprocess.PIPE, text=True, env=ENV)
    for line in p.stdout:
        if 'round 3 ' in line:
            break
    p.send_signal(signal.SIGTERM)
    text, _ = p.communicate(timeout=60)
    box.check('interrupted' in text, f'nothing is said of it: {text}')
    doc, html = results(out)
    box.check(not doc['finished'] and 'INTERRUPTED' in html, 'the results do not say that they are not whole')
    box.check(len(row(doc, 'sleep', what='restore', mode='default')['seconds']) >= 2, 'what was measured is lost')
    box.check(not os.path.exists(os.path.join(out, '.work')), 'it has left its working directory')
