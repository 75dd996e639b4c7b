'use strict';
/**
 * facade.js OUT.jsonl [rounds]: images through the registry facade, of a repository that is mounted: manifests as the
 * agent's puller asks for them, launches by the conformance agent (test/agent) until the process is let go, and a
 * hundred first launches of twenty images at once. One JSON object a line.
 */
require('../support/register-typescript.js');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { Scene, percentiles, recorder, timed } = require('./scene.js');
const { AgentHost } = require('../agent/agent-process.ts');
const { hostPrograms } = require('../support/host-programs.ts');

/** Images that are only asked for, one request each. */
const ASKED = 200;
const CROWD_IMAGES = 20;
const CROWD = 100;
const WARM = 20;
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** One request on a connection of its own, as each `curl` makes it. */
function manifest(port, name) {
  return new Promise((resolve, reject) => {
    const asked = http.get({ host: '127.0.0.1', port, path: `/v2/${name}/manifests/latest`, agent: false, headers: { accept: MANIFEST } }, (response) => {
      response.resume().once('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(`${name}: ${response.statusCode}`))));
    });
    asked.once('error', reject);
  });
}

function writeImage(dir, programs) {
  for (const folder of ['proc', 'sys', 'dev', 'tmp', 'etc', 'mnt']) fs.mkdirSync(path.join(dir, folder), { recursive: true });
  fs.writeFileSync(path.join(dir, '.cvmfscatalog'), '');
  fs.writeFileSync(path.join(dir, 'etc/image'), `${path.basename(dir)}\n`);
  for (const [name, [bytes, mode]] of Object.entries(programs)) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    fs.writeFileSync(path.join(dir, name), bytes, { mode });
  }
}

const round = (ms) => Number(ms.toFixed(1));

async function main(out, rounds) {
  const record = recorder(out);
  const scene = new Scene('facade');
  const port = await freePort();
  const store = `${scene.dir}/store`;
  const agent = new AgentHost(`${scene.dir}/agent`, { docker_store_dir: store });
  const end = scene.end.bind(scene);
  scene.end = async () => {
    await agent.powerOff();
    await end();
  };
  try {
    const programs = hostPrograms('sh', 'cat');
    for (let n = 0; n < ASKED; n++) writeImage(`${scene.dir}/images/asked-${n}`, {});
    for (let n = 0; n < CROWD_IMAGES; n++) writeImage(`${scene.dir}/images/crowd-${n}`, programs);
    writeImage(`${scene.dir}/images/one`, programs);
    scene.create();
    scene.publish(`dir:${scene.dir}/images`, '/images');
    const tables = `[facade]\nenabled = true\nlisten = "127.0.0.1:${port}"\ndocker_store_dir = "${store}"\nagent_work_dir = "${agent.flags.work_dir}"\nagent_runtime_dir = "${agent.flags.runtime_dir}"\n`;
    scene.configure(await scene.serveRepository(), { tables });
    await scene.startService();
    await agent.start();
    const image = (name) => `${scene.fqrn}/images/${name}`;
    const launch = (id, name, cached) => ({ id, image: { name: `127.0.0.1:${port}/${image(name)}`, cached }, command: { value: 'cat /etc/image' } });

    for (let n = 0; n < WARM; n++) await manifest(port, image('one'));
    const first = [];
    for (let n = 0; n < ASKED; n++) first.push(await timed(() => manifest(port, image(`asked-${n}`))));
    record('manifest_first', percentiles(first));
    const known = [];
    for (let n = 0; n < rounds; n++) known.push(await timed(() => manifest(port, image(`asked-${n % ASKED}`))));
    record('manifest_known', percentiles(known));
    const together = await Promise.all(Array.from({ length: CROWD }, (_, n) => timed(() => manifest(port, image(`asked-${n % CROWD_IMAGES}`)))));
    record('manifest_hundred_at_once', percentiles(together));

    for (const [what, cached] of [['launch_asking', false], ['launch_stored', true]]) {
      const times = [];
      for (let n = 0; n < WARM; n++) {
        times.push(await timed(() => agent.launch(launch(`${what}-${n}`, 'one', cached))));
        await agent.finished(`${what}-${n}`);
      }
      record(what, percentiles(times));
    }

    const failures = [];
    const times = [];
    const whole = await timed(() =>
      Promise.all(
        Array.from({ length: CROWD }, async (_, n) => {
          const name = `crowd-${n % CROWD_IMAGES}`;
          try {
            times.push(await timed(() => agent.launch(launch(`crowd-${n}`, name, true))));
            const { status, stdout } = await agent.finished(`crowd-${n}`);
            if (status !== 0 || stdout !== `${name}\n`) failures.push(`${name}: ${status} ${stdout}`);
          } catch (error) {
            failures.push(error.message);
          }
        }),
      ),
    );
    record('crowd', { ...percentiles(times), images: CROWD_IMAGES, whole_ms: round(whole), failed: failures.length });
    for (const [at, ms] of times.map(round).sort((a, b) => a - b).entries()) record('crowd_launch', { launched: at + 1, ms });
    if (failures.length > 0) throw new Error(`of ${CROWD} launches ${failures.length} failed: ${failures[0]}`);
  } finally {
    await scene.end();
  }
}

main(process.argv[2] ?? '/dev/stdout', Number(process.argv[3] ?? 1000)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
