"""Lists a directory with getdents64(2) and a buffer of a given size, so that the reader, not libc, decides how a listing is
cut into calls.

    listing.py DIR BYTES            every name on a line
    listing.py DIR BYTES pause N    the same; after N names or more it says "paused" on standard error and waits for a line
    listing.py DIR BYTES seek       lists once, then begins again at the offset of every 97th entry: says "same" if each of
                                    these listings is the rest of the first one
"""
import ctypes
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)


def entries(fd, size):
    buffer = ctypes.create_string_buffer(size)
    while True:
        got = libc.getdents64(fd, buffer, size)
        if got < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if got == 0:
            return
        at = 0
        while at < got:
            ino, offset, length, _ = struct.unpack_from('<QqHB', buffer.raw[at:at + 19])
            yield buffer.raw[at + 19:at + length].split(b'\0', 1)[0], offset, ino
            at += length


def main():
    directory, size, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ''
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    names = []
    offsets = []
    for name, offset, _ in entries(fd, size):
        names.append(name)
        offsets.append(offset)
        if mode == 'pause' and len(names) == int(sys.argv[4]):
            print('paused', file=sys.stderr, flush=True)
            sys.stdin.readline()
    if mode == 'seek':
        for at in range(0, len(names), 97):
            os.lseek(fd, offsets[at], os.SEEK_SET)
            if [name for name, _, _ in entries(fd, size)] != names[at + 1:]:
                print('differs after', names[at])
                return
        print('same')
        return
    sys.stdout.buffer.write(b''.join(name + b'\n' for name in names if name not in (b'.', b'..')))


main()
