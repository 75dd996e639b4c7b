#!/bin/sh
# Runs mesos-cvmfs with the Node.js that find-node.sh finds; there is one process, this one, which becomes Node.
. /usr/lib/mesos-cvmfs/find-node.sh
if [ -z "$node" ]; then
  echo "mesos-cvmfs: there is no Node.js at ${NODE:-/usr/bin/node or /usr/local/bin/node}; install version 20.18.1 or later of 20, and name it in /etc/default/mesos-cvmfs: NODE=/path/to/bin/node" >&2
  exit 3
fi
exec "$node" /usr/lib/mesos-cvmfs/bin/mesos-cvmfs "$@"
