'use strict';
/**
 * plots.js DIR: draws what the raw results in a folder (`*.jsonl`) hold, as SVG files beside them; prints a line of
 * Markdown for each. What was not measured is not drawn.
 */
const fs = require('node:fs');
const path = require('node:path');
const { plot } = require('./plot');

function read(dir, file) {
  const at = path.join(dir, file);
  if (!fs.existsSync(at)) return [];
  return fs.readFileSync(at, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** Medians of `y` by `x`, with the slowest as a thin line. */
function line(name, rows, x, y) {
  const by = new Map();
  for (const row of rows) by.set(row[x], [...(by.get(row[x]) ?? []), row[y]]);
  const points = [...by].sort(([a], [b]) => a - b).map(([at, values]) => [at, median(values), Math.max(...values)]);
  return { name, points };
}

const of = (rows, what) => rows.filter((row) => row.what === what);

/** [file, kind of the rows, picture] */
function pictures(dir) {
  const flat = read(dir, 'flat-line.jsonl');
  const containers = read(dir, 'containers.jsonl');
  const scale = read(dir, 'scale.jsonl');
  const crowd = of(read(dir, 'facade.jsonl'), 'crowd_launch');
  const fs4 = read(dir, 'fs.jsonl');
  const [bytes, entries, trips] = ['start_over_bytes', 'start_over_entries', 'start_over_round_trip'].map((what) => of(flat, what));
  const starts = [...bytes, ...entries];
  const seconds = { label: 'seconds', zero: true };
  const parts = (rows, x) => [
    line('Provision and program', rows, x, 'seconds'),
    line('Provision alone', rows.map((row) => ({ ...row, provision: row.provision_ms / 1000 })), x, 'provision'),
  ];
  const over = (what, y) => of(containers, what).map((row) => [row.containers, row[y], row.p99_ms]);
  return [
    ['flat-line-bytes', bytes, { title: 'Cold start over the bytes of the image', x: { label: 'bytes of the image (1,000 entries)', log: true, unit: 'bytes' }, y: seconds, series: parts(bytes, 'image_bytes') }],
    ['flat-line-entries', entries, { title: 'Cold start over the entries of the image', x: { label: 'entries of the image', log: true, unit: 'count' }, y: seconds, series: parts(entries, 'entries') }],
    ['bytes-received', starts, {
      title: 'Bytes received at a cold start',
      x: { label: 'bytes of the image', log: true, unit: 'bytes' },
      y: { label: 'bytes', unit: 'bytes', zero: true },
      series: [line('received', starts, 'image_bytes', 'bytes'), { ...line('lower bound', starts, 'image_bytes', 'lower_bound_bytes'), dashed: true }, { ...line('1.05 × lower bound', starts.map((row) => ({ ...row, goal: row.lower_bound_bytes * 1.05 })), 'image_bytes', 'goal'), dashed: true }],
    }],
    ['round-trips', trips, { title: 'Cold start over the round trip to the server', x: { label: 'round trip, ms' }, y: seconds, series: parts(trips, 'rtt_ms') }],
    ['containers', of(containers, 'provision'), {
      title: 'Provision and Destroy over the containers that are there',
      x: { label: 'containers on the host' },
      y: { label: 'milliseconds, one after the other', zero: true },
      series: [{ name: 'Provision p50 (line: p99)', points: over('provision', 'p50_ms') }, { name: 'Destroy p50 (line: p99)', points: over('destroy', 'p50_ms') }],
    }],
    ['containers-memory', of(containers, 'memory'), {
      title: 'Memory of all our processes over the containers',
      x: { label: 'containers on the host' },
      y: { label: 'bytes (proportional set size)', unit: 'bytes', zero: true },
      series: ['total', 'serve', 'helper', 'keeper', 'server', 'spare'].map((kind) => ({ name: kind, points: of(containers, 'memory').map((row) => [row.containers, row[`${kind}_pss_kb`] * 1024]) })),
    }],
    ['recover', of(containers, 'recover'), { title: 'Recover over the containers that it verifies', x: { label: 'containers on the host' }, y: { label: 'milliseconds', zero: true }, series: [line('all known', of(containers, 'recover'), 'containers', 'whole_ms')] }],
    ['tree', of(scale, 'directory'), {
      title: 'A cold walk with one stat an entry, over the size of the tree',
      x: { label: 'entries (of catalogs: × 21)', log: true, unit: 'count' },
      y: { label: 'microseconds an entry', zero: true },
      series: [
        line('one directory', of(scale, 'directory'), 'count', 'microseconds_each'),
        line('catalogs of 10,000', of(scale, 'entries'), 'count', 'microseconds_each'),
        line('catalogs of 20', of(scale, 'catalogs'), 'count', 'microseconds_each'),
      ],
    }],
    ['readers', of(scale, 'readers'), { title: '400 files of 50 kB, cold, over readers at once', x: { label: 'readers', log: true }, y: seconds, series: [line('whole', of(scale, 'readers'), 'count', 'seconds')] }],
    ['facade', crowd, {
      title: 'A hundred first launches of twenty images at once, through the facade',
      x: { label: 'containers that run' },
      y: { label: 'milliseconds since all were asked for', zero: true },
      series: [line('launched', crowd, 'launched', 'ms')],
    }],
    ['find-tar', fs4, {
      title: 'A mounted image beside the same tree on ext4',
      x: { label: 'run' },
      y: { label: 'ratio of the seconds, mount to ext4', log: true },
      series: [...new Set(fs4.map(({ what }) => what))].map((what) => {
        const [mount, ext4] = ['mount', 'ext4'].map((on) => new Map(of(fs4, what).filter((row) => row.on === on && row.seconds > 0).map((row) => [row.run, row.seconds])));
        return { name: what, points: [...mount].filter(([run]) => ext4.has(run)).map(([run, value]) => [run, value / ext4.get(run)]) };
      }).filter(({ points }) => points.length > 0),
    }],
  ];
}

function main(dir) {
  for (const [name, rows, picture] of pictures(dir)) {
    if (rows.length === 0) continue;
    const loads = rows.map(({ load1 }) => load1).filter((load) => load !== undefined);
    fs.writeFileSync(path.join(dir, `${name}.svg`), plot({ note: loads.length === 0 ? '' : `load of the host while it was measured: ${Math.min(...loads)} to ${Math.max(...loads)}`, ...picture }));
    console.log(`![${picture.title}](${name}.svg)\n`);
  }
}

main(process.argv[2]);
