import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { MountedClient } from '../../../src/fuse/control/mounted-client';
import type { ControlServer } from '../../../src/fuse/control/control-server';
import { listenControl } from '../../../src/fuse/control/control-server';
import { silentLogger } from '../../../src/log/logger';
import { libc } from '../../../src/native/libc';

const HASH = 'a'.repeat(40);
const OTHER = 'b'.repeat(40);
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** What root believes of a file system server, which a hostile repository may have taken over. */
describe('the answers of a file system server', () => {
  let dir: string;
  let server: ControlServer;
  let client: MountedClient;
  let answer: unknown;

  beforeEach(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mcc-'));
    const methods = Object.fromEntries(['makeView', 'restoreView', 'snapshot', 'walk'].map((name) => [name, () => answer]));
    server = await listenControl({ path: path.join(dir, 'control.sock'), methods, allowedUids: [process.getuid!()], peerCredentials: libc().peerCredentials, log: silentLogger });
    client = new MountedClient({ id: '0', repository: 'r.example.org', mountpoint: '/m', device: '0:1', dir, serverPid: 1, serverVersion: null, replaceable: true, unserved: null, serverDeath: 'waits', inodeBits: 64, cacheDir: '/c' });
  });

  afterEach(() => {
    client.close();
    server.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  const make = (): Promise<unknown> => client.makeView({ rootHash: HASH, revision: 1 }, Buffer.from('/images/a'));
  const view = (pathInView: string, pathInMount: string, hash = HASH): object => ({ view: hash, pathInView: base64(pathInView), pathInMount: base64(pathInMount) });

  it('are taken when they are what a server says', async () => {
    answer = view('/a', `.cvmfs-view/${HASH}/a`);
    await expect(make()).resolves.toMatchObject({ view: HASH, pathInView: Buffer.from('/a') });
    answer = view('/', `.cvmfs-view/${HASH}`);
    await expect(make()).resolves.toMatchObject({ pathInView: Buffer.from('/') });
  });

  it.each([
    ['a path beside the views', view('/a', 'images/a')],
    ['a path out of the mount', view('/../../etc', `.cvmfs-view/${HASH}/../../etc`)],
    ['dots', view('/./a', `.cvmfs-view/${HASH}/./a`)],
    ['a NUL', view('/a\0', `.cvmfs-view/${HASH}/a\0`)],
    ['another directory', view('/b', `.cvmfs-view/${HASH}/b`)],
    ['two views', view('/a', `.cvmfs-view/${OTHER}/a`)],
    ['no hash', view('/a', '.cvmfs-view/../a', '..')],
    ['no view at all', { view: HASH }],
    ['nothing', null],
  ])('are refused when a view has %s', async (_, said) => {
    answer = said;
    await expect(make()).rejects.toMatchObject({ code: 'INTERNAL', message: expect.stringMatching(/absurd answer/) });
  });

  it('are refused when a view that is made again is another', async () => {
    answer = view('/a', `.cvmfs-view/${OTHER}/a`, OTHER);
    await expect(client.restoreView(HASH, Buffer.from('/a'))).rejects.toThrow(/another view/);
  });

  it.each([{ rootHash: '../../x', revision: 1 }, { rootHash: HASH, revision: 1.5 }, { rootHash: HASH, revision: -1 }, { rootHash: HASH, revision: 1e300 }])('are refused as a snapshot: %p', async (said) => {
    answer = said;
    await expect(client.snapshot()).rejects.toThrow(/absurd answer/);
  });

  (process.getuid!() === 0 ? it : it.skip)('are not even asked for when somebody else listens', async () => {
    answer = { rootHash: HASH, revision: 1 };
    fs.chownSync(dir, 12_345, 12_345);
    await expect(client.snapshot()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
  });
});
