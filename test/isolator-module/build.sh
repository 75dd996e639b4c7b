#!/bin/sh
# Compiles the isolator module with its own CMake file against stub.hpp, and the program that loads it, with Debian's gRPC.
# Usage: build.sh <directory>. Does nothing when that has been done since the last change. Exits with 3 and the names of
# the packages when a tool is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)

missing=
for pair in cmake:cmake g++:g++ protoc:protobuf-compiler grpc_cpp_plugin:protobuf-compiler-grpc; do
  command -v "${pair%%:*}" > /dev/null || missing="$missing ${pair#*:}"
done
[ -e /usr/include/grpcpp/grpcpp.h ] || missing="$missing libgrpc++-dev"
[ -z "$missing" ] || { echo "missing Debian packages:$missing" >&2; exit 3; }

# What was compiled last is known by its contents: times say nothing after a checkout.
sum=$(find "$here" "$top/isolator/module" "$top/proto" -type f ! -name '*.js' | LC_ALL=C sort | xargs cat | sha256sum)
[ "$(cat "$out/sum" 2> /dev/null || :)" != "$sum" ] || exit 0

# A root that is laid out like an installed Mesos, every header of it the stub.
root=$out/mesos
rm -rf "$root"
mkdir -p "$root/include"
cp -r "$top/proto/mesos" "$root/include/"
rm -rf "$root/include/mesos/cvmfs"
for header in mesos/mesos mesos/type_utils mesos/version mesos/module/isolator mesos/slave/isolator process/defer process/delay \
  process/dispatch process/grpc process/id process/owned stout/foreach stout/hashmap stout/uuid; do
  mkdir -p "$(dirname "$root/include/$header")"
  printf '#include "%s"\n' "$here/stub.hpp" > "$root/include/$header.hpp"
done
cd "$root/include"
# shellcheck disable=SC2046
protoc -I . --cpp_out=. $(find mesos -name '*.proto')

# The messages of Mesos and of gRPC are the agent's: here the program's, which the module finds them in.
jobs=${JOBS:-1}
cmake -S "$top/isolator/module" -B "$out/module" -DMESOS_ROOT="$root" -DMESOS_CXX_STANDARD=14 -DCMAKE_BUILD_TYPE=Debug > "$out/cmake.log" 2>&1 || { cat "$out/cmake.log" >&2; exit 1; }
cmake --build "$out/module" -j "$jobs" >> "$out/cmake.log" 2>&1 || { cat "$out/cmake.log" >&2; exit 1; }
cd "$out"
# shellcheck disable=SC2046
g++ -std=c++14 -O0 -DSTUB -rdynamic -I "$root/include" -I "$out/module/generated" "$here/host.cpp" "$out/module/generated/mesos/cvmfs/v1/isolator.grpc.pb.cc" \
  "$out/module/generated/mesos/cvmfs/v1/isolator.pb.cc" $(find "$root/include/mesos" -name '*.pb.cc') -o "$out/host" -Wl,--copy-dt-needed-entries -lgrpc++ -lgpr -lprotobuf -ldl -lpthread
echo "$sum" > "$out/sum"
