# SPDX-License-Identifier: Apache-2.0
"""The page: results.json for the eye, in one HTML file that needs nothing else; the plots are in it as SVG."""
import html

import summary

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem }
table { border-collapse: collapse; margin: .6rem 0 } td, th { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #e4e4e4 }
td:first-child, th:first-child { text-align: left } td:last-child { text-align: left }
tr.default { font-weight: 600 } tr.raw { color: #2e7d3a } tr.criu { color: #b23325 }
.bad { color: #b00020; font-weight: 600 } p.about { color: #555; margin: .2rem 0 } figure { margin: 1rem 0 } svg { max-width: 100%; height: auto }
"""
READ = """Times are wall clock of the whole command, from before its start to its end, in milliseconds; the fastest of n
counts, the median says how steady it was. "x ceiling" is how many times as long as the fastest raw read of the same files
into fresh memory, measured in turn with it (of cold images: past the page cache, if that is faster); "x CRIU" is the share of CRIU's time for restoring the same images (0.25: four
times as fast). Every restore in the table was verified: each word of memory was looked at by its own process."""


def row(x):
    kind = 'raw' if x['who'] == 'raw' else 'criu' if x['who'] == 'criu' else 'default' if x['mode'] == 'default' else ''
    texts = [html.escape(t) for t in summary.cells(x)]
    if not all(g['met'] for g in x['goals']):
        texts[-1] = f'<span class="bad">{texts[-1]}</span>'
    if x['trace']:
        texts[0] += f' (<a href="{html.escape(x["trace"])}">timeline</a>)'
    return f'<tr class="{kind}">' + ''.join(f'<td>{t}</td>' for t in texts) + '</tr>'


def table(head, rows):
    def line(cell, texts):
        return '<tr>' + ''.join(f'<{cell}>{html.escape(t)}</{cell}>' for t in texts) + '</tr>'
    return '<table>' + line('th', head) + ''.join(line('td', r) for r in rows) + '</table>'


def scene_html(scene):
    out = [f'<h2>{html.escape(summary.title(scene))}</h2>', f'<p class="about">{html.escape(summary.facts(scene))}</p>']
    if scene['skipped']:
        return out
    rows = summary.lines(scene)
    out.append('<table><tr>' + ''.join(f'<th>{html.escape(h)}</th>' for h in summary.HEAD) + '</tr>')
    out += [row(x) for x in rows] + ['</table>']
    for x in rows:
        out += [f'<p class="bad">failed: {html.escape(summary.label(x))}: {html.escape(t)}</p>'
                for t in dict.fromkeys(x['failures'])]
        if x['note']:
            out.append(f'<p class="about">{html.escape(summary.label(x))}: {html.escape(x["note"])}</p>')
    return out


def page(doc, drawn):
    """The whole file. drawn: (title, SVG) of each plot, or None."""
    out = ['<!doctype html><html lang="en"><meta charset="utf-8"><title>thaw: benchmark</title>',
           '<meta name="viewport" content="width=device-width">', f'<style>{STYLE}</style>',
           '<h1>thaw: dump and restore, measured</h1>', '<table>']
    out += [f'<tr><td>{html.escape(k)}</td><td style="text-align:left">{html.escape(v)}</td></tr>' for k, v in summary.head(doc)]
    bad = summary.failures(doc)
    out += ['</table>', f'<p>{READ}</p>',
            f'<p class="bad">{bad} runs failed; they are listed below.</p>' if bad else '<p>No run failed.</p>']
    out += ['<h2>All scenes, without options</h2>', table(summary.OVERVIEW, summary.overview(doc))]
    out += ['<h2>Goals</h2>', table(summary.GOALS, summary.goals_all(doc)), '<h2>Against workers, against size</h2>']
    out += [f'<figure>{svg}</figure>' for _, svg in drawn or []]
    if drawn is None:
        out.append('<p>There was no gnuplot to draw plots; <code>bench/run --plot results.json</code> does it later.</p>')
    for scene in doc['scenes']:
        out += scene_html(scene)
    return '\n'.join(out) + '\n</html>\n'
