# Sets $node to the Node.js that mesos-cvmfs runs with, or to nothing. Sourced by /usr/bin/mesos-cvmfs and by the package's
# scripts, so that a command in a shell, a unit of systemd and an upgrade all run the same one, whatever PATH is.
NODE=
# shellcheck disable=SC1091
if [ -r /etc/default/mesos-cvmfs ]; then . /etc/default/mesos-cvmfs; fi
node=
for candidate in ${NODE:-/usr/lib/mesos-cvmfs/node/bin/node /usr/bin/node /usr/local/bin/node}; do
  if [ -x "$candidate" ]; then
    node=$candidate
    break
  fi
done
