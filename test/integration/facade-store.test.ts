/** The facade's links in the agent's docker store: what keeps them right, and who may not bend them. Needs root. */
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as path from 'node:path';
import { parseConfig } from '../../src/config/config';
import { libc, MNT_DETACH, MS_REMOUNT } from '../../src/native/libc';
import { createMetrics } from '../../src/metrics/metrics';
import type { Metrics } from '../../src/metrics/metrics';
import { agentPrune, writeConfig, writeLayers, writeStoredImages } from '../support/agent-files';
import { viewOf } from '../support/provisioner/directory-repository';
import type { Host, Running } from '../support/provisioner/service';
import { CALL, FQRN, makeHost, startOn } from '../support/provisioner/service';

const describeAsRoot = process.geteuid?.() === 0 ? describe : describe.skip;
jest.setTimeout(60_000);

interface Got {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

function get(address: string, target: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Got> {
  return new Promise((resolve, reject) => {
    const [host, port] = address.split(':');
    http
      .request({ host, port, path: target, headers, method, agent: false }, (response) => {
        let body = '';
        response.on('data', (piece: Buffer) => (body += piece.toString()));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      })
      .on('error', reject)
      .end();
  });
}

describeAsRoot('the links of the facade (needs root)', () => {
  let host: Host;
  let store: string;
  let workDir: string;
  let runtimeDir: string;
  let metrics: Metrics;
  let running: Running | undefined;

  beforeEach(() => {
    host = makeHost();
    store = path.join(host.dir, 'store');
    workDir = path.join(host.dir, 'work');
    runtimeDir = path.join(host.dir, 'runtime');
    fs.mkdirSync(workDir);
  });

  afterEach(async () => {
    await running?.stop();
    running = undefined;
    host.remove();
  });

  const config = (lines = ''): string =>
    host.config(`[facade]\nenabled = true\nlisten = "127.0.0.1:0"\ndocker_store_dir = "${store}"\nagent_work_dir = "${workDir}"\nagent_runtime_dir = "${runtimeDir}"\n${lines}`);

  const start = async (lines = '', options: Parameters<typeof startOn>[1] = {}): Promise<string> => {
    metrics = createMetrics({ processMetrics: false });
    running = await startOn(host, { config: parseConfig(config(lines), undefined), metrics, facadeTiming: { lookMs: 200, recoverMs: 2_000, graceMs: 0 }, ...options });
    return running.service.facade!;
  };
  const stop = async (): Promise<void> => {
    await running!.stop();
    running = undefined;
  };
  const image = async (facade: string, name = 'a'): Promise<string> => {
    const { status, body } = await get(facade, `/v2/${FQRN}/images/${name}/manifests/latest`);
    if (status !== 200) throw new Error(`${status} ${body}`);
    return (JSON.parse(body) as { layers: Array<{ digest: string }> }).layers[0]!.digest;
  };
  const link = (layer: string): string => path.join(store, 'layers', layer, 'rootfs.overlay');
  const target = (layer: string): string | null => {
    try {
      return fs.readlinkSync(link(layer));
    } catch {
      return null;
    }
  };
  const tree = (name: string): string => `${host.mountpoint}/.cvmfs-view/${viewOf(`/images/${name}`)}`;
  const holders = (name: string): string[] => [...(running!.repository.holds.get(viewOf(`/images/${name}`)) ?? [])];
  const eventually = async (what: () => boolean): Promise<void> => {
    for (let round = 0; round < 500 && !what(); round++) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(what()).toBe(true);
  };

  it('lead into a view that is held for as long as they are there', async () => {
    const facade = await start();
    const layer = await image(facade);
    expect(target(layer)).toBe(tree('a'));
    expect(fs.readFileSync(`${link(layer)}/etc/image`, 'utf8')).toBe('a\n');
    expect(holders('a')).toEqual([expect.stringMatching(/^image\./)]);
    expect(await image(facade)).toBe(layer);
    expect(holders('a')).toHaveLength(1);
  });

  it('that the agent prunes are forgotten and their views released', async () => {
    const facade = await start();
    const [a, b] = [await image(facade, 'a'), await image(facade, 'b')];
    agentPrune(store, a);
    await eventually(() => holders('a').length === 0);
    expect(holders('b')).toHaveLength(1);
    expect(target(b)).toBe(tree('b'));
    expect((await metrics.render()).text).toContain('mesos_cvmfs_facade_links_removed_total{reason="pruned"} 1');
    expect(await image(facade, 'a')).toBe(a);
    expect(target(a)).toBe(tree('a'));
  });

  it('that were bent elsewhere in our views are mended, those that were replaced are left and forgotten', async () => {
    const facade = await start();
    const [a, b] = [await image(facade, 'a'), await image(facade, 'b')];
    fs.rmSync(link(a));
    fs.symlinkSync(tree('b'), link(a));
    await eventually(() => target(a) === tree('a'));
    fs.rmSync(link(b));
    fs.symlinkSync('/etc', link(b));
    await eventually(() => holders('b').length === 0);
    expect(target(b)).toBe('/etc');
    const refused = await get(facade, `/v2/${FQRN}/images/b/manifests/latest`);
    expect([refused.status, refused.body]).toEqual([412, expect.stringContaining('a link to /etc, which the facade did not make')]);
    expect(target(b)).toBe('/etc');
  });

  it('lead to where the repository is mounted now, also when mount_root was changed', async () => {
    const layer = await image(await start());
    await stop();
    fs.rmSync(link(layer));
    fs.symlinkSync(`/old/root/${FQRN}/.cvmfs-view/${viewOf('/images/a')}`, link(layer));
    await start();
    expect(target(layer)).toBe(tree('a'));
  });

  it('never take the place of a real layer, nor of a link in place of its directory', async () => {
    const facade = await start();
    const layer = await image(facade);
    agentPrune(store, layer);
    await eventually(() => holders('a').length === 0);
    fs.mkdirSync(link(layer), { recursive: true });
    fs.writeFileSync(path.join(link(layer), 'file'), 'of the agent');
    expect((await get(facade, `/v2/${FQRN}/images/a/manifests/latest`)).status).toBe(412);
    expect(fs.readFileSync(path.join(link(layer), 'file'), 'utf8')).toBe('of the agent');
    fs.rmSync(path.join(store, 'layers', layer), { recursive: true });
    fs.mkdirSync(path.join(host.dir, 'elsewhere'));
    fs.symlinkSync(path.join(host.dir, 'elsewhere'), path.join(store, 'layers', layer));
    expect((await get(facade, `/v2/${FQRN}/images/a/manifests/latest`)).status).toBe(412);
    expect(fs.readdirSync(path.join(host.dir, 'elsewhere'))).toEqual([]);
  });

  it('are there and held before the service is ready again, and what is nobody’s is taken away', async () => {
    const facade = await start();
    const [a, b] = [await image(facade, 'a'), await image(facade, 'b')];
    const blob = await get(facade, `/v2/x/manifests/1`);
    expect(blob.status).toBe(404);
    await stop();
    fs.rmSync(link(b));
    fs.symlinkSync(tree('a'), link(b));
    const stray = `sha256:${'5'.repeat(64)}`;
    fs.mkdirSync(path.dirname(link(stray)));
    fs.symlinkSync(tree('a'), link(stray));
    const foreign = `sha256:${'6'.repeat(64)}`;
    fs.mkdirSync(link(foreign), { recursive: true });
    fs.symlinkSync('half-made', path.join(store, '.mesos-cvmfs-0123456789abcdef'));
    await start();
    expect([target(a), target(b)]).toEqual([tree('a'), tree('b')]);
    expect([holders('a').length, holders('b').length]).toEqual([1, 1]);
    expect(fs.readdirSync(path.join(store, 'layers')).sort()).toEqual([a, b, foreign].sort());
    expect(fs.readdirSync(store).sort()).toEqual(['layers']);
  });

  it('whose trees do not come back after a reboot are taken away, so that the agent asks again', async () => {
    const facade = await start();
    const layer = await image(facade);
    await stop();
    // The catalog is on no server any more, and the mount is a new one.
    fs.renameSync(tree('a'), `${host.mountpoint}/kept`);
    await start();
    expect(target(layer)).toBeNull();
    expect(fs.existsSync(path.join(store, 'layers', layer))).toBe(false);
    const failed = await get(running!.service.facade!, `/v2/${FQRN}/images/a/manifests/latest`);
    expect(failed.status).toBe(404);
    fs.renameSync(`${host.mountpoint}/kept`, tree('a'));
    // What a revision did not have is remembered of it.
    await stop();
    await start();
    expect(await image(running!.service.facade!)).toBe(layer);
    expect(target(layer)).toBe(tree('a'));
  });

  it('of images in use hold their views for the containers, as the agent’s files say', async () => {
    const facade = await start();
    const [a, b] = [await image(facade, 'a'), await image(facade, 'b')];
    const used = (layer: string): string => `agent.${layer.slice(7)}`;
    const layers = writeLayers(workDir, ['root', 'child'], store, [a]);
    await eventually(() => holders('a').includes(used(a)));
    writeStoredImages(store, [{ registry: facade, repository: `${FQRN}/images/b`, layers: [b] }]);
    const volume = writeConfig(runtimeDir, ['other'], undefined, [`${facade}/${FQRN}/images/b`]);
    await eventually(() => holders('b').includes(used(b)));
    fs.rmSync(layers);
    await eventually(() => !holders('a').includes(used(a)));
    expect(holders('a')).toHaveLength(1);
    expect(holders('b')).toHaveLength(2);
    // It ended while nobody looked.
    await stop();
    fs.rmSync(volume);
    await start();
    running!.repository.holds.get(viewOf('/images/b'))!.add(used(b));
    await stop();
    await start();
    await eventually(() => !holders('b').includes(used(b)));
  });

  it('of long-running containers are completed and pinned, until the last container ends', async () => {
    const facade = await start('[provisioner]\ncomplete_after = "10ms"\n');
    const layer = await image(facade);
    const file = writeLayers(workDir, ['root', 'child'], store, [layer]);
    await eventually(() => running!.repository.pins.size === 1);
    expect([...running!.repository.pins]).toEqual([expect.stringMatching(/^image\/complete\./)]);
    fs.rmSync(file);
    await eventually(() => running!.repository.pins.size === 0);
    expect(target(layer)).toBe(tree('a'));
  });

  it('that nobody uses make room for others, the oldest first', async () => {
    const facade = await start('max_views = 3\n');
    const a = await image(facade, 'a');
    writeLayers(workDir, ['c'], store, [a]);
    const b = await image(facade, 'b');
    const bare = await image(facade, 'bare');
    await eventually(() => target(b) === null);
    expect([target(a), target(bare)]).toEqual([tree('a'), tree('bare')]);
  });

  it('of one repository wait for it alone, and the answer says what was waited for', async () => {
    const facade = await start('max_resolves = 1\n', { facadeTiming: { manifestMs: 1_500 } });
    const layer = await image(facade);
    let arrived = (): void => undefined;
    running!.repository.network = new Promise((resolve) => (arrived = resolve));
    const late = await Promise.all([get(facade, `/v2/${FQRN}/images/b/manifests/latest`), get(facade, `/v2/${FQRN}/images/bare/manifests/latest`), get(facade, '/v2/app/manifests/1')]);
    // The docker name is not held up by the others.
    expect(late.map(({ status }) => status)).toEqual([504, 504, 404]);
    expect(late[0]!.body).toContain('the image was not ready within');
    arrived();
    expect(await image(facade, 'b')).not.toBe(layer);
  });

  it('are not made on a full disk, with nothing left behind, and are when there is room', async () => {
    fs.mkdirSync(store);
    // Three inodes: the root, `layers`, and one for the temporary link, none for its directory.
    libc().mount('tmpfs', store, 'tmpfs', 0, 'nr_inodes=3,mode=755');
    const facade = await start();
    const refused = await get(facade, `/v2/${FQRN}/images/a/manifests/latest`);
    expect([refused.status, refused.body]).toEqual([507, expect.stringContaining('ENOSPC')]);
    expect(fs.readdirSync(store)).toEqual(['layers']);
    libc().mount('tmpfs', store, 'tmpfs', MS_REMOUNT, 'nr_inodes=100,mode=755');
    const layer = await image(facade);
    expect(target(layer)).toBe(tree('a'));
    await stop();
    libc().umount2(store, MNT_DETACH);
  });

  it('go with PruneImages unless a container uses them, the caller keeps them, or it is not known', async () => {
    const facade = await start();
    const [a, b] = [await image(facade, 'a'), await image(facade, 'b')];
    const bare = await image(facade, 'bare');
    writeLayers(workDir, ['c'], store, [a]);
    const broken = path.join(workDir, 'provisioner/containers/d/layers');
    fs.mkdirSync(path.dirname(broken), { recursive: true });
    fs.writeFileSync(broken, Buffer.from([1, 2, 3]));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await running!.provisioner.PruneImages({ excluded_images: [] }, CALL)).toMatchObject({ pruned_images: '0' });
    const { warnings } = await running!.admin.Status({}, CALL);
    expect(warnings).toContainEqual(expect.stringMatching(/a file of the agent cannot be read.*containers\/d\/layers: it is no message/));
    fs.rmSync(broken);
    expect(await running!.provisioner.PruneImages({ excluded_images: [{ type: 'DOCKER', docker: { name: `${facade}/${FQRN}/images/bare` } }] }, CALL)).toMatchObject({ pruned_images: '1' });
    expect([target(a), target(b), target(bare)]).toEqual([tree('a'), null, tree('bare')]);
  });

  it('are limited by the hour and in views, and a flood of names makes none', async () => {
    const facade = await start('max_links_per_hour = 2\nmax_views = 100\n');
    await image(facade, 'a');
    await image(facade, 'b');
    const refused = await get(facade, `/v2/${FQRN}/images/bare/manifests/latest`);
    expect([refused.status, JSON.parse(refused.body)]).toEqual([429, { errors: [expect.objectContaining({ code: 'TOOMANYREQUESTS', detail: { code: 'RESOURCE_EXHAUSTED' } })] }]);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(3500);
    // What is linked already is answered all the same.
    await image(facade, 'a');
    const flood = await Promise.all(Array.from({ length: 300 }, (_, n) => get(facade, `/v2/${FQRN}/images/none${n}/manifests/latest`)));
    expect(new Set(flood.map(({ status }) => status))).toEqual(new Set([404]));
    expect(fs.readdirSync(path.join(store, 'layers'))).toHaveLength(2);
    await stop();
    const again = await start('max_views = 2\n');
    await image(again, 'a');
    expect((await get(again, `/v2/${FQRN}/images/bare/manifests/latest`)).status).toBe(429);
  });

  it('are made with the secret alone when one is asked for, which is made for root alone', async () => {
    const facade = await start('auth = "secret"\n');
    const file = path.join(host.dir, 'state/facade-secret');
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    const secret = fs.readFileSync(file, 'utf8').trim();
    const ask = (authorization?: string): Promise<Got> => get(facade, `/v2/${FQRN}/images/a/manifests/latest`, authorization === undefined ? {} : { authorization });
    const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
    for (const wrong of [undefined, basic(''), basic('mesos-cvmfs:'), basic(`mesos-cvmfs:${secret}x`), basic(`${secret}:`), basic(`user:${secret}`), basic(secret), `Bearer ${secret}`, 'Basic ***']) {
      const { status, headers, body } = await ask(wrong);
      expect([status, headers['www-authenticate']]).toEqual([401, 'Basic realm="mesos-cvmfs"']);
      expect(body).not.toContain(secret);
    }
    expect(fs.readdirSync(path.join(store, 'layers'))).toEqual([]);
    expect((await ask(basic(`mesos-cvmfs:${secret}`))).status).toBe(200);
    expect((await ask(basic(`alice:${secret}:password`))).status).toBe(200);
    await stop();
    // The same after a restart; one that others can read is refused.
    await start('auth = "secret"\n');
    expect(fs.readFileSync(file, 'utf8').trim()).toBe(secret);
    await stop();
    fs.chmodSync(file, 0o644);
    await expect(start('auth = "secret"\n')).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringContaining('can be read or changed by others') });
  });

