'use strict';
/**
 * `make demo`: mesos-cvmfs from end to end on this host, with nothing but this checkout.
 *
 * An image of the host's own user land is published into a repository, served on loopback, and provisioned over gRPC; a
 * container runs in it while the repository changes, while the service is killed and started again, and until it is
 * destroyed. Everything lies in one temporary folder, which is gone afterwards, in every outcome.
 */
const fs = require('node:fs');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { Container, chooseRuntime } = require('./container');
const { Host, sleep } = require('./host');
const { copyUserLand } = require('./user-land');

const dist = path.resolve(__dirname, '../../dist');
const FQRN = 'demo.example.org';
const IMAGE = '/images/userland';
const REFERENCE = `cvmfs://${FQRN}${IMAGE}`;
const CALL = { timeoutMs: 60_000 };
const NEW_REVISION_MS = 60_000;

let steps = 0;
const step = (text) => console.log(`\n${++steps}. ${text}`);
const say = (text) => console.log(`   ${text}`);
const shell = (name, line, answer) => say(`${name}# ${line}  →  ${answer.replaceAll('\n', ' ')}`);
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const milliseconds = (ms) => `${ms.toFixed(0)} ms`;
const count = (number) => number.toLocaleString('en');

function table(rows) {
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) say(`${name.padEnd(width)}  ${value}`);
}

function expect(condition, what) {
  if (!condition) throw new Error(`it should not have happened: ${what}`);
}

class Demo {
  #host = new Host();
  #containers = [];
  #stopped = false;
  #clients;
  #service;
  #how;

