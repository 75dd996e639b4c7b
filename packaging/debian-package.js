'use strict';
/**
 * Makes the Debian package from a built checkout: `node packaging/debian-package.js [--tree DIR] [--out DIR] [--with-node] [--fast]`,
 * and prints its path.
 *
 *   --tree       built checkout to package            default: this one
 *   --out        where the package is written         default: <tree>/dist/debian
 *   --with-node  put the Node.js that runs this into the package, so that the host's own is never asked
 *   --fast       compress little, for tests
 *
 * The same tree gives the same bytes: every time stamp is SOURCE_DATE_EPOCH, by default that of the changelog's first entry;
 * owners are root, modes 0755 or 0644 whatever the checkout's are; dpkg-deb sorts.
 */
const { execFileSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { bashCompletion, zshCompletion } = require('./completion');
const { controlOf, copyrightOf } = require('./control');
const { manPage } = require('./man');
const { copyModules } = require('./modules');
const { newestEntry } = require('./newest-entry');

const DEBIAN = path.join(__dirname, 'debian');
const LIB = 'usr/lib/mesos-cvmfs';
const SHARE = 'usr/share/mesos-cvmfs';
const DOC = 'usr/share/doc/mesos-cvmfs';
const CONFFILES = ['/etc/default/mesos-cvmfs', '/etc/mesos-cvmfs/config.toml'];
const EXECUTABLES = /^(usr\/bin\/|usr\/lib\/mesos-cvmfs\/(bin|node\/bin)\/|DEBIAN\/(preinst|postinst|prerm|postrm)$)/;

function parseArguments(argv) {
  const options = { tree: path.resolve(__dirname, '..'), out: undefined, withNode: false, fast: false };
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--tree' && argv[i + 1]) options.tree = path.resolve(argv[++i]);
    else if (argv[i] === '--out' && argv[i + 1]) options.out = path.resolve(argv[++i]);
    else if (argv[i] === '--with-node') options.withNode = true;
    else if (argv[i] === '--fast') options.fast = true;
    else throw new Error(`${argv[i]}: give --tree DIR, --out DIR, --with-node or --fast`);
  }
  options.out ??= path.join(options.tree, 'dist/debian');
  return options;
}

/** Every file and folder below `dir`, relative, sorted by bytes. */
function walk(dir, below = '') {
  return fs
    .readdirSync(path.join(dir, below), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => [path.join(below, entry.name), ...(entry.isDirectory() ? walk(dir, path.join(below, entry.name)) : [])]);
}

class Stage {
  constructor(dir) {
    this.dir = dir;
  }

