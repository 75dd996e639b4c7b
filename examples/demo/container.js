'use strict';
/**
 * A container with a shell in it that takes commands from us as long as it lives: under runc where that works on this
 * host, else in a chroot. Either way it is an ordinary process in the root file system that Provision answered with.
 */
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ANSWER_MS = 30_000;
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const HOST_ENV = { ...process.env, PATH: `${process.env.PATH}:${PATH}` };

function runcConfig(rootfs) {
  return {
    ociVersion: '1.0.2',
    root: { path: rootfs, readonly: false },
    hostname: 'demo',
    process: { terminal: false, cwd: '/', user: { uid: 0, gid: 0 }, args: ['/bin/sh'], env: [`PATH=${PATH}`], noNewPrivileges: true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=64k'] },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'size=16m'] },
    ],
    linux: { namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })) },
  };
}

class Container {
  #dir;
  #child;
  #said = '';
  #questions = 0;

  /**
   * @param {string} dir the demo's folder, which is this container's runtime state too
   * @param {string} id
   * @param {string} rootfs
   * @param {'runc' | 'chroot'} how
   */
  constructor(dir, id, rootfs, how) {
    this.id = id;
    this.how = how;
    this.#dir = dir;
    if (how === 'runc') {
      const bundle = path.join(dir, 'bundles', id);
      fs.mkdirSync(bundle, { recursive: true });
      fs.writeFileSync(path.join(bundle, 'config.json'), JSON.stringify(runcConfig(rootfs)));
      this.#child = this.#start('runc', ['--root', path.join(dir, 'runc'), 'run', '--bundle', bundle, id]);
    } else {
      this.#child = this.#start('chroot', [rootfs, '/bin/sh']);
    }
  }

  #start(command, args) {
    // A group of its own: Ctrl-C is for the demo, which then ends its containers in order.
    const child = spawn(command, args, { cwd: '/', detached: true, env: HOST_ENV, stdio: ['pipe', 'pipe', 'pipe'] });
    const hear = (chunk) => (this.#said += chunk);
    child.stdout.setEncoding('utf8').on('data', hear);
    child.stderr.setEncoding('utf8').on('data', hear);
    child.stdin.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      child.on('error', (error) => {
        hear(error.message);
        resolve();
      });
      child.on('close', resolve);
    });
    return child;
  }

  get pid() {
    return this.#child.pid;
  }

  get running() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Runs a line in the container's shell and answers what it printed. */
  async ask(line) {
    this.#questions += 1;
    const mark = `[answer ${this.#questions}]`;
    this.#said = '';
    this.#child.stdin.write(`${line}\necho '${mark}'\n`);
    const until = Date.now() + ANSWER_MS;
    while (!this.#said.includes(mark)) {
      if (!this.running) throw new Error(`container ${this.id} has ended: ${this.#said.trim()}`);
      if (Date.now() > until) throw new Error(`container ${this.id} does not answer`);
      await Promise.race([this.ended, new Promise((resolve) => this.#child.stdout.once('data', resolve)), new Promise((resolve) => setTimeout(resolve, 200))]);
    }
    return this.#said.slice(0, this.#said.indexOf(mark)).trim();
  }

  async stop() {
    if (this.how === 'runc') spawnSync('runc', ['--root', path.join(this.#dir, 'runc'), 'delete', '--force', this.id], { env: HOST_ENV });
    if (this.running && this.pid !== undefined) this.#child.kill('SIGKILL');
    await this.ended;
  }
}

/**
 * Whether runc can run a container on this host, found by running one that needs nothing: some hosts, themselves
 * containers, do not allow it.
 * @param {string} dir
 * @param {string} rootfs a root file system with /bin/sh
 */
async function chooseRuntime(dir, rootfs) {
  const probe = new Container(dir, `${path.basename(dir)}-probe`, rootfs, 'runc');
  try {
    await probe.ask('true');
    return { how: 'runc', why: '' };
  } catch (error) {
    return { how: 'chroot', why: error.message.split('\n')[0] };
  } finally {
    await probe.stop();
  }
}

module.exports = { Container, chooseRuntime };
