# SPDX-License-Identifier: Apache-2.0
"""Everyday programs in the middle of their work: python3 with threads and asyncio, a pipeline of bash, cat and sort,
sqlite3 inside a transaction."""
import os
import shutil
import socket

import box
import chain
import cycle
from box import Skipped, check
from case import case

HERE = os.path.dirname(os.path.abspath(__file__))

# --- python3 --------------------------------------------------------------------------------------------------------

PORT = 8098


class Asker:
    """Asks chain.py and knows what it must answer."""

    def __init__(self):
        self.n, self.count, self.digest, self.last = 0, 0, '', None

    def line(self, words):
        with socket.create_connection(('127.0.0.1', PORT), 30) as s, s.makefile('r') as f:
            s.sendall(words.encode() + b'\n')
            return f.readline().split()

    def add(self):
        self.n += 1
        self.count, self.digest = self.count + 1, chain.chained(self.digest, str(self.n))
        got = self.line(f'add {self.n}')
        check(len(got) == 4, f'an answer of four words was expected: {got}')
        check([str(self.count), self.digest] == got[:2], f'link {self.n} of the chain is {got[:2]}')
        return int(got[2]), int(got[3])

    def threads(self):
        got = list(map(int, self.line('threads')))
        check(len(got) == 2 * chain.THREADS, f'an answer of {2 * chain.THREADS} numbers was expected: {got}')
        for i in range(chain.THREADS):
            n, x = got[2 * i:2 * i + 2]
            check(x == chain.stepped(i, n), f'thread {i} has a wrong value after {n} steps')
        return got[::2]

    def __call__(self):
        """Everything must be right, and every thread and task must move on."""
        first, tasks = self.threads(), self.add()
        box.until(lambda: all(b > a for a, b in zip(first, self.threads())), 20)
        box.until(lambda: all(b > a for a, b in zip(tasks, self.add())), 20)
        for _ in range(20):
            self.add()


def python_start():
    pid = box.spawn([box.PYTHON, os.path.join(HERE, 'chain.py'), str(PORT)])
    ask = Asker()

    def answers():
        """chain.py to answer"""
        check(box.state(pid) not in ('', 'Z'), 'chain.py does not start')
        try:
            return ask.threads()
        except ConnectionRefusedError:
            return None
    box.until(answers)
    ask()
    return pid, ask


@case('python3/ten cycles', limit=180)
def python_cycles():
    pid, ask = python_start()
    cycle.ten(pid, ask, '--tcp-close')


@case('python3/left running', limit=180)
def python_running():
    pid, ask = python_start()
    cycle.left_running(pid, ask, '--tcp-close')
    count, digest = ask.count, ask.digest
    box.dump(pid, 'images', '--leave-running', '--tcp-close')
    ask()
    box.kill_all()
    ask.count, ask.digest = count, digest
    box.restore('images', *box.FILL['parallel'], '--tcp-close')
    ask()


# --- bash -----------------------------------------------------------------------------------------------------------

PIPELINE = 'i=0; while sleep 0.02; do echo $((i += 1)); [ -e stop ] && break; done | cat | tee seen | sort -rn >sorted'


def pipeline_start():
    pid = box.spawn(['bash', '-c', PIPELINE])
    box.until(lambda: numbers('seen') > 3)
    return pid


def numbers(file):
    """How many numbers file holds; they must be 1, 2, 3 ... without a gap."""
    try:
        with open(file) as f:
            lines = f.read().split('\n')[:-1]
    except FileNotFoundError:
        return 0
    check(lines == [str(i + 1) for i in range(len(lines))], f'{file} has a gap or a double')
    return len(lines)


def pipeline_goes_on():
    n = numbers('seen')
    box.until(lambda: numbers('seen') > n + 2)


def pipeline_stop():
    with open('stop', 'w'):
        pass
    box.until(lambda: not box.pids(), 20)
    with open('sorted') as f:
        got = f.read().split()
    check(len(got) > 3 and got == [str(i) for i in range(len(got), 0, -1)], f'sort wrote {len(got)} lines, wrongly')
    check(numbers('seen') == len(got), 'sort and tee saw different numbers')


@case('bash pipeline/ten cycles', limit=120)
def pipeline_cycles():
    pid = pipeline_start()
    cycle.ten(pid, pipeline_goes_on)
    pipeline_stop()


@case('bash pipeline/left running', limit=120)
def pipeline_running():
    pid = pipeline_start()
    cycle.left_running(pid, pipeline_goes_on, times=20)
    pipeline_stop()


# --- sqlite3 --------------------------------------------------------------------------------------------------------

FEED = 'while sleep 0.01; do while IFS= read -r line; do echo "$line"; done; done <in | sqlite3 -batch db'


class Shell:
    """The sqlite3 program, fed by a shell with the lines of a file that grows: all of it is in the tree, no end of a
    pipe is outside."""

    def __init__(self):
        if not shutil.which('sqlite3'):
            raise Skipped('sqlite3 is not installed')
        with open('in', 'w'), open('out', 'a') as o, open('err', 'a') as e:
            self.pid = box.spawn(['bash', '-c', FEED], stdout=o, stderr=e)
        self.asked = 0

    def __call__(self, sql):
        """Runs sql and returns what it printed."""
        self.asked += 1
        mark = f'-- {self.asked}'
        with open('out') as f:
            start = len(f.read())
        with open('in', 'a') as f:
            f.write(f"{sql}\nSELECT '{mark}';\n")

        def answer():
            """sqlite3 to answer"""
            with open('out') as f:
                text = f.read()[start:]
            return text if text.endswith(mark + '\n') else None
        text = box.until(answer)
        with open('err') as f:
            err = f.read()
        check(not err, f'sqlite3 says: {err}')
        return text[:-len(mark) - 1].split()


def locked():
    """Another writer is kept out."""
    r = box.run(['sqlite3', 'db', 'BEGIN IMMEDIATE; ROLLBACK;'])
    return 'locked' in r.err


def sqlite_start():
    sql = Shell()
    sql('PRAGMA cache_size=20; CREATE TABLE t (n INTEGER PRIMARY KEY, text); INSERT INTO t VALUES (0, hex(randomblob(100)));')
    sql('BEGIN IMMEDIATE; INSERT INTO t VALUES (1, hex(randomblob(100)));')
    check(locked(), 'the transaction does not keep others out')
    rows = [1]

    def goes_on():
        check(locked(), 'the lock is gone')
        for _ in range(20):
            rows[0] += 1
            sql(f'INSERT INTO t VALUES ({rows[0]}, hex(randomblob(500)));')
        got = sql('SELECT count(*), max(n) FROM t;')
        check(got == [f'{rows[0] + 1}|{rows[0]}'], f'the table holds {got}, {rows[0]} rows were written')
    return sql, rows, goes_on


def sqlite_end(sql, rows):
    sql('COMMIT;')
    check(not locked(), 'the lock outlives the transaction')
    r = box.must(box.run(['sqlite3', 'db', 'PRAGMA integrity_check; SELECT count(*) FROM t;']))
    check(r.out.split() == ['ok', str(rows[0] + 1)], f'the database says {r.out.split()}, {rows[0]} rows were committed')


@case('sqlite3/ten cycles', limit=120)
def sqlite_cycles():
    sql, rows, goes_on = sqlite_start()
    cycle.ten(sql.pid, goes_on, '--file-locks')
    sqlite_end(sql, rows)


@case('sqlite3/left running', limit=120)
def sqlite_running():
    sql, rows, goes_on = sqlite_start()
    cycle.left_running(sql.pid, goes_on, '--file-locks')
    sqlite_end(sql, rows)
