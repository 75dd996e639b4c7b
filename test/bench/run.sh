#!/usr/bin/env bash
# run.sh [DIR]: all benchmarks; raw results and their summary go to DIR (default docs/benchmarks/<date>).
# FIXTURES=DIR (the folder that holds images.golden.test) adds the four actions of the published image; RUNS as in fs.sh.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-$top/docs/benchmarks/$(date -u +%F)}
mkdir -p "$out"
{
  echo "# Benchmarks, $(date -u +%F)"
  echo
  echo "Kernel $(uname -r), Node $(node -v), $(nproc) cores, $(awk '/MemTotal/{printf "%.0f GiB", $2/1048576}' /proc/meminfo); load when begun: $(cut -d' ' -f1-3 /proc/loadavg). Made by \`make bench\`; raw results beside this file. Ratios are of pairs measured one after the other."
} > "$out/README.md"
"$top/test/bench/fs.sh" "$out/fs.jsonl"
{ echo; echo '## A mounted image beside the same tree on ext4'; echo; python3 "$top/test/bench/summary.py" "$out/fs.jsonl"; } >> "$out/README.md"
# what the image left to be written to the disk would be waited for by the service's database
sync; sleep 5
node "$top/test/bench/provision.js" "$out/provision.jsonl"
{ echo; echo '## Provision'; echo; cat "$out/provision.jsonl"; } >> "$out/README.md"
if [ -n "${FIXTURES:-}" ]; then
  "$top/test/bench/image-actions.sh" "$FIXTURES" "$out/image-actions.jsonl"
  { echo; echo '## Four actions in the image of the real tools'; echo; cat "$out/image-actions.jsonl"; } >> "$out/README.md"
fi
echo "results in $out"