  async run() {
    const host = this.#host;
    const rootfs = path.join(host.dir, 'userland');

    step('An image of the user land of this host');
    const image = await this.#makeImage(rootfs);

    step('A repository with that image, served on loopback');
    await host.run('repo', 'create', FQRN, '--storage', host.storage, '--keys', host.keys);
    await this.#publish(rootfs, IMAGE);
    const { said: web } = await host.start('repo', 'serve', FQRN, '--storage', host.storage, '--access-log', host.accessLog);
    say(`serving ${web.url}`);
    this.#configure(web.url);
    await this.#check();
    const runtime = await chooseRuntime(host.dir, rootfs);
    this.#how = runtime.how;
    const runtimeText = runtime.how === 'runc' ? 'runc' : `chroot, since runc cannot run here (${runtime.why})`;

    step(`The service, and a container (${runtimeText})`);
    await this.#startService();
    const first = await this.#provisionAndRun('first');
    table([
      ['image', `${megabytes(image.bytes)} in ${count(image.files)} files`],
      ['bytes fetched', `${megabytes(first.fetched.bytes)} in ${first.fetched.requests} requests, catalogs and all`],
      ['of the image', `${((100 * first.fetched.bytes) / image.bytes).toFixed(2)} %`],
      ['request to root file system', milliseconds(first.provisionMs)],
      ['request to first instruction', milliseconds(first.totalMs)],
    ]);
    await this.#ask(first, 'cat /etc/demo; uname -s; ls / | wc -l');
    await this.#ask(first, 'echo written by the first > /etc/written; cat /etc/written');
    const again = await this.#provisionAndRun('second');
    say(`a second container of the same image: ${milliseconds(again.totalMs)} to its first instruction, ${megabytes(again.fetched.bytes)} fetched`);
    expect((await this.#ask(again, 'ls /etc/written 2> /dev/null || echo no such file')) === 'no such file', 'one container sees what another wrote');
    await this.#destroy(again);

    step('A change is published under the running container');
    fs.writeFileSync(path.join(rootfs, 'etc/demo'), 'revision two\n');
    const revision = await this.#publish(path.join(rootfs, 'etc'), `${IMAGE}/etc`);
    await this.#awaitRevision(revision);
    const changed = await this.#provisionAndRun('third');
    const [old, fresh] = [await this.#ask(first, 'cat /etc/demo'), await this.#ask(changed, 'cat /etc/demo')];
    expect(old === 'revision one' && fresh === 'revision two', `the old container sees ${old}, the new one ${fresh}`);

    step('The service is killed with SIGKILL');
    await host.stop(this.#service.child, 'SIGKILL');
    say(`service ${this.#service.said.pid} is dead`);
    expect((await this.#ask(first, 'cat /etc/demo; wc -l < /etc/passwd')).startsWith('revision one'), 'the container noticed');

    step('It is started again, and recovers');
    await this.#startService();
    const { destroyed, quarantined } = await this.#clients.provisioner.Recover({ known_container_ids: [first, changed].map(({ id }) => ({ value: id })) }, CALL);
    expect(destroyed.length === 0 && quarantined.length === 0, 'a container was lost');
    const { containers } = await this.#clients.admin.Status({}, CALL);
    say(`recovered ${containers} containers, lost none`);
    await this.#ask(first, 'cat /etc/demo /etc/written');
    await this.#ask(changed, 'cat /etc/demo');

    step('Both are destroyed, and everything is taken away');
    await this.#destroy(first);
    await this.#destroy(changed);
  }

  async #makeImage(rootfs) {
    fs.mkdirSync(rootfs, { mode: 0o755 });
    const { progress } = require(path.join(dist, 'src/cli/progress.js'));
    const shown = progress(process.stderr, false);
    const image = await copyUserLand(rootfs, (bytes, files, fraction) => {
      this.#goOn();
      shown.update(() => `${megabytes(bytes)} in ${count(files)} files`, fraction);
    }).finally(() => shown.end());
    fs.writeFileSync(path.join(rootfs, 'etc/demo'), 'revision one\n');
    say(`${megabytes(image.bytes)} in ${count(image.files)} files, ${count(image.entries)} entries, from /etc, /bin, /lib* and /usr`);
    return image;
  }

  async #publish(source, to) {
    const { storage, keys } = this.#host;
    say(await this.#host.run('publish', `dir:${source}`, FQRN, '--storage', storage, '--keys', keys, '--to', to));
    const { parseManifest } = require(path.join(dist, 'src/cvmfs/manifest.js'));
    return parseManifest(fs.readFileSync(path.join(storage, '.cvmfspublished'))).revision;
  }

  #configure(url) {
    const host = this.#host;
    const text = JSON.stringify;
    fs.writeFileSync(
      host.config,
      [
        `state_dir = ${text(host.stateDir)}`,
        `run_dir = ${text(host.runDir)}`,
        `mount_root = ${text(path.join(host.dir, 'cvmfs'))}`,
        `listen = ${text(host.listen)}`,
        'http = "127.0.0.1:0"',
        `[repositories.${text(FQRN)}]`,
        `servers = [${text(url)}]`,
        `public_keys = [${text(path.join(host.keys, `${FQRN}.pub`))}]`,
        'max_ttl = "1s"',
        '[provisioner]',
        `image_repositories = [${text(FQRN)}]`,
        '[cache]',
        `dir = ${text(path.join(host.dir, 'cache'))}`,
        'limit = "1 GB"',
        '',
      ].join('\n'),
    );
  }

  async #startService() {
    this.#clients?.provisioner.close();
    this.#clients?.admin.close();
    this.#service = await this.#host.start('serve', '--config', this.#host.config);
    const { createClient } = require(path.join(dist, 'provisioner/grpc/client.js'));
    const { loadContracts } = require(path.join(dist, 'provisioner/grpc/protos.js'));
    const contracts = loadContracts();
    this.#clients = {
      provisioner: createClient(contracts, 'mesos.cvmfs.v1.Provisioner', this.#host.listen),
      admin: createClient(contracts, 'mesos.cvmfs.v1.Admin', this.#host.listen),
    };
    say(`service ${this.#service.said.pid} takes calls on ${this.#host.listen}`);
    await this.#awaitRevision(0);
  }

  /** Until the service's mount shows this revision or a newer one. */
  async #awaitRevision(wanted) {
    const until = Date.now() + NEW_REVISION_MS;
    for (;;) {
      this.#goOn();
      const { repositories } = await this.#clients.admin.Status({}, CALL);
      const { revision, failure } = repositories[0] ?? {};
      if (revision !== undefined && Number(revision) >= Math.max(1, wanted)) return;
      if (Date.now() > until) throw new Error(`revision ${wanted} does not arrive: ${failure ?? `the mount shows ${revision ?? 'none'}`}`);
      await sleep(100);
    }
  }

  /** From the request over gRPC to the answer of the first instruction in the container. */
  async #provisionAndRun(id) {
    this.#goOn();
    const before = this.#containers.length === 0 ? { bytes: 0, requests: 0 } : this.#host.served();
    const began = performance.now();
    const { rootfs } = await this.#clients.provisioner.Provision({ container_id: { value: id }, image: { type: 'DOCKER', docker: { name: REFERENCE } } }, CALL);
    const provisioned = performance.now();
    const container = new Container(this.#host.dir, `${path.basename(this.#host.dir)}-${id}`, rootfs, this.#how);
    const made = { id, container };
    this.#containers.push(made);
    await container.ask('true');
    const ran = performance.now();
    // The web server writes its line when an answer has been sent.
    await sleep(100);
    const after = this.#host.served();
    return Object.assign(made, {
      provisionMs: provisioned - began,
      totalMs: ran - began,
      fetched: { bytes: after.bytes - before.bytes, requests: after.requests - before.requests },
    });
  }

  async #ask({ id, container }, line) {
    this.#goOn();
    const answer = await container.ask(line);
    shell(id, line, answer);
    return answer;
  }

  async #destroy({ id, container }) {
    await container.stop();
    const { destroyed } = await this.#clients.provisioner.Destroy({ container_id: { value: id } }, CALL);
    expect(destroyed, `${id} was not there to be destroyed`);
  }

  async #check() {
    say(await this.#host.run('repo', 'check', FQRN, '--storage', this.#host.storage, '--keys', this.#host.keys));
  }

  #goOn() {
    if (this.#stopped) throw new Error('interrupted');
  }

  interrupt() {
    this.#stopped = true;
    this.#host.interrupt();
  }

  get interrupted() {
    return this.#stopped;
  }

  /** What goes on after an error is said in the logs of what was started. */
  lastLog() {
    return this.#host.lastLog();
  }

  async end() {
    for (const { container } of this.#containers) await container.stop();
    this.#clients?.provisioner.close();
    this.#clients?.admin.close();
    const left = await this.#host.end();
    say(`left behind: ${left.mounts.length} mounts, ${left.processes.length} processes, ${left.files.length} files`);
    for (const one of [...left.mounts, ...left.processes.map(({ pid, command }) => `${pid} ${command}`), ...left.files]) say(one);
    return left.mounts.length + left.processes.length + left.files.length === 0;
  }
}

async function main() {
  if (process.getuid() !== 0 || !fs.existsSync('/dev/fuse')) throw new Error('the demo mounts file systems: it needs root and /dev/fuse (modprobe fuse)');
  const began = performance.now();
  const demo = new Demo();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      console.error(`   ${signal}: taking everything away`);
      demo.interrupt();
    });
  }
  let failure;
  try {
    await demo.run();
  } catch (error) {
    failure = error;
    if (!demo.interrupted) console.error(`\nThe demo failed: ${error.stack}\n${demo.lastLog()}`);
  }
  const clean = await demo.end();
  if (failure !== undefined || !clean) process.exitCode = demo.interrupted && clean ? 130 : 1;
  else console.log(`\nDone in ${((performance.now() - began) / 1000).toFixed(0)} s.`);
}

main().catch((error) => {
  console.error(`demo: ${error.message}`);
  process.exitCode = 1;
});
