'use strict';
/**
 * The rooms of the source tree, highest first (docs/architecture.md). A file may import from its own room and from
 * rooms that stand lower, never from one beside it or above it.
 */
const rooms = [
  ['src/cli'],
  ['isolator'],
  ['provisioner', 'src/marathon'],
  ['src/publish', 'src/image'],
  ['src/fuse'],
  ['src/repository'],
  ['src/cache', 'src/transfer'],
  ['src/cvmfs'],
  ['src/config', 'src/metrics', 'src/log'],
  ['src/native'],
];

/** dependency-cruiser rules that forbid each room everything above it and beside it; `root` prefixes every path. */
function rules(root = '') {
  const forbidden = [{ name: 'no-circular', severity: 'error', from: {}, to: { circular: true } }];
  rooms.forEach((level, depth) => {
    for (const room of level) {
      const outOfReach = [...rooms.slice(0, depth).flat(), ...level.filter((other) => other !== room)];
      if (outOfReach.length === 0) continue;
      forbidden.push({
        name: `${room} imports downward only`,
        severity: 'error',
        from: { path: `^${root}${room}/` },
        to: { path: outOfReach.map((other) => `^${root}${other}/`) },
      });
    }
  });
  forbidden.push({ name: 'what stands at the bottom imports no room', severity: 'error', from: { path: `^${root}src/[^/]+\\.ts$` }, to: { path: `^${root}(src/[^/]+/|provisioner/|isolator/)` } });
  return forbidden;
}

module.exports = { rooms, rules };
