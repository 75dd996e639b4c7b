"""Reads the image that it runs from, in every way it can, and compares each byte and attribute with what is known.

    reader.py NAME SEED REVISION overlay|bind MIXERS PROBES

/known/manifest has a line for each entry of the image, /known/tree is the tree that was published. One process for each
reader; they end when standard input does. Lines on standard output, times in microseconds of the monotonic clock:

    L <reader> <kind> <start> <end>          an operation that took a millisecond or longer
    E <reader> <kind> <start> <end> <what>   one that failed, or gave something else than was published
    S <reader> <kind>=<count>… bytes=<n>     how many of each kind were done and found right, every two seconds and at the end
    END <reader>
"""
import errno, hashlib, mmap, os, random, select, signal, stat, subprocess, sys, time

LOGGED_NS = 1_000_000
FAILED_NS = 60_000_000_000
REPORT_NS = 2_000_000_000
HELD_MAX = 8
KNOWN = '/known/tree'
CHANGING = 20


class Wrong(Exception):
    pass


class Entry:
    def __init__(self, line):
        self.path, kind, mode, size, mtime, extra = line.rstrip('\n').split('\t')
        self.kind, self.mode, self.size, self.mtime, self.extra = kind, int(mode), int(size), int(mtime), extra
        self.ino = None


