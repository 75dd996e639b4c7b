'use strict';
/** report.js DIR: what the raw results in a folder say, as Markdown on standard output, with the plots, which it draws. */
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const dir = process.argv[2];
const rows = (file) => fs.readFileSync(path.join(dir, file), 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
const there = (file) => fs.existsSync(path.join(dir, file)) && fs.statSync(path.join(dir, file)).size > 0;

function table(all) {
  // What is an object of its own is in the raw results.
  const columns = [...new Set(all.flatMap(Object.keys))].filter((column) => !all.some((row) => typeof row[column] === 'object' && row[column] !== null));
  const cell = (value) => (value === undefined ? '' : typeof value === 'number' ? String(Number(value.toPrecision(4))) : String(value));
  return [`| ${columns.join(' | ')} |`, `|${columns.map(() => '---').join('|')}|`, ...all.map((row) => `| ${columns.map((column) => cell(row[column])).join(' | ')} |`)].join('\n');
}

const out = [
  `# Benchmarks, ${path.basename(path.resolve(dir))}`,
  '',
  `Kernel ${os.release()}, Node ${process.version}, ${os.cpus().length} cores, ${Math.round(os.totalmem() / 2 ** 30)} GiB; load when this was written: ${os.loadavg().map((load) => load.toFixed(2)).join(' ')}, that of each measurement is in the raw results beside this file. Made by \`make bench\`. Ratios are of pairs measured one after the other.`,
  '',
];
const add = (title, ...text) => out.push(`## ${title}`, '', ...text, '');
if (there('fs.jsonl')) add('A mounted image beside the same tree on ext4', execFileSync('python3', [path.join(__dirname, 'summary.py'), path.join(dir, 'fs.jsonl')], { encoding: 'utf8' }).trimEnd());
if (there('fs-fuse-native.jsonl')) add('The same through fuse-native', execFileSync('python3', [path.join(__dirname, 'summary.py'), path.join(dir, 'fs-fuse-native.jsonl')], { encoding: 'utf8' }).trimEnd());
if (there('start.jsonl')) add('Starts far from the server', table(rows('start.jsonl')));
if (there('whole-image.jsonl')) add('Reading a whole image', table(rows('whole-image.jsonl')));
if (there('takeover.json')) add('Takeover', '```json', fs.readFileSync(path.join(dir, 'takeover.json'), 'utf8').trimEnd(), '```');
if (there('data-path.jsonl')) {
  const all = rows('data-path.jsonl');
  add('Data paths', ...['speed', 'page_cache', 'updated_image'].map((kind) => `${table(all.filter(({ what }) => what === kind))}\n`));
}
if (there('provision.jsonl')) add('Provision', table(rows('provision.jsonl')));
if (there('facade.jsonl')) add('Facade', table(rows('facade.jsonl').filter(({ what }) => what !== 'crowd_launch')));
if (there('containers.jsonl')) {
  const all = rows('containers.jsonl');
  const memory = all.filter(({ what }) => what.startsWith('memory'));
  add('Containers', table(all.filter((row) => !memory.includes(row))), '', 'Memory, kilobytes:', '', table(memory));
}
if (there('flat-line.jsonl')) add('Cold starts', table(rows('flat-line.jsonl')));
if (there('scale.jsonl')) add('Large trees', table(rows('scale.jsonl')));
if (there('image-actions.jsonl')) add('Four actions in the image of the real tools', table(rows('image-actions.jsonl')));
const drawn = execFileSync(process.execPath, [path.join(__dirname, 'plots.js'), dir], { encoding: 'utf8' }).trimEnd();
if (drawn !== '') add('Plots', drawn);
console.log(out.join('\n').trimEnd());
