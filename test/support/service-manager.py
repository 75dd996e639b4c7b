"""A stand-in for systemd: one service with a notify socket and a descriptor store, as sd_notify(3) and sd_listen_fds(3) have it.

argv[1]: JSON {"socket", "store_max", "command", "environment"}; a socket that begins with @ is abstract.
stdin: one JSON command a line: {"do": "start", "listen_pid"?} | {"do": "store", "name", "path"} | {"do": "list"}. Its end ends this.
stdout: one JSON event a line: started {pid}, ended {status}, said {lines, descriptors}, dropped {name}, listed {names}.
Descriptors beyond store_max are dropped silently, as systemd does it.
"""
import json, os, select, signal, socket, sys

options = json.loads(sys.argv[1])
name = options['socket']
address = '\0' + name[1:] if name.startswith('@') else name
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(address)
store = []
child = 0
wake_read, wake_write = os.pipe()
os.set_blocking(wake_write, False)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.set_wakeup_fd(wake_write)

def tell(event, **fields):
    print(json.dumps({'event': event, **fields}), flush=True)

def start(listen_pid=None):
    global child
    child = os.fork()
    if child:
        return tell('started', pid=child)
    # Out of the way first: the numbers from 3 up may be in use.
    high = [os.dup2(fd, 1000 + i) for i, (_, fd) in enumerate(store)]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i, inheritable=True)
    os.closerange(3 + len(store), 4096)
    environment = {**options['environment'], 'NOTIFY_SOCKET': name}
    if store or listen_pid:
        environment.update(LISTEN_PID=str(listen_pid or os.getpid()), LISTEN_FDS=str(len(store)), LISTEN_FDNAMES=':'.join(n for n, _ in store))
    quiet = os.open('/dev/null', os.O_RDWR)
    for fd in (0, 1):
        os.dup2(quiet, fd)
    if quiet >= 3 + len(store):
        os.close(quiet)
    os.setsid()
    os.execve(options['command'][0], options['command'], environment)

def keep(names, fds):
    for fd in fds:
        if len(store) >= options['store_max']:
            os.close(fd)
            tell('dropped', name=names)
        elif any(n == names and same(fd, other) for n, other in store):
            os.close(fd)
        else:
            store.append((names, fd))

def same(one, other):
    """kcmp(2) KCMP_FILE: systemd does not keep one open file twice."""
    import ctypes
    return ctypes.CDLL(None, use_errno=True).syscall(312 if os.uname().machine == 'x86_64' else 272, os.getpid(), os.getpid(), 0, one, other) == 0

def heard():
    text, fds, _, _ = socket.recv_fds(notify, 65536, 253)
    lines = text.decode().splitlines()
    said = dict(line.split('=', 1) for line in lines)
    if 'FDSTORE' in said:
        keep(said.get('FDNAME', 'stored'), fds)
    else:
        for fd in fds:
            os.close(fd)
    if 'FDSTOREREMOVE' in said:
        for entry in [e for e in store if e[0] == said['FDNAME']]:
            store.remove(entry)
            os.close(entry[1])
    tell('said', lines=lines, descriptors=len(fds))

waiting = b''
while True:
    ready, _, _ = select.select([0, notify, wake_read], [], [])
    if wake_read in ready:
        os.read(wake_read, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                tell('ended', status=os.waitstatus_to_exitcode(status))
    if notify in ready:
        heard()
    if 0 in ready:
        piece = os.read(0, 65536)
        if not piece:
            break
        waiting += piece
        *lines, waiting = waiting.split(b'\n')
        for line in lines:
            order = json.loads(line)
            if order['do'] == 'start':
                start(order.get('listen_pid'))
            elif order['do'] == 'store':
                store.append((order['name'], os.open(order['path'], os.O_RDWR)))
            elif order['do'] == 'list':
                tell('listed', names=[n for n, _ in store])
if not name.startswith('@'):
    os.unlink(address)
