# SPDX-License-Identifier: Apache-2.0
"""A file of --trace (Chrome's trace events) as rows of spans, and what bounds the whole.

Nobody records what a step waited for. But of all that ended before a step began, it is the last one that kept it: going
back from the end in that way gives a chain of steps, each of which would have to be shorter for the whole to be."""
import json

# Steps that do nothing but wait for others, whose own spans say what was done meanwhile.
WAITING = {'wait', 'commit', 'fill', 'wait for GPU memory', 'return GPU memory', 'unlock GPUs', 'agent gets ready'}
# Rows are shown in this order; page workers share one.
ORDER = ('stages', 'worker', 'task', 'page workers', 'GPU memory', 'driver')
SLACK, GAP = 0.02, 0.2  # ms: what is no time; how late a clock may be read


class Span:
    def __init__(self, name, row, start, end, nbytes=0):
        self.name, self.row, self.start, self.end, self.bytes, self.depth = name, row, start, end, nbytes, 0

    @property
    def ms(self):
        return self.end - self.start

    def rate(self):
        """GB/s, or None."""
        return self.bytes / self.ms / 1e6 if self.bytes and self.ms > 0 else None

    def __repr__(self):
        return f'{self.name} {self.start:.1f}-{self.end:.1f}'


class Row:
    """One thread, or all page workers of a task; spans that lie within others are one lane deeper."""

    def __init__(self, group, name):
        self.group, self.name, self.spans, self.lanes = group, name, [], 1

    def settle(self):
        self.spans.sort(key=lambda s: (s.start, -s.end))
        ends = []
        for s in self.spans:
            while ends and ends[-1] <= s.start + SLACK:
                ends.pop()
            s.depth = len(ends)
            ends.append(s.end)
            self.lanes = max(self.lanes, s.depth + 1)


def row_name(name):
    return 'page workers' if name.startswith('page worker') else name


def rank(row):
    return ORDER.index(row.name) if row.name in ORDER else len(ORDER)


def read(path):
    """[Row], in the order in which they are to be shown; times in ms from the first span on."""
    with open(path) as f:
        events = json.load(f)
    if not isinstance(events, list):
        raise ValueError('no list of events')
    spans = [e for e in events if e['ph'] == 'X']
    if not spans:
        raise ValueError('no spans')
    zero = min(e['ts'] for e in spans)
    group = {e['pid']: e['args']['name'] for e in events if e['name'] == 'process_name'}
    thread = {(e['pid'], e['tid']): e['args']['name'] for e in events if e['name'] == 'thread_name'}
    rows = {}
    for e in spans:
        name = row_name(thread.get((e['pid'], e['tid']), str(e['tid'])))
        row = rows.setdefault((e['pid'], name), Row(f"{group.get(e['pid'], '?')} {e['pid']}", name))
        start = (e['ts'] - zero) / 1e3
        row.spans.append(Span(e['name'], row, start, start + e['dur'] / 1e3, e.get('args', {}).get('bytes', 0)))
    for row in rows.values():
        row.settle()
    groups = list(dict.fromkeys(r.group for r in rows.values()))
    return sorted(rows.values(), key=lambda r: (r.name != 'stages', groups.index(r.group), rank(r)))


def leaves(rows):
    """Spans of work that none within them explains better; page workers speak through their task's span."""
    found = []
    for row in rows:
        if row.name == 'page workers':
            continue
        for s in row.spans:
            inner = [x for x in row.spans if x is not s and s.start <= x.start and x.end <= s.end and x.depth > s.depth]
            if s.name not in WAITING and not inner:
                found.append(s)
    return found


def bound(rows):
    """The chain that bounds the whole: [(span, from, to)] in time's order; what no span explains is (None, from, to)."""
    work = leaves(rows)
    at, chain = max(s.end for row in rows for s in row.spans), []
    while at > SLACK:
        before = [s for s in work if s.start < at - SLACK and s.end <= at + GAP]
        if not before:
            chain.append((None, 0.0, at))
            break
        last = max(before, key=lambda s: (min(s.end, at), s.ms))
        if last.end < at - GAP:
            chain.append((None, last.end, at))
            at = last.end
        chain.append((last, last.start, at))
        at = last.start
    return chain[::-1]


def shares(rows):
    """[(name, ms, share of the whole)] of the chain, largest first."""
    total = max(s.end for row in rows for s in row.spans)
    sums = {}
    for s, start, end in bound(rows):
        name = s.name if s else 'between steps'
        sums[name] = sums.get(name, 0) + end - start
    return sorted(((n, ms, ms / total) for n, ms in sums.items()), key=lambda x: -x[1])
