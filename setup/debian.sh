#!/bin/sh
# Installs Debian packages whose command, or library (a name with .so in it), is missing, and touches neither network nor
# package lists when none is.
# Usage: setup/debian.sh [--optional] <what they are for> <command>:<package>…
# Exits with 1 and the command to run when it may not install them; with --optional it says so and goes on.
set -eu
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

optional=
if [ "$1" = --optional ]; then
  optional=yes
  shift
fi
reason=$1
shift

missing=
for pair in "$@"; do
  case "${pair%%:*}" in
    *.so*) ldconfig -p | grep -qF "${pair%%:*} " || missing="$missing ${pair#*:}" ;;
    *) command -v "${pair%%:*}" > /dev/null || missing="$missing ${pair#*:}" ;;
  esac
done
[ -n "$missing" ] || exit 0

give_up() {
  echo "Missing Debian packages, needed to $reason:$missing. $1" >&2
  [ -n "$optional" ] || exit 1
  exit 0
}
command -v apt-get > /dev/null || give_up 'Install what your distribution calls them.'
[ "$(id -u)" = 0 ] || give_up "Run as root: apt-get install --no-install-recommends$missing"

echo "Installing Debian packages to $reason:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
{
  # Only what a package manager that is busy elsewhere makes us wait for is waited for, and not for ever.
  apt-get -o DPkg::Lock::Timeout=300 update -qq &&
    # shellcheck disable=SC2086
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing
} >&2 || give_up 'apt-get could not install them (see above).'
