# SPDX-License-Identifier: Apache-2.0
"""What was aimed at: for one scene's dump or restore, without options, a number and its unit. Ratios hold anywhere,
absolute times on the machine that they were set for (doc/benchmark.md)."""

CEILING, MS, GBS, DISK = 'x ceiling', 'ms', 'GB/s', '% of the disk'
AT_LEAST = (GBS, DISK)


def goal(what, limit, unit, cold=False):
    return {'what': what, 'limit': limit, 'unit': unit, 'cold': cold}


def text(g):
    return f'{"at least" if g["unit"] in AT_LEAST else "at most"} {g["limit"]:g} {g["unit"]}'


def number(g, value):
    """A value as precise as it has to be beside the goal."""
    return f'{value:.2f}' if g['unit'] == CEILING else f'{value:.1f}'


def met(g, value):
    return value >= g['limit'] if g['unit'] in AT_LEAST else value <= g['limit']
