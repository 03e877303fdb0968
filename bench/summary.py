# SPDX-License-Identifier: Apache-2.0
"""From results.json to rows with minimum, median and ratios: what the table on the terminal, the plots and the page show.

Ratios are of minima in one run. The ceiling is the fastest raw read there was, hot or cold, with however many threads;
a mode that is worse than it has no other excuse than itself.
"""
import statistics

import goal


def low(row):
    return min(row['seconds']) if row['seconds'] else None


def best(scene, **want):
    """The least seconds of all rows that are as wanted, or None."""
    found = [low(r) for r in scene['rows'] if r['seconds'] and all(r[k] == v for k, v in want.items())]
    return min(found) if found else None


def ratio(a, b):
    return a / b if a and b else None


def goals(scene, row):
    """The goals of a row, each with what was got."""
    if (row['who'], row['mode']) != ('thaw', 'default') or not row['seconds']:
        return []
    t = low(row)
    disk = min([low(r) for r in scene['rows'] if r['seconds'] and r['mode'].endswith('direct') and r['what'] == 'ceiling'], default=None)
    value = {goal.CEILING: ratio(t, best(scene, what='ceiling', cold=False)), goal.MS: t * 1e3,
             goal.GBS: scene['payload_bytes'] / t / 1e9, goal.DISK: disk and disk / t * 100}
    return [{'goal': goal.text(g), 'got': goal.number(g, value[g['unit']]), 'met': goal.met(g, value[g['unit']])}
            for g in scene['goals'] if (g['what'], g['cold']) == (row['what'], row['cold']) and value[g['unit']]]


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
            'min': t, 'median': statistics.median(s) if s else None, 'max': max(s) if s else None,
            'gbs': bytes_ / t / 1e9 if t and bytes_ >= 16 << 20 else None,
            'ceiling': ratio(t, best(scene, what='ceiling', cold=row['cold'])) if row['what'] != 'ceiling' else None,
            'criu': ratio(t, best(scene, what=row['what'], who='criu', cold=row['cold'])) if row['who'] == 'thaw' else None,
            'goals': goals(scene, row), 'failures': row['failures'], 'note': row['note'], 'trace': row.get('trace'),
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
    disk = f', images on {scene["filesystem"]}' if scene['filesystem'] != 'tmpfs' else ''
    return scene['scene'] + (f', {size_text(scene["size"])}' if scene['size'] else '') + disk


def number(x, form, unit=''):
    return form % x + unit if x is not None else ''


HEAD = ('', 'n', 'min ms', 'median', 'max', 'GB/s', 'x ceiling', 'x CRIU', 'goal')


def cells(x):
    """A row as the texts under HEAD."""
    ms = [number(x[k] * 1e3 if x[k] is not None else None, '%.1f') for k in ('min', 'median', 'max')]
    return (label(x), str(x['n']), *ms, number(x['gbs'], '%.2f'), number(x['ceiling'], '%.2f'), number(x['criu'], '%.2f'),
            verdicts(x))


def verdicts(x):
    return ', '.join(f'{"met" if g["met"] else "MISSED"} ({g["goal"]})' for g in x['goals'])


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
        ('run', f'{doc["started"]} to {doc["ended"]}, load {doc["load"][0]:.1f} at the start'
                f' and {doc["load"][-1]:.1f} at the end{"" if doc["finished"] else "; INTERRUPTED: not everything was measured"}'),
        ('in each time', f'{doc["spawn_seconds"] * 1e3:.1f} ms to start and end a program that does nothing'),
    ] + ([('note', doc['note'])] if doc['note'] else [])


def table(doc, out):
    """The terminal's table."""
    for k, v in head(doc):
        out(f'{k + ":":<14}{v}')
    out('')
    for row in (OVERVIEW, *overview(doc)):
        out(f'{row[0]:<34}' + ''.join(f'{x:>11}' for x in row[1:9]))
    out('')
    for row in (GOALS, *goals_all(doc)):
        out(f'{row[0]:<34} {row[1]:<14} {row[2]:<24} {row[3]:>9}  {row[4]}')
    for scene in doc['scenes']:
        out('')
        out(f'== {title(scene)}: {facts(scene)}')
        rows = [HEAD] + [cells(x) for x in lines(scene)] if not scene['skipped'] else []
        for row in rows:
            out(f'{row[0]:<32}{row[1]:>3}' + ''.join(f'{x:>11}' for x in row[2:8]) + f'  {row[8]}'.rstrip())
        for x in lines(scene):
            for text in dict.fromkeys(x['failures']):
                out(f'   FAILED: {label(x)}: {text}')
            if x['note']:
                out(f'   {label(x)}: {x["note"]}')
    out('')


OVERVIEW = ('', 'dump ms', 'CRIU', 'x ceiling', 'x CRIU', 'restore ms', 'CRIU', 'x ceiling', 'x CRIU')
GOALS = ('', '', 'goal', 'got', '')


def default_rows(doc, who='thaw'):
    """(scene, cold, {'dump' or 'restore': line}) of what was measured of the default way."""
    for scene in doc['scenes']:
        rows = [x for x in lines(scene) if (x['who'], x['mode']) == (who, 'default')]
        colds = sorted({x['cold'] for x in rows if x['what'] == 'restore'})
        for cold in colds:
            yield scene, cold, {x['what']: x for x in rows if (cold == colds[0] if x['what'] == 'dump' else x['cold'] == cold)}


def overview(doc):
    """A row for each scene, of the default way, under OVERVIEW."""
    out = []
    criu = {(id(scene), cold): rows for scene, cold, rows in default_rows(doc, 'criu')}
    for scene, cold, rows in default_rows(doc):
        row = [title(scene) + (', not cached' if cold else '')]
        for what in ('dump', 'restore'):
            x, other = rows.get(what), criu.get((id(scene), cold), {}).get(what)
            row += [cells(x)[2] if x else '', cells(other)[2] if other else '', *(cells(x)[6:8] if x else [''] * 2)]
        out.append(row)
    return out


def goals_all(doc):
    """A row for each goal, under GOALS."""
    return [(title(scene), x['what'] + (', cold' if cold else ''), g['goal'], g['got'], 'met' if g['met'] else 'MISSED')
            for scene, cold, rows in default_rows(doc) for x in rows.values() for g in x['goals']]


def failures(doc):
    return sum(len(r['failures']) for s in doc['scenes'] for r in s['rows'])
