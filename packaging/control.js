'use strict';
/** The package's control file and its copyright file. */
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { nativeModules } = require('./modules');

const MAINTAINER = 'mesos-cvmfs maintainers <mesos-cvmfs@lists.example.org>';
/** The first GCC whose libstdc++ has a symbol version (GCC's manual, ABI policy). */
const GCC_OF_GLIBCXX = { 21: '5', 22: '6', 23: '7', 24: '7', 25: '8', 26: '9', 27: '9', 28: '9', 29: '11', 30: '12', 31: '13', 32: '13', 33: '14' };

/** The newest `<prefix><major>.<minor>` version that any of the files asks its libraries for; undefined when none does. */
function newestSymbol(files, prefix) {
  let newest;
  for (const file of files) {
    for (const [, version] of fs.readFileSync(file, 'latin1').matchAll(new RegExp(`${prefix}(\\d+\\.\\d+(?:\\.\\d+)?)\\0`, 'g'))) {
      if (newest === undefined || version.localeCompare(newest, 'en', { numeric: true }) > 0) newest = version;
    }
  }
  return newest;
}

function libraries(dir) {
  const root = path.join(dir, 'usr/lib/mesos-cvmfs');
  const node = path.join(root, 'node/bin/node');
  const files = [...nativeModules(path.join(root, 'node_modules')), ...(fs.existsSync(node) ? [node] : [])];
  const minor = newestSymbol(files, 'GLIBCXX_')?.split('.')[2];
  const gcc = GCC_OF_GLIBCXX[minor ?? 21];
  if (gcc === undefined) throw new Error(`GLIBCXX_3.4.${minor} is not in packaging/control.js: add the GCC that it came with`);
  return [`libc6 (>= ${newestSymbol(files, 'GLIBC_') ?? '2.28'})`, 'libgcc-s1', `libstdc++6 (>= ${gcc})`];
}

function controlOf(dir, { version, kilobytes, withNode }) {
  const [major] = process.versions.node.split('.').map(Number);
  // Not Depends: Node.js may well have come from an archive of nodejs.org, of which dpkg knows nothing, and no release of
  // Debian before 13 has one that is new enough. find-node.sh looks for it, and postinst says what is wrong.
  const recommends = withNode ? [] : [`nodejs (>= ${major === 20 ? '20.18.1' : major})`, `nodejs (<< ${major + 1}~)`];
  const fields = {
    Package: 'mesos-cvmfs',
    Version: version,
    Architecture: execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim(),
    Maintainer: MAINTAINER,
    'Installed-Size': kilobytes,
    Depends: [...libraries(dir), 'passwd', 'zlib1g'].join(', '),
    Recommends: [...recommends, 'ca-certificates'].join(', '),
    Section: 'admin',
    Priority: 'optional',
  };
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\n`);
  return `${head.join('')}${DESCRIPTION}`;
}

const DESCRIPTION = `Description: container images from CernVM-FS, mounted lazily, for Apache Mesos
 Starts containers from images of any size in the time that their used files
 take to arrive. A Mesos agent names an image; its directory is found in a
 CernVM-FS repository, which is mounted by a FUSE client of its own; files are
 fetched, verified and cached when they are first read.
 .
 The agent needs no patch: it asks a docker registry on loopback that this
 package serves. A keeper holds the mounts, so that neither an upgrade of this
 package nor the death of any of its processes is noticed by containers.
`;

/** Machine-readable (DEP-5): ours, and what the package carries of others. */
function copyrightOf(modules, { withNode }) {
  const ours = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: mesos-cvmfs
Comment:
 The npm packages below are carried as they were published, each with its own
 licence file beside it in /usr/lib/mesos-cvmfs/node_modules.

Files: *
Copyright: 2026 the authors of mesos-cvmfs
License: Apache-2.0
`;
  const byLicence = new Map();
  for (const { dir, license } of modules) byLicence.set(license, [...(byLicence.get(license) ?? []), `usr/lib/mesos-cvmfs/node_modules/${dir}/*`]);
  const theirs = [...byLicence].sort(([a], [b]) => (a < b ? -1 : 1)).map(([licence, files]) => `Files:\n ${files.join('\n ')}\nCopyright: their authors, named in each package\nLicense: ${short(licence)}\n`);
  const node = withNode ? ['Files: usr/lib/mesos-cvmfs/node/*\nCopyright: Node.js contributors\nLicense: Expat\nComment: The whole licence is in /usr/lib/mesos-cvmfs/node/LICENSE.\n'] : [];
  const names = new Set(['Apache-2.0', ...(withNode ? ['Expat'] : []), ...[...byLicence.keys()].map(short)]);
  const texts = [...names].flatMap((name) => name.split(/ or | and /)).filter((name, at, all) => all.indexOf(name) === at).sort();
  return [ours, ...theirs, ...node, ...texts.map((name) => `License: ${name}\n${licenceText(name)}`)].join('\n');
}

/** SPDX's names in those of DEP-5. */
function short(licence) {
  return licence.replace(/\bMIT\b/g, 'Expat').replace(/ OR /g, ' or ').replace(/ AND /g, ' and ');
}

function licenceText(name) {
  const common = { 'Apache-2.0': 'Apache-2.0', 'GPL-2.0': 'GPL-2' }[name];
  if (common !== undefined) return ` On Debian systems the text is in /usr/share/common-licenses/${common}.\n`;
  return ' The text is in the LICENSE file of each package that has this licence.\n';
}

module.exports = { controlOf, copyrightOf, newestSymbol };
