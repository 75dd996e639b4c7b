'use strict';
/**
 * start.js OUT.jsonl [SOURCE|-] [ROUND_TRIP_MS] [ROUNDS]: `python3 -c 'import json, ssl'` in a new container on a host that has
 * nothing yet, from a server that far away: for the first time, with a start profile, and with nothing fetched ahead. SOURCE is
 * a root file system with python3 in it, `dir:PATH` or `tar:PATH`; default one put together from this host's own python.
 *
 * Each start has a service, a cache and a mount of its own, mounted before the clock begins. `bytes_over_least` compares what the
 * network carried for it with what the start carried that fetches only what is asked for.
 */
const { execFile, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { startDelayProxy } = require('../support/delay-proxy');
const { Scene, recorder, timed } = require('./scene');

const execute = promisify(execFile);
const IMAGE = '/image';
const PROGRAM = ['/usr/bin/python3', '-c', 'import json, ssl'];
/** Longer than any start here; a new profile is there that long after its Provision. */
const RECORD_MS = 6_000;
const RECORDED_MS = 60_000;
const SETTLE_MS = 4_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Requests that the file system server has made. */
async function requests(http) {
  const text = await (await fetch(`http://${http}/metrics`)).text();
  return Number(/^mesos_cvmfs_transfers_total\{.*\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** A tree with this host's python and the libraries that it and its modules are linked with. */
function ownPython(tree) {
  const python = fs.realpathSync('/usr/bin/python3');
  const library = `/usr/lib/${path.basename(python)}`;
  const modules = fs.readdirSync(`${library}/lib-dynload`).map((name) => `${library}/lib-dynload/${name}`);
  const listed = [python, ...modules].flatMap((file) => [...execFileSync('ldd', [file]).toString().matchAll(/(\/\S+) \(0x/g)].map(([, found]) => found));
  for (const dir of ['usr/bin', 'usr/lib', 'etc', 'proc', 'sys', 'dev', 'tmp']) fs.mkdirSync(`${tree}/${dir}`, { recursive: true });
  fs.copyFileSync(python, `${tree}/usr/bin/python3`);
  fs.cpSync(library, `${tree}${library}`, { recursive: true, filter: (name) => !name.includes('/test/'), dereference: true });
  for (const file of new Set(listed)) {
    fs.mkdirSync(path.dirname(`${tree}${file}`), { recursive: true });
    fs.copyFileSync(fs.realpathSync(file), `${tree}${file}`);
  }
  fs.writeFileSync(`${tree}/.cvmfscatalog`, '');
}

async function main(out, source, roundTripMs, rounds) {
  const record = recorder(out);
  const publisher = new Scene('start');
  const reference = `cvmfs://${publisher.fqrn}${IMAGE}`;
  const profile = `${publisher.dir}/profile.json`;
  let proxy;
  let least = null;

  /** One cold start; `after` has the host while it is still there. */
  async function start(what, round, { more = '', tables = `[provisioner]\nprofile_record = "${RECORD_MS} ms"`, before = async () => undefined, after = async () => undefined } = {}) {
    const host = new Scene('start-host');
    try {
      const url = publisher.url.replace(/:\d+/, `:${proxy.port}`);
      host.configure(url, { keys: [`${publisher.dir}/keys/${publisher.fqrn}.pub`], tables });
      fs.appendFileSync(host.config, more);
      await before(host);
      const { child, line } = await host.begin('serve', '--config', host.config, '--json');
      host.service = child;
      const { http } = JSON.parse(line);
      await host.ran('resolve', reference, '--config', host.config);
      // A standby takes its place beside the new mount, and its start is no part of this one.
      await pause(SETTLE_MS);
      const requestsBefore = await requests(http);
      const counted = { bytes: proxy.counters.answered, connections: proxy.counters.connections };
      let rootfs;
      const provisionMs = await timed(async () => void ({ rootfs } = await host.provision('start', IMAGE)));
      const runMs = await timed(() => execute('chroot', [rootfs, ...PROGRAM]));
      const bytes = proxy.counters.answered - counted.bytes;
      const asked = (await requests(http)) - requestsBefore;
      const { fetched_ahead: ahead } = JSON.parse(await host.ran('image', 'inspect', reference, '--config', host.config, '--json'));
      least = what === 'speculation_off' ? Math.min(least ?? bytes, bytes) : least;
      record('start', {
        start: what,
        round,
        round_trip_ms: roundTripMs,
        provision_ms: Number(provisionMs.toFixed(1)),
        run_ms: Number(runMs.toFixed(1)),
        whole_ms: Number((provisionMs + runMs).toFixed(1)),
        bytes,
        bytes_over_least: least === null ? null : Number((bytes / least).toFixed(3)),
        connections: proxy.counters.connections - counted.connections,
        requests: asked,
        fetched_ahead: ahead,
      });
      await after(host);
    } finally {
      await host.end();
    }
  }

  try {
    publisher.create();
    if (source === '-') ownPython(`${publisher.dir}/image`);
    publisher.publish(source === '-' ? `dir:${publisher.dir}/image` : source, IMAGE);
    const url = new URL((await publisher.serveRepository()).replace('@fqrn@', publisher.fqrn));
    proxy = await startDelayProxy({ target: Number(url.port), oneWayMs: roundTripMs / 2 });
    for (let round = 0; round < rounds; round++) {
      await start('speculation_off', round, { more: 'speculation = "off"\n' });
      await start('first', round, {
        after: async (host) => {
          for (const end = Date.now() + RECORDED_MS; ; await pause(200)) {
            const exported = await host.ran('image', 'profile', 'export', reference, '--out', profile, '--config', host.config).catch(() => null);
            if (exported !== null) return;
            if (Date.now() > end) throw new Error('no profile was recorded');
          }
        },
      });
      await start('profile', round, { before: (host) => host.ran('image', 'profile', 'import', reference, profile, '--config', host.config) });
    }
  } finally {
    await proxy?.close();
    await publisher.end();
  }
}

main(process.argv[2] ?? '/dev/stdout', process.argv[3] ?? '-', Number(process.argv[4] ?? 20), Number(process.argv[5] ?? 3)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
