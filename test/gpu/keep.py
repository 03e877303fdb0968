# SPDX-License-Identifier: Apache-2.0
"""--gpu-keep: the agent keeps what it loaded; the same image again is copied on the GPU, anything else is not."""
import json
import os
import signal
import time

import box
import cuda
import dump
from box import check
from case import case

RUN = [box.THAW, 'run', '--']
MIB = 1 << 20


def log(name):
    with open(f'{name}.log') as f:
        return f.read()


def kept(**kw):
    """What the agent keeps."""
    return json.loads(box.must(cuda.thaw('gpu-agent', '--status', '--json', **kw)).out)['kept']


def dumped(images='img', name='subject', mib=64, **kw):
    """A program with its GPU memory in images of its own; its PID."""
    pid = cuda.start(name=name, mib=mib, pieces=3, under=RUN, **kw)
    box.must(dump.dump(pid, images=images))
    dump.logged('dump', 'were saved')
    box.wait_gone(pid)
    return pid


def restored(*more, keep='--gpu-keep', images='img', **kw):
    box.must(dump.restore(*([keep] if keep else []), *more, images=images, **kw))
    return log('restore')


def killed(pid):
    os.kill(pid, signal.SIGKILL)
    box.wait_gone(pid)


def payload(images='img'):
    return os.path.join(images, next(x for x in os.listdir(images) if x.startswith('gpu-pages-')))


def agent_text():
    return cuda.agent_log() if os.path.exists('/run/thaw/gpu.sock.log') else log('agent')


@case('keep/second')
def second():
    """The second restore does not read the file; what the first one runs on is not what is kept."""
    pid = dumped()
    text = restored()
    check('gpu: keeping 66.00 MiB of ' in text and ' on GPU 0 for 600 s' in text, text)
    check('were loaded' in text, text)
    os.kill(pid, signal.SIGTERM)  # it verifies, and ends
    box.wait_gone(pid)
    check(cuda.verdict('subject') == 'PASS', cuda.verdict('subject'))
    entry, = kept()
    check(entry['bytes'] == 66 * MIB and entry['hits'] == 0 and entry['image'].endswith(f'/img/gpu-pages-{pid}.img'), f'{entry}')
    if not cuda.REAL:
        before = len([c for c in cuda.calls() if c[1] == 'cuMemcpyHtoDAsync_v2'])
    for hits in 1, 2:
        text = restored()
        check('gpu: 66.00 MiB copied on the GPU from what was kept' in text and 'were copied' in text, text)
        check(kept()[0]['hits'] == hits, f'{kept()}')
        if hits == 1:
            killed(pid)
    if not cuda.REAL:
        check(len([c for c in cuda.calls() if c[1] == 'cuMemcpyHtoDAsync_v2']) == before, 'the file was read')
    box.must(dump.dump(pid, images='again'))
    box.wait_gone(pid)
    restored(keep=None, images='again')
    cuda.passes(pid)


@case('keep/changed')
def changed():
    """An image that was written, or replaced by another file, is read again, whatever was kept."""
    pid = dumped()
    restored()
    killed(pid)
    path = payload()
    with open(path, 'r+b') as f:  # the same byte again: nobody can tell from its length
        byte = f.read(1)
        f.seek(0)
        f.write(byte)
    text = restored()
    check('were loaded' in text and 'keeping' in text, text)
    check('the image was changed' in agent_text(), agent_text())
    check([e['hits'] for e in kept()] == [0], f'{kept()}')
    killed(pid)
    box.must(box.run(['cp', path, 'copy']))
    os.rename('copy', path)
    check('were loaded' in restored(), log('restore'))
    killed(pid)
    check('were copied' in restored(), log('restore'))
    cuda.passes(pid)


@case('keep/not asked for')
def not_asked():
    """Without the option nothing is kept, and nothing kept is used."""
    pid = dumped()
    restored(keep=None)
    killed(pid)
    check(not kept(), f'{kept()}')
    restored()
    killed(pid)
    check('were loaded' in restored(keep=None), log('restore'))
    check(kept()[0]['hits'] == 0, f'{kept()}')
    cuda.passes(pid)


