#!/usr/bin/env python3
"""summary.py FILE.jsonl: medians of a benchmark's raw results, and the ratio mount/ext4 of each run's pair (its median)."""
import collections
import json
import statistics
import sys

runs = collections.OrderedDict()
for line in open(sys.argv[1]):
    one = json.loads(line)
    runs.setdefault(one['what'], {}).setdefault(one['on'], {})[one['run']] = one
print('| what | mount, s | ext4, s | ratio (median of pairs, min to max) | requests | bytes |\n|---|---|---|---|---|---|')
for what, sides in runs.items():
    mount, ext4 = sides.get('mount', {}), sides.get('ext4', {})
    if not any('seconds' in r for r in mount.values()):
        continue
    median = lambda rows, key: statistics.median([r[key] for r in rows.values() if key in r]) if any(key in r for r in rows.values()) else None
    ratios = [mount[n]['seconds'] / ext4[n]['seconds'] for n in mount if n in ext4 and ext4[n]['seconds'] > 0]
    ratio = f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})' if ratios else ''
    ext = median(ext4, 'seconds')
    print(f"| {what} | {median(mount, 'seconds'):.3f} | {'' if ext is None else f'{ext:.3f}'} | {ratio} | {median(mount, 'requests') or ''} | {median(mount, 'bytes') or ''} |")
for one in runs.get('memory_after_everything', {}).get('mount', {}).values():
    print(f"\nmemory after reading everything, run {one['run']}: server RSS {one['server_rss_kb'] / 1024:.0f} MiB, PSS of keeper and server {one['pss_kb'] / 1024:.0f} MiB")
