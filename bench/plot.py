# SPDX-License-Identifier: Apache-2.0
"""Plots of results.json through gnuplot, each as SVG and PNG: seconds against workers, with the ceiling drawn in, and
seconds against size. Without gnuplot there are none; `bench/run --plot results.json` draws them elsewhere later."""
import os
import shutil
import subprocess

import summary

STYLE = """set encoding utf8
set grid lt 1 lc rgb '#cccccc'
set border 3 lc rgb '#555555'
set tics nomirror
set key outside right top Left reverse
set ylabel 'seconds (fastest of %(n)d)'
set logscale y
"""
COLOURS = {'thaw': '#0a5fb4', 'thaw restore': '#0a5fb4', 'CRIU restore': '#c03a2b', 'thaw dump': '#8a3fc0', 'ceiling': '#2e8b3d', 'CRIU': '#c03a2b',
           'CRIU dump': '#e0912f', 'serial': '#777777', 'default': '#0a5fb4'}


def tics(low, high):
    """1, 2, 5, 10 ... between the two."""
    return [m * 10 ** e for e in range(-6, 6) for m in (1, 2, 5) if low <= m * 10 ** e <= high]


def tics_text(values):
    return ', '.join(f"'{x:g}' {x:g}" for x in values)


class Plot:
    """Series of points: {name: [(x, y)]}; levels are drawn as flat lines."""

    def __init__(self, name, title, xlabel, n):
        self.name, self.title, self.xlabel, self.n = name, title, xlabel, n
        self.series, self.levels = {}, {}

    def add(self, name, x, y):
        if y is not None:
            self.series.setdefault(name, []).append((x, y))

    def level(self, name, y):
        if y is not None:
            self.levels[name] = y

    def script(self, terminal, path):
        xs = sorted({x for points in self.series.values() for x, _ in points})
        curves, data = [], []
        for name, points in self.series.items():
            curves.append(f"'-' using 1:2 with linespoints pt 7 ps 0.6 lw 2 lc rgb '{COLOURS[name]}' title '{name}'")
            data += [f'{x:g} {y:.6f}' for x, y in sorted(points)] + ['e']
        for name, y in self.levels.items():
            curves.append(f"{y:.6f} with lines dt 2 lw 2 lc rgb '{COLOURS[name]}' title '{name}'")
        ys = [y for points in self.series.values() for _, y in points] + [*self.levels.values()]
        low, high = min(ys) / 1.3, max(ys) * 1.3
        return '\n'.join([
            f"set terminal {terminal}", f"set output '{path}'", STYLE % {'n': self.n}, f"set title '{self.title}'",
            f"set xlabel '{self.xlabel}'", 'set logscale x 2', f'set xtics ({tics_text(xs)})',
            f'set yrange [{low:g}:{high:g}]', f'set ytics ({tics_text(tics(low, high))})',
            f'set xrange [{xs[0] * 0.9:g}:{xs[-1] * 1.1:g}]', 'plot ' + ', '.join(curves), *data, ''])


def workers_plot(scene):
    p = Plot(f'{scene["scene"]}-{scene["size"] >> 20}m-workers', f'restore of {summary.title(scene)}: page workers',
             'page workers, threads of the ceiling', scene['rounds'])
    for row in scene['rows']:
        if row['cold'] or not row['workers']:
            continue
        if row['what'] == 'ceiling' and row['mode'].endswith('2m'):
            p.add('ceiling', row['workers'], summary.low(row))
        elif row['who'] == 'thaw' and row['what'] == 'restore':
            p.add('thaw', row['workers'], summary.low(row))
    p.level('default', summary.best(scene, what='restore', who='thaw', mode='default', cold=False))
    p.level('serial', summary.best(scene, what='restore', who='thaw', mode='serial', cold=False))
    p.level('CRIU', summary.best(scene, what='restore', who='criu', cold=False))
    return p if len(p.series.get('thaw', [])) > 1 else None


def size_plot(name, scenes):
    p = Plot(f'{name}-size', f'{name}: dump and restore by size', 'size in MiB', max(s['rounds'] for s in scenes))
    for s in scenes:
        mib = s['size'] >> 20
        p.add('thaw restore', mib, summary.best(s, what='restore', who='thaw', mode='default', cold=False))
        p.add('thaw dump', mib, summary.best(s, what='dump', who='thaw', cold=False))
        p.add('ceiling', mib, summary.best(s, what='ceiling', cold=False))
        p.add('CRIU restore', mib, summary.best(s, what='restore', who='criu', cold=False))
        p.add('CRIU dump', mib, summary.best(s, what='dump', who='criu', cold=False))
    return p if 'thaw restore' in p.series else None


def plots(doc):
    measured = [s for s in doc['scenes'] if s['rounds']]
    found = [workers_plot(s) for s in measured]
    for name in dict.fromkeys(s['scene'] for s in measured):
        same = [s for s in measured if s['scene'] == name and s['size'] and s['filesystem'] == 'tmpfs']
        found.append(size_plot(name, same) if len(same) > 1 else None)
    return [p for p in found if p]


def draw(doc, out):
    """Draws all plots into the directory out. Returns [(title, SVG text)], or None when there is no gnuplot."""
    if not shutil.which('gnuplot'):
        return None
    drawn = []
    for p in plots(doc):
        path = os.path.join(out, p.name)
        svg = f'svg size 820,430 background rgb "white" font "sans,13" name "{p.name.replace("-", "_")}_"'
        for terminal, end in ((svg, '.svg'), ('pngcairo size 1640,860 font "sans,20"', '.png')):
            subprocess.run(['gnuplot'], input=p.script(terminal, path + end), text=True, check=True)
        with open(path + '.svg') as f:
            text = f.read()
        drawn.append((p.title, text[text.index('<svg'):]))
    return drawn
