/**
 * SIGKILL of the service at every instant between two effects of the facade, then a new start: no link that leads nowhere,
 * none that nobody knows, and the image is there for whoever asks again. Needs root.
 */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import * as path from 'node:path';
import { parseConfig } from '../../src/config/config';
import { createClient } from '../../provisioner/grpc/client';
import { loadContracts } from '../../provisioner/grpc/protos';
import { FACADE_STEPS } from '../../provisioner/steps';
import { writeLayers } from '../support/agent-files';
import { viewOf } from '../support/provisioner/directory-repository';
import type { Host, Running } from '../support/provisioner/service';
import { CALL, FQRN, makeHost, startOn } from '../support/provisioner/service';
import { typescriptExecArgv } from '../support/typescript-process';

const describeAsRoot = process.geteuid?.() === 0 ? describe : describe.skip;
jest.setTimeout(60_000);

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function message(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code, signal) => reject(new Error(`the service ended: ${code ?? signal}`)));
  });
}

describeAsRoot('a facade that is killed between two steps (needs root)', () => {
  let host: Host;
  let port: number;
  let toml: string;
  let store: string;
  let child: ChildProcess;
  let running: Running | undefined;

  beforeEach(async () => {
    host = makeHost();
    port = await freePort();
    store = path.join(host.dir, 'store');
    fs.mkdirSync(path.join(host.dir, 'work'));
    toml = host.config(`[facade]\nenabled = true\nlisten = "127.0.0.1:${port}"\ndocker_store_dir = "${store}"\nagent_work_dir = "${host.dir}/work"\n`);
    child = fork(path.join(__dirname, '../support/provisioner/serve-and-crash.ts'), [toml, host.mountpoint], { execArgv: [...typescriptExecArgv] });
    expect(await message(child)).toBe('ready');
  });
  afterEach(async () => {
    child.kill('SIGKILL');
    await running?.stop();
    running = undefined;
    host.remove();
  });

  const ask = async (name: string): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${port}/v2/${FQRN}/images/${name}/manifests/latest`);
    expect(answer.status).toBe(200);
    return ((await answer.json()) as { layers: Array<{ digest: string }> }).layers[0]!.digest;
  };

  it.each(FACADE_STEPS)('leaves nothing wrong at %s', async (step) => {
    const kept = await ask('b');
    writeLayers(path.join(host.dir, 'work'), ['c'], store, [kept]);
    const removing = step === 'facade-link-removed' || step === 'facade-forgotten';
    if (removing) await ask('a');
    child.send(step);
    expect(await message(child)).toBe('armed');
    const ended = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
    if (removing) {
      const client = createClient(loadContracts(), 'mesos.cvmfs.v1.Provisioner', host.listen);
      await expect(client.PruneImages({ excluded_images: [] }, CALL)).rejects.toThrow();
      client.close();
    } else await expect(ask('a')).rejects.toThrow();
    expect(await ended).toBe('SIGKILL');

    running = await startOn(host, { config: parseConfig(toml, undefined), facadeTiming: { graceMs: 0 } });
    const known = running.service.provisioner.world.state.facadeLinks.all(() => undefined).map(({ digest }) => digest);
    const linked = fs.readdirSync(path.join(store, 'layers'));
    // Each link has its row and each row its link, all lead somewhere, and nothing half-made is left.
    expect(linked.sort()).toEqual(known.sort());
    expect(linked).toContain(kept);
    for (const name of linked) expect(fs.existsSync(path.join(store, 'layers', name, 'rootfs.overlay/etc/image'))).toBe(true);
    expect(fs.readdirSync(store)).toEqual(['layers']);
    const layer = await ask('a');
    expect(fs.readFileSync(path.join(store, 'layers', layer, 'rootfs.overlay/etc/image'), 'utf8')).toBe('a\n');
    expect([...(running.repository.holds.get(viewOf('/images/a')) ?? [])]).toHaveLength(1);
  });
});
