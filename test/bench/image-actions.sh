#!/usr/bin/env bash
# image-actions.sh FIXTURES OUT.jsonl: requests and bytes of four actions in an image that the real tools published, from
# an empty cache, after the mount and one stat of the image's root. FIXTURES is the folder that holds images.golden.test.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
fixtures=${1:?usage: image-actions.sh FIXTURES OUT.jsonl}
out=${2:?usage: image-actions.sh FIXTURES OUT.jsonl}
cli="$top/bin/mesos-cvmfs"
fqrn=images.golden.test
work=$(mktemp -d /tmp/mesos-cvmfs-actions.XXXXXX)
run=$work/run; mnt=$work/mnt; log=$work/access.log
image=$mnt$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).flat' "$fixtures/$fqrn/image.json")
server_pid=
: > "$out"; : > "$log"; mkdir "$mnt" "$work/m" "$work/rw"

release() {
  set +e
  for target in "$work/m" "$work/rw"; do mountpoint -q "$target" && umount -l "$target"; done
  mountpoint -q "$mnt" && "$cli" umount --lazy "$mnt" --run-dir "$run"
  rm -rf "$work/cache"
  set -e
}
finish() { release; [ -z "$server_pid" ] || kill "$server_pid" 2> /dev/null; rm -rf "$work"; }
trap finish EXIT

"$cli" repo serve "$fqrn" --storage "$fixtures/$fqrn" --listen 127.0.0.1:0 --access-log "$log" --json > "$work/serve.json" & server_pid=$!
for _ in $(seq 100); do [ -s "$work/serve.json" ] && break; sleep 0.1; done
url=$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1], "utf8")).url' "$work/serve.json")

action() { # name command…
  local name=$1 from a b; shift
  "$cli" mount "$fqrn" "$mnt" --server "$url" --public-key "$fixtures/$fqrn/$fqrn.pub" --cache-dir "$work/cache" --run-dir "$run" > /dev/null 2>&1
  stat "$image/." > /dev/null
  mount -t tmpfs none "$work/rw"; mkdir "$work/rw/u" "$work/rw/w"
  mount -t overlay overlay -o "lowerdir=$image,upperdir=$work/rw/u,workdir=$work/rw/w" "$work/m"
  sleep 0.2; from=$(stat -c %s "$log"); a=$EPOCHREALTIME
  (cd "$work/m" && "$@" > /dev/null)
  b=$EPOCHREALTIME; sleep 0.2
  echo "{\"what\":\"$name\",\"seconds\":$(awk "BEGIN{printf \"%.6f\", $b-$a}"),$(tail -c +$((from + 1)) "$log" | awk '{n++; b+=$3} END {printf "\"requests\":%d,\"bytes\":%d", n, b}')}" | tee -a "$out"
  release
}

action true chroot "$work/m" /bin/true
action python chroot "$work/m" /usr/bin/python3 /app/main.py
action find_usr find usr -printf '%s\n'
action tar_usr sh -c 'tar -cf - usr | cat | wc -c'
