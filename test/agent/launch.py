"""
What the agent forks for a container: `launch.py LAUNCH_INFO STATUS`, in a session of its own, with a pipe as descriptor 3.

It waits for one byte on the pipe; the end of it means that the agent died before the container was known, and then it
ends too. It makes namespaces, mounts, enters the root file system, executes the program, and stays outside to write the
wait status of it to STATUS, which the next agent can read.
"""
import ctypes, ctypes.util, json, os, signal, sys

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19
CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MNT_DETACH, PR_SET_PDEATHSIG = 2, 1
DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty']

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    if getattr(libc, name)(*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, '%s%r: %s' % (name, args, os.strerror(error)))


def mount(source, target, kind, flags, data=None):
    call('mount', source and source.encode(), target.encode(), kind and kind.encode(), flags, data and data.encode())


def bind(source, target, read_only=False):
    """Makes the target as the source is, in the container's own tree, and binds; links in the image are not followed."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, 'w').close()
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def file_systems(root, info):
    mount(root, root, None, MS_BIND | MS_REC)
    for name in ('proc', 'sys', 'dev', 'tmp'):
        os.makedirs(root + '/' + name, exist_ok=True)
    mount('proc', root + '/proc', 'proc', MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount('sysfs', root + '/sys', 'sysfs', MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount('tmpfs', root + '/dev', 'tmpfs', MS_NOSUID, 'mode=755')
    for name in DEVICES:
        bind('/dev/' + name, root + '/dev/' + name)
    for name, to in (('fd', '/proc/self/fd'), ('stdin', '/proc/self/fd/0'), ('stdout', '/proc/self/fd/1'), ('stderr', '/proc/self/fd/2')):
        os.symlink(to, root + '/dev/' + name)
    for one in info['binds']:
        bind(one['source'], root + one['target'], one['readOnly'])


def enter(root):
    """The old root goes below a file system that goes away with it, so that nothing is left in the image."""
    mount('tmpfs', root + '/tmp', 'tmpfs', 0)
    os.mkdir(root + '/tmp/old')
    call('pivot_root', root.encode(), (root + '/tmp/old').encode())
    os.chdir('/')
    call('umount2', b'/tmp/old', MNT_DETACH)
    call('umount2', b'/tmp', MNT_DETACH)


def container(info):
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    root = info['rootfs']
    if os.path.realpath(root) != root or not os.path.isdir(root):
        raise OSError('%s is no directory, or not its own real path' % root)
    call('unshare', CLONE_NEWNS)
    mount(None, '/', None, MS_REC | MS_SLAVE)
    file_systems(root, info)
    enter(root)
    os.makedirs(info['workingDirectory'], exist_ok=True)
    os.chdir(info['workingDirectory'])
    os.execvpe(info['file'], info['argv'], info['environment'])


def main(launch_info, status_file):
    if os.read(3, 1) == b'':
        return 1
    os.close(3)
    info = json.load(open(launch_info))
    call('unshare', CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        try:
            container(info)
        except Exception as error:
            print('Failed to launch: %s' % error, file=sys.stderr, flush=True)
        os._exit(1)
    status = os.waitpid(pid, 0)[1]
    with open(status_file + '.new', 'w') as out:
        out.write(str(status))
    os.rename(status_file + '.new', status_file)
    return 0


sys.exit(main(*sys.argv[1:]))
