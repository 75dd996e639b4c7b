#!/usr/bin/env bash
# run.sh [DIR]: all benchmarks; raw results, plots and a summary go to DIR (default docs/benchmarks/<date>).
#
#   ONLY="flat-line scale"  these sections alone; results of others that are in DIR stay
#   RUNS=3                  pairs of fs.sh
#   IMAGE=FILE              tar of the image of start, fs, fuse-native and whole-image; without it a Debian is made with mmdebstrap
#   FIXTURES=DIR            the folder that holds images.golden.test, for the four actions of the published image
#
# A section that fails or takes longer than its time is told at the end; the others are made.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
bench=$top/test/bench
out=${1:-$top/docs/benchmarks/$(date -u +%F)}
sections=${ONLY:-start takeover whole-image facade provision containers flat-line fs data-path scale fuse-native image-actions}
mkdir -p "$out"
failed=
made=$(mktemp -d /tmp/mesos-cvmfs-bench-image.XXXXXX)
trap 'rm -rf "$made"' EXIT
image=${IMAGE:-$made/image.tar}
[ -s "$image" ] || mmdebstrap --quiet --variant=important --include=python3,perl,gcc bookworm "$image"
export IMAGE=$image

section() { # name, seconds at most, command…
  local name=$1 most=$2; shift 2
  case " $sections " in *" $name "*) ;; *) return 0 ;; esac
  echo "== $name"
  # what an earlier section left to be written to the disk would be waited for by the service's database
  sync
  timeout --kill-after=30 --signal=INT "$most" "$@" || failed="$failed $name"
}

section start 300 node "$bench/start.js" "$out/start.jsonl" "tar:$image"
section takeover 240 node "$bench/takeover.js" "$out/takeover.json" 60 300 paced
section whole-image 420 node "$bench/whole-image.js" "$out/whole-image.jsonl"
section facade 120 node "$bench/facade.js" "$out/facade.jsonl" 1000
section provision 90 node "$bench/provision.js" "$out/provision.jsonl" 200
section containers 180 node "$bench/containers.js" "$out/containers.jsonl"
section flat-line 180 node "$bench/flat-line.js" "$out/flat-line.jsonl"
section fs 540 env RUNS="${RUNS:-3}" "$bench/fs.sh" "$out/fs.jsonl"
section data-path 240 node "$bench/data-path.js" "$out/data-path.jsonl"
section scale 180 node "$bench/scale.js" "$out/scale.jsonl"
section fuse-native 300 env RUNS=1 DRIVER=fuse-native "$bench/fs.sh" "$out/fs-fuse-native.jsonl"
[ -z "${FIXTURES:-}" ] || section image-actions 60 "$bench/image-actions.sh" "$FIXTURES" "$out/image-actions.jsonl"
node "$bench/report.js" "$out" > "$out/README.md"
echo "results in $out"
[ -z "$failed" ] || { echo "failed or took too long:$failed" >&2; exit 1; }