class Reader:
    def __init__(self, name, seed, revision, overlay, entries):
        self.name, self.revision, self.overlay = name, revision, overlay
        self.random = random.Random(seed)
        self.entries = entries
        self.files = [e for e in entries if e.kind == 'f']
        self.small = [e for e in self.files if 0 < e.size <= 200_000]
        self.nonempty = [e for e in self.files if e.size > 0]
        self.children = {}
        for e in entries:
            if e.path != '/':
                self.children.setdefault(os.path.dirname(e.path), set()).add(os.path.basename(e.path))
        self.dirs = [e.path for e in entries if e.kind == 'd' and e.path != '/' and e.path in self.children]
        self.counts, self.bytes, self.reported = {}, 0, 0
        self.held = []
        self.stop = False
        self.now = None

    def say(self, line):
        # One write: lines of many readers share a pipe, and short ones do not mix.
        os.write(1, (line[:2000] + '\n').encode('utf-8', 'backslashreplace'))

    def call(self, kind, function, *args):
        """One system call or touch of a mapping, timed."""
        began = time.monotonic_ns()
        self.now = (kind, began)
        try:
            return function(*args)
        finally:
            ended = time.monotonic_ns()
            if ended - began >= LOGGED_NS:
                self.say(f'L {self.name} {kind} {began // 1000} {ended // 1000}')
            if ended - began >= FAILED_NS:
                self.say(f'E {self.name} {kind} {began // 1000} {ended // 1000} took {(ended - began) / 1e9:.1f} s')

    def attempt(self, kind, function):
        try:
            function()
            self.counts[kind] = self.counts.get(kind, 0) + 1
        except (OSError, Wrong) as error:
            began = self.now[1] if self.now else time.monotonic_ns()
            name = errno.errorcode.get(error.errno, '?') if isinstance(error, OSError) else 'wrong'
            self.say(f'E {self.name} {kind} {began // 1000} {time.monotonic_ns() // 1000} {name} {error}')
        if time.monotonic_ns() - self.reported > REPORT_NS:
            self.report()

    def report(self):
        self.reported = time.monotonic_ns()
        self.say(f'S {self.name} ' + ' '.join(f'{k}={v}' for k, v in sorted(self.counts.items())) + f' bytes={self.bytes}')

    def opened(self, kind, entry):
        fd = self.call(kind, os.open, entry.path, os.O_RDONLY)
        # Past the page cache, else most reads would never reach a server.
        if self.random.random() < 0.7:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return fd

    def known(self, entry, offset, length):
        fd = os.open(KNOWN + entry.path, os.O_RDONLY)
        try:
            return os.pread(fd, length, offset)
        finally:
            os.close(fd)

    def compare(self, what, entry, offset, seen, length):
        wanted = self.known(entry, offset, length)
        self.bytes += len(seen)
        if seen != wanted:
            at = next((i for i, (a, b) in enumerate(zip(seen, wanted)) if a != b), min(len(seen), len(wanted)))
            raise Wrong(f'{what} of {entry.path} at {offset}: {len(seen)} bytes for {len(wanted)}, the first difference at {at}')

    def whole(self):
        entry = self.random.choice(self.files if self.random.random() < 0.1 else self.small)
        fd = self.opened('whole', entry)
        digest, size = hashlib.sha256(), 0
        try:
            while True:
                part = self.call('whole', os.read, fd, self.random.choice((4096, 65536, 1 << 20)))
                if not part:
                    break
                digest.update(part)
                size += len(part)
        finally:
            os.close(fd)
        self.bytes += size
        if digest.hexdigest() != entry.extra:
            raise Wrong(f'{entry.path} has another content: {size} bytes for {entry.size}')

    def somewhere(self):
        entry = self.random.choice(self.nonempty)
        fd = self.opened('pread', entry)
        try:
            for _ in range(self.random.randint(1, 6)):
                offset, length = self.random.randrange(entry.size), self.random.choice((1, 512, 4096, 100_000))
                self.compare('a read', entry, offset, self.call('pread', os.pread, fd, length, offset), length)
        finally:
            os.close(fd)

    def mapped(self):
        entry = self.random.choice(self.nonempty)
        fd = self.opened('mmap', entry)
        try:
            area = self.call('mmap', lambda: mmap.mmap(fd, 0, prot=mmap.PROT_READ))
        finally:
            os.close(fd)
        if len(self.held) < HELD_MAX and self.random.random() < 0.3:
            self.held.append(('map', entry, area))
        self.touch(entry, area)

    def touch(self, entry, area):
        for _ in range(self.random.randint(1, 6)):
            offset, length = self.random.randrange(entry.size), self.random.choice((1, 4096, 20_000))
            self.compare('a mapping', entry, offset, self.call('mmap', lambda: area[offset:offset + length]), length)

    def listed(self):
        path = self.random.choice(self.dirs)
        found = set(self.call('list', os.listdir, path))
        if found != self.children[path]:
            raise Wrong(f'{path} lists {sorted(found ^ self.children[path])[:5]} differently')

    def walked(self):
        top = self.random.choice(self.dirs)
        waiting = [top]
        for _ in range(30):
            if not waiting:
                break
            path = waiting.pop(self.random.randrange(len(waiting)))
            found = self.call('walk', lambda: [(e.name, e.is_dir(follow_symlinks=False)) for e in os.scandir(path)])
            if {name for name, _ in found} != self.children.get(path, set()):
                raise Wrong(f'the walk found something else in {path}')
            waiting += [path + '/' + name for name, is_dir in found if is_dir and path + '/' + name in self.children]

    def stated(self):
        for entry in self.random.sample(self.entries, min(len(self.entries), 60)):
            seen = self.call('lstat', os.lstat, entry.path)
            if entry.path == '/':
                continue
            mode = {'f': stat.S_IFREG, 'd': stat.S_IFDIR, 'l': stat.S_IFLNK}[entry.kind] | entry.mode
            if seen.st_mode != mode or (entry.kind != 'd' and seen.st_size != entry.size) or (int(seen.st_mtime) != entry.mtime and not (self.overlay and entry.kind == 'd')):
                raise Wrong(f'{entry.path} has mode {seen.st_mode:o}, size {seen.st_size}, mtime {int(seen.st_mtime)} for {mode:o}, {entry.size}, {entry.mtime}')
            if entry.kind == 'l' and self.call('readlink', os.readlink, entry.path) != entry.extra:
                raise Wrong(f'{entry.path} leads elsewhere')
            # A file is the same node for ever, whoever serves it. Directories of an overlay have the overlay's own numbers.
            if entry.kind != 'd' and '/writable/' not in entry.path:
                if entry.ino not in (None, seen.st_ino):
                    raise Wrong(f'{entry.path} was inode {entry.ino} and is {seen.st_ino}')
                entry.ino = seen.st_ino

    def executed(self):
        entry = self.random.choice(self.small)
        known = self.known(entry, 0, entry.size)
        how = self.random.randrange(6)
        if how == 0:
            args, wanted = ['/bin/cat', entry.path], known
        elif how == 1:
            args, wanted = ['/usr/bin/sha256sum', entry.path], f'{entry.extra}  {entry.path}\n'.encode()
        elif how == 2:
            args, wanted = ['/bin/sh', '-c', 'cd "$1" && wc -c < "$2"', 'sh', os.path.dirname(entry.path), entry.path], f'{entry.size}\n'.encode()
        # The runtime makes mount points in the root, which the image has not.
        elif how == 3 and os.path.dirname(entry.path) in self.dirs:
            args, wanted = ['/bin/ls', '-1A', os.path.dirname(entry.path)], None
        elif how == 4:
            modules = self.random.sample(('json', 'email.message', 'http.client', 'xml.dom.minidom', 'argparse', 'logging', 'tarfile', 'unittest', 'decimal', 'configparser'), 3)
            args, wanted = [sys.executable, '-S', '-c', f'import {", ".join(modules)}; print(sum(range(1000)))'], b'499500\n'
        elif os.path.exists('/usr/bin/node') and self.random.random() < 0.3:
            args, wanted = ['/usr/bin/node', '-p', '[1,2,3].map((n) => n * 2).join()'], b'2,4,6\n'
        else:
            args, wanted = ['/bin/true'], b''
        for program in (args[0], entry.path):
            fd = os.open(program, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
        ran = self.call('exec', lambda: subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True))
        if wanted is None:
            found, wanted = set(ran.stdout.decode().split('\n')) - {''}, self.children[os.path.dirname(entry.path)]
            ran.stdout = wanted if found == wanted else found
        if ran.returncode != 0 or ran.stdout != wanted:
            raise Wrong(f'{args} ended with {ran.returncode}, {len(ran.stdout)} bytes for {len(wanted)}, {ran.stderr[-300:]}')

    def holding(self):
        """Files, listings and mappings that stay open while servers come and go."""
        if len(self.held) < HELD_MAX:
            if self.random.random() < 0.5:
                entry = self.random.choice(self.nonempty)
                self.held.append(('file', entry, [self.opened('held', entry), 0]))
            else:
                path = max(self.random.sample(self.dirs, 5), key=lambda one: len(self.children[one]))
                self.held.append(('dir', path, (self.call('held', os.scandir, path), set())))
            return
        at = self.random.randrange(len(self.held))
        kind, what, how = self.held[at]
        over = False
        if kind == 'file':
            length = self.random.choice((4096, 65536, 1 << 20))
            seen = self.call('held', os.pread, how[0], length, how[1])
            over = not seen
            if not over:
                self.compare('a held file', what, how[1], seen, length)
                how[1] += len(seen)
            elif how[1] != what.size:
                raise Wrong(f'held {what.path} ends at {how[1]}, not at {what.size}')
            if over:
                os.close(how[0])
        elif kind == 'dir':
            listing, seen = how
            def some():
                return [e.name for _, e in zip(range(200), listing)]
            found = self.call('held', some)
            seen.update(found)
            over = len(found) < 200
            if over and seen != self.children[what]:
                raise Wrong(f'the held listing of {what} differs by {sorted(seen ^ self.children[what])[:5]}')
        else:
            over = self.random.random() < 0.1
            self.touch(what, how)
            if over:
                how.close()
        if over:
            self.held.pop(at)

    def changing(self):
        """What each publish changes: in here it is what it was when this container was made."""
        n = self.revision
        wanted = {f'f{i}' for i in range(CHANGING) if (n + i) % 3 != 0} | {'rev', '.cvmfscatalog'}
        found = set(self.call('view', os.listdir, '/changing'))
        if found != wanted:
            raise Wrong(f'/changing of revision {n} lists {sorted(found)}')
        name = self.random.choice(sorted(wanted - {'.cvmfscatalog'}))
        fd = self.call('view', os.open, f'/changing/{name}', os.O_RDONLY)
        try:
            seen = self.call('view', os.read, fd, 1 << 20)
        finally:
            os.close(fd)
        content = f'{n}\n'.encode() if name == 'rev' else f'file {name[1:]} of revision {n}\n'.encode() * 50
        if seen != content:
            raise Wrong(f'/changing/{name} of revision {n} has another content: {seen[:60]}')

    def inside(self):
        """Mounts in the container would be detached for good if its tree were ever invalidated."""
        with open('/proc/self/status', 'rb') as status:
            if not status.readline().startswith(b'Name:'):
                raise Wrong('/proc is not there any more')

    def copied_up(self):
        if not self.overlay:
            try:
                self.call('copy-up', os.open, '/changing/rev', os.O_RDWR)
            except OSError as error:
                if error.errno == errno.EROFS:
                    return
                raise
            raise Wrong('a bind root file system can be written')
        entry = self.random.choice([e for e in self.small if '/writable/' in e.path])
        fd = self.call('copy-up', os.open, entry.path, os.O_RDWR)
        try:
            self.compare('a copied file', entry, 0, os.pread(fd, entry.size + 1, 0), entry.size + 1)
        finally:
            os.close(fd)

    def mix(self):
        kinds = (('whole', 6, self.whole), ('pread', 8, self.somewhere), ('mmap', 6, self.mapped), ('list', 3, self.listed), ('walk', 2, self.walked), ('lstat', 4, self.stated),
                 ('exec', 2, self.executed), ('held', 8, self.holding), ('view', 3, self.changing), ('proc', 1, self.inside), ('copy-up', 1, self.copied_up))
        names, weights, functions = zip(*kinds)
        while not self.stop:
            at = self.random.choices(range(len(names)), weights)[0]
            self.attempt(names[at], functions[at])
            time.sleep(self.random.random() * 0.004)

    def probe(self):
        """Asks what no cache of the kernel answers, so that each question needs a server."""
        def ask():
            entry = self.random.choice(self.small)
            try:
                if self.random.random() < 0.05:
                    self.call('probe', os.lstat, f'{entry.path}-{self.random.getrandbits(64):x}')
                else:
                    self.call('probe', os.getxattr, entry.path, 'user.nothing')
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODATA):
                    raise
                return
            raise Wrong(f'{entry.path} has something that was never published')
        while not self.stop:
            self.attempt('probe', ask)
            time.sleep(0.001)

    def run(self, work):
        def ask_to_stop(*_):
            self.stop = True
        signal.signal(signal.SIGTERM, ask_to_stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        work()
        self.report()
        self.say(f'END {self.name}')


def main():
    name, seed, revision, kind, mixers, probes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
    with open('/known/manifest') as manifest:
        entries = [Entry(line) for line in manifest]
    pids = {}
    # One that is asked to end before it knows how is asked when it does.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for i in range(mixers + probes):
        own = f'{name}.{"m" if i < mixers else "p"}{i}'
        pid = os.fork()
        if pid == 0:
            reader = Reader(own, seed * 100 + i, revision, kind == 'overlay', entries)
            try:
                reader.run(reader.mix if i < mixers else reader.probe)
                os._exit(0)
            except BaseException as error:
                reader.say(f'E {own} reader 0 0 {error!r} at line {sys.exc_info()[2].tb_lineno}')
                os._exit(1)
        pids[pid] = own
    open_input = True
    while pids:
        if open_input and select.select([0], [], [], 0.2)[0] and not os.read(0, 1024):
            open_input = False
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
        if not open_input:
            time.sleep(0.02)
        for pid in list(pids):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended == 0:
                continue
            own = pids.pop(pid)
            if status != 0 or open_input:
                os.write(1, f'E {own} reader 0 0 died with status {status}\n'.encode())
    os.write(1, f'END {name}\n'.encode())


main()
