# SPDX-License-Identifier: Apache-2.0
"""From results.json to rows with minimum, median and ratios: what the table on the terminal, the plots and the page show.

Ratios are of minima in one run. The ceiling is the fastest raw read there was, hot or cold, with however many threads;
a mode that is worse than it has no other excuse than itself.
"""
import statistics

MEDIAN_OF = 3


def low(row):
    return min(row['seconds']) if row['seconds'] else None


def best(scene, **want):
    """The least seconds of all rows that are as wanted, or None."""
    found = [low(r) for r in scene['rows'] if r['seconds'] and all(r[k] == v for k, v in want.items())]
    return min(found) if found else None


def ratio(a, b):
    return a / b if a and b else None


def goal(scene, row):
    """('goal', met) of a row that has one."""
    if row['what'] not in scene['goals'] or (row['who'], row['mode'], row['cold']) != ('thaw', 'default', False):
        return None
    times, seconds = scene['goals'][row['what']]
    got = low(row)
    if times:
        got = ratio(got, best(scene, what='ceiling', cold=False))
        return (f'{times:g} x ceiling', got <= times) if got else None
    return (f'{seconds * 1e3:g} ms', got <= seconds) if got else None


def measured(scene):
    return [r for r in scene['rows'] if r['seconds'] or r['failures']]


def missing(scene):
    """What was not measured at all, as a sentence or nothing."""
    names = [label(r) for r in scene['rows'] if not r['seconds'] and not r['failures']]
    return 'not measured: ' + '; '.join(names) if names else ''


def lines(scene):
    """One dict for each row, in the order of the table."""
    out = []
    order = {'dump': 0, 'restore': 1, 'ceiling': 2}
    for row in sorted(measured(scene), key=lambda r: (r['cold'], order[r['what']])):
        s, t = row['seconds'], low(row)
        bytes_ = scene.get('payload_bytes', 0)
        out.append({
            'what': row['what'], 'who': row['who'], 'mode': row['mode'], 'cold': row['cold'], 'n': len(s),
            'min': t, 'median': statistics.median(s) if s else None,
            'gbs': bytes_ / t / 1e9 if t and bytes_ >= 16 << 20 else None,
            'ceiling': ratio(t, best(scene, what='ceiling', cold=row['cold'])) if row['what'] != 'ceiling' else None,
            'criu': ratio(t, best(scene, what=row['what'], who='criu', cold=row['cold'])) if row['who'] == 'thaw' else None,
            'goal': goal(scene, row), 'failures': row['failures'], 'note': row['note'],
            'memory': row.get('memory'),
        })
    return out


def label(x):
    cold = ', cold' if x['cold'] else ''
    if x['what'] == 'ceiling':
        return f'ceiling, {x["mode"]}{cold}'
    who = 'CRIU' if x['who'] == 'criu' else 'thaw'
    return f'{who} {x["what"]}{"" if x["mode"] == "default" else ", " + x["mode"]}{cold}'


def size_text(n):
    if not n:
        return ''
    return f'{n / (1 << 30):g} GiB' if n >= 1 << 30 else f'{n / (1 << 20):g} MiB'


def title(scene):
    return scene['scene'] + (f', {size_text(scene["size"])}' if scene['size'] else '')


def number(x, form, unit=''):
    return form % x + unit if x is not None else ''


HEAD = ('', 'n', 'min ms', 'median', 'GB/s', 'x ceiling', 'x CRIU', 'goal')


def cells(x):
    """A row as the texts under HEAD."""
    met = f'{"met" if x["goal"][1] else "MISSED"} ({x["goal"][0]})' if x['goal'] else ''
    ms = {k: x[k] * 1e3 if x[k] is not None else None for k in ('min', 'median')}
    return (label(x), str(x['n']), number(ms['min'], '%.1f'), number(ms['median'], '%.1f'), number(x['gbs'], '%.2f'),
            number(x['ceiling'], '%.2f'), number(x['criu'], '%.2f'), met)


def facts(scene):
    """What was dumped, in one line."""
    if scene['skipped']:
        return f'skipped: {scene["skipped"]}'
    parts = [scene['about'], f'{scene.get("tasks", "?")} tasks', f'{scene.get("payload_bytes", 0) / 1e6:.1f} MB of pages']
    before = scene.get('memory', {}).get('pss_kib')
    after = next((r['memory']['pss_kib'] for r in scene['rows'] if r.get('memory') and r['who'] == 'thaw'), None)
    if before and after:
        parts.append(f'memory in use {before / 1024:.1f} MiB before, {after / 1024:.1f} after thaw\'s restore')
    if scene.get('load', 0) >= 1:
        parts.append(f'load {scene["load"]} when it began')
    parts += [x for x in (scene.get('note'), missing(scene)) if x]
    return '; '.join(parts)


def head(doc):
    """The machine and the build, as (name, text) pairs."""
    m = doc['machine']
    return [
        ('CPU', f'{m["cpu"]}, {m["cpus"]} CPUs{" (virtual machine)" if m["virtual"] else ""}'),
        ('memory', f'{m["memory_bytes"] / (1 << 30):.1f} GiB, huge pages: {m["thp"]}, defrag {m["thp_defrag"]}'),
        ('kernel', m['kernel']),
        ('thaw', f'{doc["thaw"]}, commit {doc["commit"]}'),
        ('CRIU', doc['criu'] or 'not compared'),
        ('images on', doc['filesystem']),
        ('run', f'{doc["started"]}, load {doc["load"][0]:.1f} at the start'
                f' and {doc["load"][-1]:.1f} at the end{"" if doc["finished"] else "; INTERRUPTED: not everything was measured"}'),
        ('in each time', f'{doc["spawn_seconds"] * 1e3:.1f} ms to start and end a program that does nothing'),
    ] + ([('note', doc['note'])] if doc['note'] else [])


def table(doc, out):
    """The terminal's table."""
    for k, v in head(doc):
        out(f'{k + ":":<14}{v}')
    out('')
    for row in (OVERVIEW, *overview(doc)):
        out(f'{row[0]:<20}' + ''.join(f'{x:>11}' for x in row[1:7]) + f'  {row[7]}'.rstrip())
    for scene in doc['scenes']:
        out('')
        out(f'== {title(scene)}: {facts(scene)}')
        rows = [HEAD] + [cells(x) for x in lines(scene)] if not scene['skipped'] else []
        for row in rows:
            out(f'{row[0]:<32}{row[1]:>3}' + ''.join(f'{x:>11}' for x in row[2:7]) + f'  {row[7]}'.rstrip())
        for x in lines(scene):
            for text in dict.fromkeys(x['failures']):
                out(f'   FAILED: {label(x)}: {text}')
            if x['note']:
                out(f'   {label(x)}: {x["note"]}')
    out('')


OVERVIEW = ('', 'dump ms', 'x ceiling', 'x CRIU', 'restore ms', 'x ceiling', 'x CRIU', 'goals')


def overview(doc):
    """A row for each scene, of the default way, hot, under OVERVIEW."""
    out = []
    for scene in doc['scenes']:
        row, goals = [title(scene)], []
        for what in ('dump', 'restore'):
            x = next((x for x in lines(scene) if (x['what'], x['who'], x['mode'], x['cold']) == (what, 'thaw', 'default', False)), None)
            row += cells(x)[2:3] + cells(x)[5:7] if x else [''] * 3
            if x and x['goal']:
                goals.append(f'{what} {cells(x)[7]}')
        out.append([*row, ', '.join(goals) or scene['skipped']])
    return out


def failures(doc):
    return sum(len(r['failures']) for s in doc['scenes'] for r in s['rows'])