@case('keep/refused')
def refused():
    pid = dumped()
    for bad in 'much', '1G,', '1G,0', '0', '1G,1h', '1T', ',':
        box.refused(dump.restore(f'--gpu-keep={bad}'), 'is not SIZE,SECONDS')
        check(not os.path.exists(f'/proc/{pid}'), f'{pid} is there')
    restored(keep='--gpu-keep=,60')
    check(50000 < kept()[0]['left_ms'] <= 60000, f'{kept()}')
    cuda.passes(pid)


@case('keep/size')
def size():
    """The limit: what is larger is not kept; a newer image takes the place of an older one."""
    one, two = dumped('one', 'first'), dumped('two', 'second')
    text = restored(keep='--gpu-keep=32M', images='one')
    check('gpu: nothing is kept: 66.00 MiB on GPU 0 are more than the 32.00 MiB that may be kept' in text, text)
    check(not kept(), f'{kept()}')
    killed(one)
    for images, pid in ('one', one), ('two', two):
        restored(keep='--gpu-keep=100M', images=images)
        check([e['image'].split('/')[-2] for e in kept()] == [images], f'{kept()}')
        killed(pid)
    check('it makes way for a newer image' in agent_text(), agent_text())
    restored(keep='--gpu-keep=1G', images='one')
    check(len(kept()) == 2, f'{kept()}')
    cuda.passes(one, 'first')


@case('keep/time')
def over():
    """It goes when its time is over, which begins anew with each use; an agent without clients stays as long."""
    pid = dumped()
    os.kill(cuda.agent_pid(), signal.SIGTERM)
    box.until(lambda: not cuda.agent_pid())
    agent = box.spawn([box.THAW, 'gpu-agent', '--gpu-idle-timeout', '1', '-v3', '-o', os.path.abspath('agent.log')], env=cuda.env())
    box.until(lambda: os.path.exists('/run/thaw/gpu.sock'))
    restored(keep='--gpu-keep=1G,4')
    killed(pid)
    time.sleep(2.5)
    check(kept()[0]['left_ms'] < 2000, f'{kept()}')
    restored(keep='--gpu-keep=1G,4')
    check(kept()[0]['left_ms'] > 3000, f'{kept()}')
    cuda.passes(pid)
    time.sleep(2.5)
    check(box.state(agent) not in ('', 'Z'), 'the agent has ended although it keeps something')
    status = box.wait_gone(agent, 10)
    check(os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, box.status_text(status))
    check('its time is over' in log('agent') and 'has ended' in log('agent'), log('agent'))


def held():
    """Descriptors of the physical memory that the agent has, by which its contents can be seen."""
    agent, fds = cuda.agent_pid(), []
    for fd in os.listdir(f'/proc/{agent}/fd'):
        if 'nvidia-piece' in os.readlink(f'/proc/{agent}/fd/{fd}'):
            fds.append(os.open(f'/proc/{agent}/fd/{fd}', os.O_RDONLY))
    return fds


def zero(fd):
    return not any(os.pread(fd, 1 << 20, at).strip(b'\0') for at in range(0, os.fstat(fd).st_size, 1 << 20))


@case('keep/scrubbed')
def scrubbed():
    """What is given up is overwritten: on demand, when the agent ends, and what was loaded for nobody."""
    dump.stub_only()
    pid = dumped()
    restored()
    killed(pid)
    fd, = held()
    check(os.fstat(fd).st_size == 66 * MIB and not zero(fd), 'nothing is kept')
    r = box.must(cuda.thaw('gpu-agent', '--drop'))
    check(r.out == 'gave up 66.00 MiB of GPU memory\n', r.out)
    check(zero(fd) and not kept() and not held(), 'it is still there')
    restored()
    killed(pid)
    fd, = held()
    agent = cuda.agent_pid()
    os.kill(agent, signal.SIGTERM)
    box.until(lambda: not cuda.agent_pid())
    check(zero(fd), 'it is still there')
    box.refused(cuda.thaw('gpu-agent', '--drop'), 'no GPU agent runs here')


