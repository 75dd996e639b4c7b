#!/usr/bin/env bash
# Proves that a bare Debian and Node.js are enough: makes a minimal Debian in a temporary folder, copies this host's Node
# (with its headers and npm) into it, clones the last commit of this checkout, and runs make's targets there as root.
#
#   PROVE_TARGETS   targets, in this order           default: build demo test
#   PROVE_SUITE     suite of Debian or Ubuntu        default: bookworm
#   PROVE_MIRROR    mirror, as mmdebstrap takes it   default: mmdebstrap's own
#   PROVE_FIXTURES  folder of fixture repositories that tests may use; without it these tests are skipped
#   PROVE_KEEP      if set, the folder stays
#
# The host's npm configuration, certificates and name resolution are lent to it, so that it reaches what the host reaches.
# Everything runs in mount and pid namespaces of its own: no mount and no process outlives this script.
set -euo pipefail

targets=${PROVE_TARGETS:-build demo test}
suite=${PROVE_SUITE:-bookworm}
checkout=$(cd "$(dirname "$0")/../.." && pwd)

if [ "${1:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || { echo 'prove.sh needs root' >&2; exit 1; }
  sh "$checkout/setup/node.sh"
  sh "$checkout/setup/debian.sh" 'make a bare machine' mmdebstrap:mmdebstrap unshare:util-linux git:git
  work=$(mktemp -d "${TMPDIR:-/tmp}/bare-XXXXXX")
  status=0
  unshare --mount --propagation private --pid --fork --kill-child "$BASH" "$0" inside "$work" || status=$?
  # The namespace is gone, and every mount with it: nothing foreign can be below any more.
  [ -n "${PROVE_KEEP:-}" ] && echo "kept: $work" || rm -rf --one-file-system "$work"
  exit "$status"
fi

work=$2
root=$work/root
said() { echo "prove: $*"; }

began=$SECONDS
mmdebstrap --quiet --variant=minbase --include=make,ca-certificates "$suite" "$root" ${PROVE_MIRROR:+"$PROVE_MIRROR"}
said "a minimal $suite of $(du -sm --one-file-system "$root" | cut -f 1) MB in $((SECONDS - began)) s"

prefix=$(node -p 'require("path").resolve(process.execPath, "../..")')
npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
mkdir -p "$root/usr/local/lib/node_modules" "$root/usr/local/include"
cp "$(node -p process.execPath)" "$root/usr/local/bin/node"
cp -r "$prefix/include/node" "$root/usr/local/include/"
cp -rL "$npm" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"

cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"; fi
if [ -f "${HOME:-/root}/.npmrc" ]; then cp "${HOME:-/root}/.npmrc" "$root/root/.npmrc"; fi
environment=(HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
environment+=("npm_config_registry=$(npm config get registry 2> /dev/null)")
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  if [ -n "${!name:-}" ]; then environment+=("$name=${!name}"); fi
done
if [ -f "$root/etc/ssl/certs/ca-certificates.crt" ]; then environment+=(NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt); fi

git clone --quiet --no-hardlinks "$checkout" "$root/mesos-cvmfs"
if [ -n "${PROVE_FIXTURES:-}" ]; then
  mkdir "$root/fixtures"
  mount --bind "$PROVE_FIXTURES" "$root/fixtures"
  environment+=(MESOS_CVMFS_FIXTURES=/fixtures)
fi

# A mount point of its own, since runc exchanges the root; shared, as the root of a host with systemd is.
mount --rbind "$root" "$root"
mount --make-rshared "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --make-rslave "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty fuse; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$root/run"

for target in $targets; do
  began=$SECONDS
  if chroot "$root" env -i "${environment[@]}" make -C /mesos-cvmfs "$target"; then
    said "make $target: passed in $((SECONDS - began)) s"
  else
    said "make $target: FAILED after $((SECONDS - began)) s"
    exit 1
  fi
done
