#!/bin/sh
# Checks the one thing that has to be brought along: Node >= 20.18.1 with npm and with its headers beside it, which native
# modules are compiled against. Distributions often ship it older, or without its headers.
set -eu

fail() {
  echo "$1" >&2
  echo 'Node.js >= 20.18.1 with npm and its headers is needed: unpack an archive of https://nodejs.org/dist/ (it has them all)' >&2
  echo 'into a folder and put its bin/ first in PATH. See README.md, Building.' >&2
  exit 1
}

command -v node > /dev/null || fail 'node is not in PATH.'
node -e '
const [major, minor, patch] = process.versions.node.split(".").map(Number);
process.exit(major > 20 || (major === 20 && (minor > 18 || (minor === 18 && patch >= 1))) ? 0 : 1);
' || fail "$(command -v node) is Node.js $(node --version), which is too old."
prefix=$(node -p 'require("path").resolve(process.execPath, "../..")')
[ -f "$prefix/include/node/node.h" ] || fail "The headers of $(command -v node) are missing: there is no $prefix/include/node/node.h."
command -v npm > /dev/null || fail 'npm is not in PATH.'
