#!/bin/sh
# Has protoc compile every contract, as a C++ agent would: proto-loader accepts things that protoc refuses (a proto2 enum in
# a proto3 message). Writes the descriptors to the file given, or nowhere.
set -eu
cd "$(dirname "$0")/../../proto"
find . -name '*.proto' | sed 's|^\./||' | LC_ALL=C sort | xargs protoc -I . --include_imports --descriptor_set_out="${1:-/dev/null}"