  write(name, content) {
    const file = path.join(this.dir, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
  }

  copy(from, name, options = {}) {
    const to = path.join(this.dir, name);
    fs.mkdirSync(path.dirname(to), { recursive: true });
    fs.cpSync(fs.realpathSync(from), to, { recursive: true, ...options });
  }

  /** Without a name and a time in its header, so that the same text gives the same bytes. */
  gzip(name, content) {
    this.write(name, execFileSync('gzip', ['-9n'], { input: content }));
  }

  /** Modes and times that do not depend on who checked out and built, and when. */
  finish(seconds) {
    for (const name of [...walk(this.dir).reverse(), '.']) {
      const file = path.join(this.dir, name);
      const stat = fs.lstatSync(file);
      if (!stat.isSymbolicLink()) fs.chmodSync(file, stat.isDirectory() || EXECUTABLES.test(name) ? 0o755 : 0o644);
      fs.lutimesSync(file, seconds, seconds);
    }
  }
}

function stageProgram(stage, tree, withNode) {
  for (const name of ['bin', 'proto', 'package.json']) stage.copy(path.join(tree, name), path.join(LIB, name));
  // Sources that the maps point to are not in the package.
  for (const room of ['src', 'provisioner', 'isolator'].filter((name) => fs.existsSync(path.join(tree, 'dist', name)))) {
    stage.copy(path.join(tree, 'dist', room), path.join(LIB, 'dist', room), { filter: (from) => !/\.(map|d\.ts)$/.test(from) });
  }
  const modules = copyModules(tree, path.join(stage.dir, LIB, 'node_modules'));
  stage.write(path.join(LIB, 'node-abi'), `${process.versions.modules}\n`);
  stage.copy(path.join(DEBIAN, 'find-node.sh'), path.join(LIB, 'find-node.sh'));
  stage.copy(path.join(DEBIAN, 'mesos-cvmfs.sh'), 'usr/bin/mesos-cvmfs');
  if (withNode) stageNode(stage);
  return modules;
}

/** A Node.js that needs no library of its own can be carried along; Debian's own is a small program and a large library. */
function stageNode(stage) {
  const node = fs.realpathSync(process.execPath);
  const libraries = execFileSync('ldd', [node], { encoding: 'utf8' });
  if (/libnode/.test(libraries)) throw new Error(`${node} is of no use elsewhere, since it is linked with libnode: build with a Node.js of https://nodejs.org/dist/`);
  const licence = [path.resolve(node, '../../LICENSE'), '/usr/share/doc/nodejs/LICENSE', '/usr/share/doc/nodejs/copyright'].find((file) => fs.existsSync(file));
  if (licence === undefined) throw new Error(`the licence of ${node} is not beside it: build with an unpacked archive of https://nodejs.org/dist/`);
  stage.copy(node, path.join(LIB, 'node/bin/node'));
  stage.copy(licence, path.join(LIB, 'node/LICENSE'));
}

/** The files of examples/systemd are the units: there is no other copy of them. */
function stageSystem(stage, tree) {
  const systemd = path.join(tree, 'examples/systemd');
  for (const name of fs.readdirSync(systemd)) {
    if (/\.service(\.d)?$/.test(name)) stage.copy(path.join(systemd, name), path.join('usr/lib/systemd/system', name));
  }
  stage.copy(path.join(systemd, 'since-254'), 'usr/lib/systemd/system');
  for (const kind of ['sysusers.d', 'tmpfiles.d']) stage.copy(path.join(systemd, kind), path.join('usr/lib', kind));
  stage.copy(path.join(DEBIAN, 'default'), 'etc/default/mesos-cvmfs');
  stage.copy(path.join(DEBIAN, 'config.toml'), 'etc/mesos-cvmfs/config.toml');
}

/** What is not run here: schemas, which editors are pointed at by a path that stays (docs/marathon.md), and the module's sources, which are compiled against the operator's Mesos. */
function stageShared(stage, tree) {
  stage.copy(path.join(tree, 'schemas'), path.join(SHARE, 'schemas'));
  for (const name of ['module', 'agent']) {
    const from = path.join(tree, 'isolator', name);
    if (fs.existsSync(from)) stage.copy(from, path.join(SHARE, 'isolator', name), { filter: (file) => !/\.ts$/.test(file) });
  }
  // The sources look for the contracts beside them.
  fs.symlinkSync('../../lib/mesos-cvmfs/proto', path.join(stage.dir, SHARE, 'proto'));
}

function stageDocuments(stage, tree, { version, seconds, modules, withNode }) {
  const { COMMANDS, GLOBAL_OPTIONS, GROUPS } = require(path.join(tree, 'dist/src/cli/commands.js'));
  const commands = { commands: COMMANDS.filter(({ load }) => load !== undefined), globals: GLOBAL_OPTIONS, groups: GROUPS };
  stage.write('usr/share/bash-completion/completions/mesos-cvmfs', bashCompletion(commands));
  stage.write('usr/share/zsh/vendor-completions/_mesos-cvmfs', zshCompletion(commands));

  const docs = path.join(tree, 'docs');
  for (const name of fs.readdirSync(docs)) if (name.endsWith('.md')) stage.copy(path.join(docs, name), path.join(DOC, name));
  const pages = [
    ['commands.md', 'mesos-cvmfs', 1, 'container images from CernVM-FS, mounted lazily, for Apache Mesos'],
    ['configuration.md', 'mesos-cvmfs-config', 5, 'configuration of mesos-cvmfs, /etc/mesos-cvmfs/config.toml'],
    ['errors.md', 'mesos-cvmfs-errors', 7, 'codes and exit codes of mesos-cvmfs'],
    ['facade.md', 'mesos-cvmfs-facade', 7, 'the docker registry of mesos-cvmfs for Mesos agents'],
    ['isolator.md', 'mesos-cvmfs-isolator', 7, 'the isolator module of mesos-cvmfs for Mesos agents'],
    ['marathon.md', 'mesos-cvmfs-marathon', 7, 'Marathon apps and pods with images from CernVM-FS'],
    ['mesos.md', 'mesos-cvmfs-mesos', 7, 'mesos-cvmfs on a Mesos agent'],
    ['operations.md', 'mesos-cvmfs-operations', 7, 'running mesos-cvmfs on many hosts'],
  ].filter(([file]) => fs.existsSync(path.join(docs, file)));
  const others = pages.map(([, name, section]) => `${name}(${section})`);
  for (const [file, name, section, about] of pages) {
    const text = fs.readFileSync(path.join(docs, file), 'utf8');
    const also = others.filter((one) => one !== `${name}(${section})`);
    stage.gzip(`usr/share/man/man${section}/${name}.${section}.gz`, manPage({ text, name, section, about, also, version, seconds }));
  }

  stage.copy(path.join(tree, 'examples'), path.join(DOC, 'examples'), { filter: (from) => !/\/(systemd|demo)(\/|$)/.test(path.relative(tree, from).replace(/^/, '/')) });
  stage.gzip(path.join(DOC, 'changelog.gz'), fs.readFileSync(path.join(DEBIAN, 'changelog')));
  stage.write(path.join(DOC, 'copyright'), copyrightOf(modules, { withNode }));
  stage.copy(path.join(DEBIAN, 'lintian-overrides'), 'usr/share/lintian/overrides/mesos-cvmfs');
}

function stageControl(stage, { version, withNode }) {
  const content = walk(stage.dir).filter((name) => fs.lstatSync(path.join(stage.dir, name)).isFile());
  const kilobytes = content.reduce((sum, name) => sum + Math.ceil(fs.statSync(path.join(stage.dir, name)).size / 1024), 0);
  const sums = content.filter((name) => !CONFFILES.includes(`/${name}`)).map((name) => `${crypto.createHash('md5').update(fs.readFileSync(path.join(stage.dir, name))).digest('hex')}  ${name}\n`);
  stage.write('DEBIAN/md5sums', sums.join(''));
  stage.write('DEBIAN/conffiles', CONFFILES.map((name) => `${name}\n`).join(''));
  stage.write('DEBIAN/triggers', withNode ? '' : '# A Node.js of another version may not load our native modules: postinst looks, and says so.\ninterest-noawait /usr/bin/node\n');
  for (const name of ['postinst', 'prerm', 'postrm']) stage.copy(path.join(DEBIAN, name), path.join('DEBIAN', name));
  stage.write('DEBIAN/control', controlOf(stage.dir, { version, kilobytes, withNode, content }));
}

/** Loads everything that the program depends on, from the staged files alone: a module that was left out shows here. */
function checkStaged(stage, version) {
  const dir = path.join(stage.dir, LIB);
  const said = execFileSync(process.execPath, [path.join(dir, 'bin/mesos-cvmfs'), '--version'], { encoding: 'utf8' }).trim();
  if (said !== version) throw new Error(`the staged program says that it is ${said}, and not ${version}`);
  const probe = "for (const name of Object.keys(require('./package.json').dependencies)) require(name); new (require('better-sqlite3'))(':memory:').close(); require('koffi').load(null).func('int getpid()')();";
  execFileSync(process.execPath, ['-e', probe], { cwd: dir, env: { ...process.env, NODE_PATH: '' }, stdio: ['ignore', 'ignore', 'inherit'] });
}

function main() {
  const { tree, out, withNode, fast } = parseArguments(process.argv.slice(2));
  const entry = newestEntry(fs.readFileSync(path.join(DEBIAN, 'changelog'), 'utf8'));
  const { VERSION } = require(path.join(tree, 'dist/src/version.js'));
  // A dash would begin Debian's own revision.
  const version = VERSION.replace('-', '~');
  const seconds = Number(process.env.SOURCE_DATE_EPOCH || entry.seconds);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-deb-'));
  try {
    const stage = new Stage(dir);
    const modules = stageProgram(stage, tree, withNode);
    stageSystem(stage, tree);
    stageShared(stage, tree);
    stageDocuments(stage, tree, { version, seconds, modules, withNode });
    checkStaged(stage, VERSION);
    stageControl(stage, { version, withNode });
    stage.finish(seconds);
    const architecture = /^Architecture: (.*)$/m.exec(fs.readFileSync(path.join(dir, 'DEBIAN/control'), 'utf8'))[1];
    fs.mkdirSync(out, { recursive: true });
    const file = path.join(out, `mesos-cvmfs_${version}_${architecture}.deb`);
    // dpkg before Debian 12 and Ubuntu 21.10 does not read zstd.
    // Under another name until it is whole.
    const unfinished = `${file}.part`;
    execFileSync('dpkg-deb', [...(fast ? ['-Zgzip', '-z1'] : ['-Zxz']), '--root-owner-group', '--build', dir, unfinished], { env: { ...process.env, SOURCE_DATE_EPOCH: String(seconds) }, stdio: ['ignore', 'ignore', 'inherit'] });
    fs.renameSync(unfinished, file);
    process.stdout.write(`${file}\n`);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

main();
