#!/usr/bin/env bash
# fs.sh OUT.jsonl: a mounted image beside the same tree on ext4, in the same run, one after the other for each figure.
#
#   RUNS=5      repetitions of everything
#   IMAGE=FILE  tar of the image; without it one is made with mmdebstrap (about 460 MB)
#   WORK=DIR    folder for everything, removed at the end unless it was given
#   DRIVER=…    kernel (default) or fuse-native
#
# One JSON object per measurement: {"what": "find_cold", "on": "mount"|"ext4", "run": 1, "seconds": 0.12, …}.
# Timings say something only side by side: the ratios of one run, never two runs' seconds.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:?usage: fs.sh OUT.jsonl}
runs=${RUNS:-5}
cli="$top/bin/mesos-cvmfs"
fqrn=bench.example.org
given=${WORK:-}
work=${given:-$(mktemp -d /tmp/mesos-cvmfs-bench.XXXXXX)}
driver=${DRIVER:-kernel}
run=$work/run; mnt=$work/mnt; tree=$work/ext4/image; log=$work/access.log
pids=()
: > "$out"

finish() {
  set +e
  mountpoint -q "$mnt" && { "$cli" umount "$mnt" --run-dir "$run" || "$cli" umount --lazy "$mnt" --run-dir "$run"; }
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  mountpoint -q "$work/ext4" && umount "$work/ext4"
  [ -n "$given" ] || rm -rf "$work"
}
trap finish EXIT

drop() { sync; echo "${1:-3}" > /proc/sys/vm/drop_caches; }
now() { echo "$EPOCHREALTIME"; }
emit() { echo "{\"what\":\"$1\",\"on\":\"$2\",\"run\":$3,\"load1\":$(cut -d' ' -f1 /proc/loadavg),$4}" | tee -a "$out"; }
logged() { sleep 0.05; tail -c +$(($1 + 1)) "$log" | awk '{n++; b+=$3} END {printf "\"requests\":%d,\"bytes\":%d", n, b}'; }
up() { "$cli" mount "$fqrn" "$mnt" --config "$work/driver.toml" --server "$server" --public-key "$work/keys/$fqrn.pub" --cache-dir "$work/cache" --run-dir "$run" > /dev/null 2> "$work/mount.err" || { cat "$work/mount.err"; exit 1; }; }
# A spare that warms up beside a mount that was made this second has no part in what an image costs: it is waited for.
settled() {
  [ "$driver" = kernel ] || return 0
  for _ in $(seq 100); do
    [ "$("$cli" status --json --run-dir "$run" | node -p 'JSON.parse(require("fs").readFileSync(0)).mounts[0].spare_pid')" = null ] || return 0
    sleep 0.1
  done
  echo 'no spare becomes ready' >&2; exit 1
}
fresh() { down; rm -rf "$work/cache"; drop; up; settled; }
down() { "$cli" umount "$mnt" --run-dir "$run"; }
timed() { # what on run command…
  local what=$1 on=$2 n=$3; shift 3
  local from a b; from=$(stat -c %s "$log"); a=$(now); "$@" > /dev/null; b=$(now)
  emit "$what" "$on" "$n" "\"seconds\":$(awk "BEGIN{printf \"%.6f\", $b-$a}"),$(logged "$from")"
}
walk() { find "$1" -printf '%p %s\n' | wc; }
pack() { tar -C "$1" -cf - . | cat | wc -c; }
started() { # a container's start: overlay, /proc, chroot
  local o=$work/overlay; mkdir -p "$o/m" "$o/rw"; mount -t tmpfs none "$o/rw"; mkdir "$o/rw/u" "$o/rw/w"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$o/rw/u,workdir=$o/rw/w" "$o/m"; mount -t proc proc "$o/m/proc"; shift
  local code=0; chroot "$o/m" "$@" || code=$?
  umount "$o/m/proc" "$o/m" "$o/rw"; return $code
}
memory() { # RSS of the server, PSS of keeper and server, kB
  local server keeper; server=$("$cli" status --json --run-dir "$run" | node -p 'JSON.parse(require("fs").readFileSync(0)).mounts[0].server_pid'); keeper=$("$cli" status --json --run-dir "$run" | node -p 'JSON.parse(require("fs").readFileSync(0)).mounts[0].keeper_pid')
  echo "\"server_rss_kb\":$(awk '/VmRSS/{print $2}' "/proc/$server/status"),\"pss_kb\":$(cat "/proc/$server/smaps_rollup" "/proc/$keeper/smaps_rollup" | awk '/^Pss:/{s+=$2} END{print s}')"
}

