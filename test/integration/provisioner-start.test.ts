/** Starts that are refused: with the reason, and with everything left as it was. Needs root. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import type { AddressInfo } from 'node:net';
import { parseConfig } from '../../src/config/config';
import { lockState } from '../../provisioner/state-lock';
import { socketPath } from '../../provisioner/grpc/socket';
import type { Host, Running } from '../support/provisioner/service';
import { CALL, cvmfsImage, makeHost, startOn } from '../support/provisioner/service';

const describeAsRoot = process.geteuid?.() === 0 ? describe : describe.skip;

describeAsRoot('a start of the service (needs root)', () => {
  let host: Host;
  const started: Running[] = [];

  beforeEach(() => {
    host = makeHost();
  });

  afterEach(async () => {
    for (const running of started.splice(0)) await running.stop();
    host.remove();
  });

  const start = async (extra = ''): Promise<Running> => {
    const running = await startOn(host, { config: parseConfig(host.config(extra), undefined) });
    started.push(running);
    return running;
  };
  const config = (change: (text: string) => string): Promise<Running> => startOn(host, { config: parseConfig(change(host.config()), undefined) });

  it('is refused over a docker store that others could reach into', async () => {
    const store = path.join(host.dir, 'open/docker');
    fs.mkdirSync(store, { recursive: true });
    fs.chmodSync(path.dirname(store), 0o777);
    await expect(start(`[facade]
enabled = true
docker_store_dir = "${store}"
`)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringMatching(/docker_store_dir: .*open can be written by others.*run: chmod go-w/) });
    expect(fs.readdirSync(store)).toEqual([]);
  });

  it('is refused over a damaged database, which stays as it is, and the lock is free again', async () => {
    await (await start()).stop();
    started.splice(0);
    const file = path.join(host.dir, 'state/state.db');
    fs.writeFileSync(file, 'x'.repeat(8192));
    await expect(start()).rejects.toMatchObject({ code: 'STATE_DAMAGED' });
    expect(fs.readFileSync(file, 'utf8')).toBe('x'.repeat(8192));
    lockState(path.join(host.dir, 'state'))();
  });

  it('is refused when the state directory is open to others', async () => {
    fs.mkdirSync(path.join(host.dir, 'state'), { mode: 0o755 });
    await expect(start()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringMatching(/chmod 0?700/) });
  });

  it('is refused when somebody listens on the HTTP port, and gives everything back', async () => {
    const taken = net.createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as AddressInfo;
    await expect(config((text) => text.replace('127.0.0.1:0', `127.0.0.1:${port}`))).rejects.toMatchObject({ message: expect.stringContaining(`127.0.0.1:${port}`) });
    await new Promise((resolve) => taken.close(resolve));
    await start();
  });

  it('is refused when something that is no socket lies in its place, and when somebody listens there', async () => {
    fs.mkdirSync(path.join(host.dir, 'run'), { mode: 0o711 });
    const socket = path.join(host.dir, 'run/provisioner.sock');
    fs.writeFileSync(socket, '');
    await expect(start()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringContaining('is not a socket') });
    fs.rmSync(socket);
    const other = net.createServer();
    await new Promise<void>((resolve) => other.listen(socket, resolve));
    await expect(start()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringContaining('somebody listens') });
    await new Promise((resolve) => other.close(resolve));
  });

  it('is refused with a socket path that the kernel would cut', () => {
    expect(() => socketPath(`unix:///${'x'.repeat(107)}`)).toThrow(/108 bytes, the kernel takes 107/);
    expect(socketPath(`unix:///${'x'.repeat(106)}`)).toHaveLength(107);
    expect(() => socketPath('127.0.0.1:80')).toThrow(/unix socket/);
  });

  it('refuses requests beyond its limits and serves others', async () => {
    const running = await startOn(host, { limits: { maxContainers: 2, maxRootfsesPerContainer: 2 } });
    started.push(running);
    const provision = (value: string) => running.provisioner.Provision({ container_id: { value }, image: cvmfsImage('a') }, CALL);
    await provision('a');
    await provision('a');
    await expect(provision('a')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('2 root file systems') });
    await provision('b');
    await expect(provision('c')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('2 containers') });
    await running.provisioner.Destroy({ container_id: { value: 'a' } }, CALL);
    await provision('c');
  });

  it('forgets the images that were used longest ago', async () => {
    const running = await startOn(host, { limits: { maxUnusedImages: 1 } });
    started.push(running);
    for (const name of ['a', 'b', 'bare']) {
      await running.provisioner.Provision({ container_id: { value: name }, image: cvmfsImage(name) }, CALL);
      await running.provisioner.Destroy({ container_id: { value: name } }, CALL);
    }
    await running.provisioner.Provision({ container_id: { value: 'x' }, image: cvmfsImage('a') }, CALL);
    expect(running.service.provisioner.world.state.images().map(({ reference }) => reference)).toEqual([expect.stringContaining('/images/bare'), expect.stringContaining('/images/a')]);
  });
});
