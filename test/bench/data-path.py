#!/usr/bin/env python3
"""data-path.py DIR: how fast the files below DIR are read by one process; one JSON object. For data-path.js."""
import json
import mmap
import os
import random
import subprocess
import sys
import time

SMALL_MAX = 32 << 10
SMALL_FILES = 1500


def seconds(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def drop():
    os.sync()
    with open('/proc/sys/vm/drop_caches', 'w') as control:
        control.write('3')


def main(top):
    small, big, big_bytes = [], None, 0
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            file = os.path.join(folder, name)
            stat = os.lstat(file)
            if not os.path.isfile(file) or os.path.islink(file) or stat.st_size == 0:
                continue
            if stat.st_size <= SMALL_MAX:
                small.append(file)
            if stat.st_size > big_bytes:
                big, big_bytes = file, stat.st_size
    random.Random(1).shuffle(small)
    small = small[:SMALL_FILES]

    def read_small():
        for file in small:
            fd = os.open(file, os.O_RDONLY)
            os.read(fd, SMALL_MAX)
            os.close(fd)

    def sequential():
        with open(big, 'rb', buffering=0) as file:
            while file.read(1 << 20):
                pass

    def mapped():
        with open(big, 'rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            for at in range(0, big_bytes, 4096):
                memory[at]

    def walk():
        subprocess.run(['find', top, '-printf', '%p %s\n'], stdout=subprocess.DEVNULL, check=True)

    def pack():
        subprocess.run(f"tar -C '{top}' -cf - . | cat > /dev/null", shell=True, check=True)

    result = {'small_files': len(small), 'big_bytes': big_bytes}
    read_small()
    sequential()
    drop()
    os.lstat(top)
    result['small_first_us'] = 1e6 * seconds(read_small) / len(small)
    result['small_hot_us'] = 1e6 * min(seconds(read_small) for _ in range(3)) / len(small)
    drop()
    result['sequential_first_gb_s'] = big_bytes / seconds(sequential) / 1e9
    result['sequential_hot_gb_s'] = big_bytes / min(seconds(sequential) for _ in range(3)) / 1e9
    mapped()
    result['mmap_hot_gb_s'] = big_bytes / min(seconds(mapped) for _ in range(3)) / 1e9
    drop()
    result['find_warm_s'] = seconds(walk)
    result['tar_warm_s'] = seconds(pack)
    result['tar_hot_s'] = min(seconds(pack) for _ in range(2))
    print(json.dumps({key: round(value, 3) for key, value in result.items()}))


main(sys.argv[1])