mkdir -p "$work/ext4" "$mnt"; : > "$log"; printf '[fuse]\ndriver = "%s"\n' "$driver" > "$work/driver.toml"
image=${IMAGE:-$work/image.tar}
[ -s "$image" ] || mmdebstrap --quiet --variant=important --include=python3,perl,gcc bookworm "$image"
truncate -s 3G "$work/ext4.img"; mkfs.ext4 -q "$work/ext4.img"; mount -o loop "$work/ext4.img" "$work/ext4"
mkdir "$tree"; tar -C "$tree" -xpf "$image"
[ -d "$work/storage" ] || { "$cli" repo create "$fqrn" --storage "$work/storage" --keys "$work/keys" > /dev/null; "$cli" publish "tar:$image" "$fqrn" --storage "$work/storage" --keys "$work/keys" --to /image > /dev/null; }
"$cli" repo serve "$fqrn" --storage "$work/storage" --listen 127.0.0.1:0 --access-log "$log" --json > "$work/serve.json" & pids+=($!)
for _ in $(seq 100); do [ -s "$work/serve.json" ] && break; sleep 0.1; done
server=$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1], "utf8").split("\n")[0]).url' "$work/serve.json")
emit image tree 0 "\"bytes\":$(du -s --apparent-size -B1 "$tree" | cut -f1),\"entries\":$(find "$tree" | wc -l),\"files\":$(find "$tree" -type f | wc -l)"

for n in $(seq "$runs"); do
  rm -rf "$work/cache"; drop; a=$(now); up; b=$(now); emit mount_cold mount "$n" "\"seconds\":$(awk "BEGIN{printf \"%.6f\", $b-$a}")"
  stat "$mnt/image/." > /dev/null; drop
  timed find_cold ext4 "$n" walk "$tree";   fresh; timed find_cold mount "$n" walk "$mnt/image"
  # what came before dropped ext4's caches too: hot begins with one walk that is not counted
  walk "$tree" > /dev/null; timed find_hot ext4 "$n" walk "$tree"; walk "$mnt/image" > /dev/null; timed find_hot mount "$n" walk "$mnt/image"
  for what in true python; do
    if [ $what = true ]; then cmd=(/bin/true); else cmd=(/usr/bin/python3 -c 'import json, ssl'); fi
    drop; timed "start_${what}_cold" ext4 "$n" started "$tree" "${cmd[@]}"
    fresh; stat "$mnt/image/." > /dev/null; timed "start_${what}_cold" mount "$n" started "$mnt/image" "${cmd[@]}"
    started "$tree" "${cmd[@]}" > /dev/null; timed "start_${what}_hot" ext4 "$n" started "$tree" "${cmd[@]}"; timed "start_${what}_hot" mount "$n" started "$mnt/image" "${cmd[@]}"
  done
  drop; timed tar_cold ext4 "$n" pack "$tree"; fresh; timed tar_cold mount "$n" pack "$mnt/image"
  emit memory_after_everything mount "$n" "$(memory)"
  drop; timed tar_warm ext4 "$n" pack "$tree"; drop; timed tar_warm mount "$n" pack "$mnt/image"
  pack "$tree" > /dev/null; timed tar_hot ext4 "$n" pack "$tree"; pack "$mnt/image" > /dev/null; timed tar_hot mount "$n" pack "$mnt/image"
  down
done
