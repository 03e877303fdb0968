# SPDX-License-Identifier: Apache-2.0
"""Servers under load: redis-server with a client that counts, nginx with four workers and a client that downloads."""
import hashlib
import os
import shutil
import socket
import threading

import box
import cycle
import redis
from box import Failed, Skipped, check
from case import case

KEYS = 30000


def program(name):
    path = shutil.which(name, path=os.environ['PATH'] + ':/usr/sbin:/sbin')
    if not path:
        raise Skipped(f'{name} is not installed')
    return path


# --- redis ----------------------------------------------------------------------------------------------------------

def redis_start():
    program('redis-server')
    pid = redis.server_start()
    with redis.Client() as c:
        c('DEBUG', 'POPULATE', KEYS, 'key', 1000)
        c('SET', 'lasting', 'kept', 'PX', 10 ** 8)
    counter = redis.Counter()
    counter.moved()
    with redis.Client() as c:
        return pid, counter, redis.digest(c, counter)


@case('redis/ten cycles', limit=180)
def redis_cycles():
    pid, counter, digest = redis_start()
    cycle.ten(pid, counter.moved, '--tcp-close')
    with redis.Client() as c:
        check(redis.digest(c, counter) == digest, 'the digest has changed')
        check(c('CONFIG', 'GET', 'port')[1] == str(redis.PORT), 'the configuration has changed')


@case('redis/left running', limit=180)
def redis_running():
    pid, counter, digest = redis_start()
    cycle.left_running(pid, counter.moved, '--tcp-close')
    check(counter.connections == 1, f'the dumps broke {counter.connections - 1} connections of a program left running')
    with redis.Client() as c:
        check(redis.digest(c, counter) == digest, 'the digest has changed')
    low = counter.value
    box.dump(pid, 'images', '--leave-running', '--tcp-close')
    with counter:
        high = counter.value
        counter.stop = True
    counter.join()
    box.kill_all()
    box.restore('images', '--tcp-close')
    with redis.Client() as c:
        v = int(c('GET', counter.key))
        check(low <= v <= high + 1, f'the restored counter is {v}, it was {low} before the dump and {high} after')


# --- nginx ----------------------------------------------------------------------------------------------------------

PORT, ROOT, LEN = 8099, '/var/tmp/nginx', 3_000_000
CONF = '''
daemon off;
master_process on;
worker_processes 4;
pid nginx.pid;
error_log error.log;
events { worker_connections 256; }
http {
	access_log %s;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	limit_req_zone $binary_remote_addr zone=all:1m rate=1000000r/s;
	server { listen 127.0.0.1:%d reuseport; listen unix:%s/sock; root %s/www; location / { limit_req zone=all burst=1000; } }
}
'''


def get(path, family=socket.AF_INET, addr=('127.0.0.1', PORT)):
    """The body of a download; OSError when the connection is refused or breaks."""
    with socket.socket(family) as s:
        s.settimeout(30)
        s.connect(addr)
        s.sendall(f'GET {path} HTTP/1.0\r\nHost: box\r\n\r\n'.encode())
        parts = []
        while True:
            b = s.recv(1 << 16)
            if not b:
                break
            parts.append(b)
    head, _, body = b''.join(parts).partition(b'\r\n\r\n')
    if not head:
        raise ConnectionResetError('nginx closed the connection without an answer')
    check(b' 200 ' in head.split(b'\r\n')[0], f'nginx answers {head[:60]!r}')
    return body


def nginx_start(log='access.log'):
    """nginx with four workers. (the master's PID, the digest of /blob)"""
    exe = program('nginx')
    os.makedirs(f'{ROOT}/www')
    blob = os.urandom(LEN)
    with open(f'{ROOT}/www/blob', 'wb') as f:
        f.write(blob)
    with open(f'{ROOT}/nginx.conf', 'w') as f:
        f.write(CONF % (log, PORT, ROOT, ROOT))
    os.chmod(ROOT, 0o755)
    pid = box.spawn([exe, '-p', ROOT, '-c', f'{ROOT}/nginx.conf', '-e', f'{ROOT}/error.log'], cwd=ROOT)
    want = hashlib.sha256(blob).digest()

    def serves():
        """nginx to serve"""
        try:
            return len(get('/blob')) == LEN
        except OSError:
            check(box.state(pid) not in ('', 'Z'), 'nginx does not start')
            return False
    box.until(serves)
    check(len(box.pids()) == 5, f'a master and four workers were expected: {box.pids()}')
    return pid, want


def asks(want, n=20):
    """Several requests at once and one after the other, by TCP and by unix socket; every body must be right."""
    wrong = []

    def one(i):
        try:
            body = get('/blob', *((socket.AF_UNIX, f'{ROOT}/sock') if i % 4 == 3 else ()))
            if hashlib.sha256(body).digest() != want:
                wrong.append(f'request {i}: {len(body)} wrong bytes')
        except (OSError, Failed) as e:
            wrong.append(f'request {i}: {e}')
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, wrong[0] if wrong else '')


@case('nginx/ten cycles', limit=180)
def nginx_cycles():
    pid, want = nginx_start()
    asks(want)
    cycle.ten(pid, lambda: asks(want), '--tcp-close')
    check(len(box.pids()) == 5, f'a master and four workers were expected: {box.pids()}')
    os.kill(pid, 3)  # SIGQUIT: the master still knows how to stop its workers
    box.wait_gone(pid)
    box.nothing_left('after nginx was told to stop')


class Downloads(threading.Thread):
    """Downloads all the time over connections that must not break."""

    def __init__(self, want):
        super().__init__(daemon=True)
        self.want, self.n, self.wrong, self.stop = want, 0, None, False
        self.start()

    def run(self):
        while not self.stop and not self.wrong:
            try:
                if hashlib.sha256(get('/blob')).digest() != self.want:
                    self.wrong = 'a download was wrong'
            except (OSError, Failed) as e:
                self.wrong = f'a download failed: {e}'
            self.n += 1

    def moved(self):
        goal = self.n + 5
        box.until(lambda: self.n > goal or self.wrong)
        check(not self.wrong, self.wrong)


@case('nginx/left running', limit=180)
def nginx_running():
    pid, want = nginx_start(log='off')  # one that grows after the dump would, rightly, not do for the restore
    loads = [Downloads(want) for _ in range(2)]
    cycle.left_running(pid, lambda: [x.moved() for x in loads], '--tcp-close')
    for x in loads:
        x.stop = True
        x.join()
    box.kill_all()
    box.restore('images-last', '--tcp-close')
    asks(want)