  it('are not made in a store that others could reach into, or that is reached through a link', async () => {
    const refused = async (change: () => void, why: RegExp): Promise<void> => {
      fs.rmSync(path.join(host.dir, 'store'), { recursive: true, force: true });
      fs.mkdirSync(path.join(host.dir, 'store'));
      change();
      await expect(start()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringMatching(why) });
    };
    store = path.join(host.dir, 'store/docker');
    await refused(() => fs.chmodSync(path.join(host.dir, 'store'), 0o777), /can be written by others \(mode 0777\); run: chmod go-w/);
    await refused(() => {
      fs.mkdirSync(store);
      fs.chmodSync(store, 0o1777);
    }, /can be written by others/);
    await refused(() => {
      fs.mkdirSync(store);
      fs.chownSync(store, 12_345, 0);
    }, /belongs to user 12345/);
    await refused(() => {
      fs.mkdirSync(path.join(host.dir, 'store/real'));
      fs.symlinkSync('real', store);
    }, /is a symbolic link/);
    await refused(() => {
      fs.mkdirSync(store);
      fs.mkdirSync(path.join(host.dir, 'store/layers'));
      fs.symlinkSync('../layers', path.join(store, 'layers'));
    }, /layers is a symbolic link/);
  });

  it('are not made while the tree does not answer, and come by themselves when it does', async () => {
    const facade = await start();
    const view = tree('a');
    // A directory on the way has become a link, as no publish could make it: what would be linked is looked at as it is.
    fs.renameSync(view, `${view}.real`);
    fs.symlinkSync('/etc', view);
    const refused = await get(facade, `/v2/${FQRN}/images/a/manifests/latest`);
    expect(refused.status).toBe(500);
    expect(fs.readdirSync(path.join(store, 'layers'))).toEqual([]);
    fs.rmSync(view);
    fs.renameSync(`${view}.real`, view);
    const layer = await image(facade);
    expect(target(layer)).toBe(view);
  });
});