@case('keep/room')
def room():
    """Whoever needs the room gets it: a load, a restore by the driver, a driver that says there is too little."""
    dump.stub_only()
    one, two, three = dumped('one', 'first', mib=64), dumped('two', 'second', mib=200), cuda.start('third', mib=256)
    box.must(dump.dump(three, images='three'))
    box.wait_gone(three)
    os.kill(cuda.agent_pid(), signal.SIGTERM)
    box.until(lambda: not cuda.agent_pid())
    for images, pid, rules in ('two', two, ''), ('three', three, ''), ('two', two, 'cuCheckpointProcessRestore 2 2'):
        restored(images='one', STUB_CUDA_MEM=300)
        check(len(kept()) == 1, f'{kept()}')
        killed(one)
        cuda.rules(rules)
        restored(keep=None, images=images)
        check(not kept(), f'{kept()}')
        check('a process needs the room' in agent_text() if not rules else 'all that is kept' in agent_text(), agent_text())
        cuda.rules()
        killed(pid)
        os.kill(cuda.agent_pid(), signal.SIGTERM)
        box.until(lambda: not cuda.agent_pid())
    restored(images='two', STUB_CUDA_MEM=300)
    check('nothing is kept: ' in log('restore'), log('restore'))
    cuda.passes(two, 'second')


@case('keep/troubles')
def troubles():
    """Whatever goes wrong with keeping: the restore itself is as good as ever."""
    dump.stub_only()
    pid = dumped()
    for call in 'cuMemcpyDtoDAsync_v2', 'cuMemGetInfo_v2':
        cuda.rules(f'{call} 0 999')
        check('nothing is kept: ' in restored(), log('restore'))
        cuda.rules()
        check(not kept(), f'{kept()}')
        killed(pid)
    restored()
    killed(pid)
    cuda.rules('cuMemcpyDtoDAsync_v2 0 999')
    check('were loaded' in restored(), log('restore'))
    check('could not be used' in agent_text(), agent_text())
    cuda.rules()
    killed(pid)
    restored()
    killed(pid)
    agent = cuda.agent_pid()
    os.kill(agent, signal.SIGKILL)
    box.until(lambda: not cuda.agent_pid())
    text = restored()
    check('were loaded' in text and 'keeping' in text, text)
    killed(pid)
    check('were copied' in restored(), log('restore'))
    cuda.passes(pid)


def pair():
    """Two programs on two GPUs, in one tree; (root, {name: pid})."""
    names = {'east': 0, 'west': 1}
    start = ''.join(f'{cuda.MEMORY} {os.path.abspath(x)} 64 3 {gpu} & ' for x, gpu in names.items())
    root = box.spawn([*RUN, '/bin/sh', '-c', f'{start} sleep 1000 & wait'], env=cuda.env(STUB_CUDA_GPUS='1,2'))
    box.until(lambda: all(cuda.verdict(x).startswith('ready') for x in names), 60)
    return root, {x: int(cuda.verdict(x).split()[1]) for x in names}


@case('keep/two GPUs')
def two_gpus():
    """Each process's memory is kept where it is; on other GPUs it is another thing."""
    dump.stub_only()
    root, kids = pair()
    box.must(dump.dump(root, STUB_CUDA_GPUS='1,2'))
    box.wait_gone(root)
    restored(STUB_CUDA_GPUS='1,2')
    uuids = {e['gpus'][0]['uuid'] for e in kept()}
    check(len(kept()) == 2 == len(uuids), f'{kept()}')
    dump.kill_all()
    text = restored(STUB_CUDA_GPUS='1,2')
    check(text.count('copied on the GPU from what was kept') == 2, text)
    dump.kill_all()
    east, west = sorted(uuids)
    text = restored('--gpu-map', f'{east}={west},{west}={east}', STUB_CUDA_GPUS='1,2')
    check(text.count('were loaded') == 2 and len(kept()) == 4, f'{text}{kept()}')
    dump.all_pass(kids)
