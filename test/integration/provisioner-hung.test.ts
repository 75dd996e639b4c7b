/** A repository whose file system server does not answer, mounted for real: it holds up its own callers and nobody else. Needs root. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { MS_NODEV, MS_NOSUID, libc } from '../../src/native/libc';
import type { Image } from '../../provisioner/grpc/generated/messages.generated';
import type { FoundImage } from '../../provisioner/images';
import { Failure } from '../../src/error';
import type { Snapshot, ViewPath, WalkedEntry } from '../../src/repository/reader';
import { DirectoryRepository, FixedMounts, viewOf } from '../support/provisioner/directory-repository';
import type { Host, Running } from '../support/provisioner/service';
import { CALL, FQRN, cvmfsImage, makeHost, startOn } from '../support/provisioner/service';

const describeAsRoot = process.geteuid?.() === 0 && fs.existsSync('/dev/fuse') ? describe : describe.skip;
const HUNG = 'hung.example.org';

/** Its server still answers over the control socket; the mount itself does not. */
class HungRepository extends DirectoryRepository {
  /** Asked for a start profile. The one that it inherits would look below the mount, and hang this very process. */
  override walk(_snapshot: Snapshot, asked: Buffer): Promise<WalkedEntry> {
    return Promise.reject(new Failure('NOT_FOUND', `${asked.toString()} is not in ${this.fqrn}`));
  }

  override makeView(): Promise<ViewPath> {
    const view = viewOf('/images/a');
    return Promise.resolve({ view, pathInView: Buffer.from('/'), pathInMount: Buffer.from(`.cvmfs-view/${view}`) });
  }
}

function found({ cvmfs }: Image): FoundImage {
  const image = cvmfs!;
  return {
    reference: `cvmfs://${image.repository}${image.path}`,
    repository: image.repository,
    path: Buffer.from(image.path),
    snapshot: { rootHash: '1'.repeat(40), revision: 1 },
    digest: `sha256:${viewOf(image.repository + image.path).padEnd(64, '0')}`,
    manifest: { config: { Entrypoint: [], Env: [], Cmd: [], Labels: {} } },
    configSource: 'none',
    warnings: [],
  };
}

describeAsRoot('a hung file system (needs root and /dev/fuse)', () => {
  let host: Host;
  let running: Running;
  let device: number;
  let hung: HungRepository;

  beforeEach(async () => {
    host = makeHost();
    const mountpoint = path.join(host.dir, 'cvmfs', HUNG);
    fs.mkdirSync(mountpoint);
    device = fs.openSync('/dev/fuse', 'r+');
    // Nobody ever reads a request from this descriptor.
    libc().mount('hung', mountpoint, 'fuse', MS_NOSUID | MS_NODEV, `fd=${device},rootmode=40000,user_id=0,group_id=0`);
    hung = new HungRepository(HUNG, mountpoint);
    const images = { reference: (image: Image) => found(image).reference, references: (image: Image) => [found(image).reference], resolve: (image: Image) => Promise.resolve(found(image)) };
    running = await startOn(host, { mounts: new FixedMounts([new DirectoryRepository(FQRN, host.mountpoint), hung]), world: { images }, limits: { mountTimeoutMs: 3000, holdTimeoutMs: 500 } });
  });

  afterEach(async () => {
    fs.closeSync(device);
    await running.stop();
    host.remove();
  });

  const provision = (id: string, image: Image) => running.provisioner.Provision({ container_id: { value: id }, image }, CALL);
  const hungImage: Image = { type: 'CVMFS', cvmfs: { repository: HUNG, path: '/images/a' } };

  it('fails at the deadline of the mount while others are served, and leaves nothing', async () => {
    const waiting = provision('hung', hungImage).catch((err: { code: string }) => err.code);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const good = await provision('good', cvmfsImage('a'));
    expect(fs.readFileSync(path.join(good.rootfs!, 'etc/image'), 'utf8')).toBe('a\n');
    expect(await waiting).toBe('DEADLINE_EXCEEDED');
    expect(host.mounts()).toEqual([good.rootfs]);
    expect(host.directories()).toEqual(['good']);
    expect(await running.provisioner.Destroy({ container_id: { value: 'good' } }, CALL)).toEqual({ destroyed: true });
  });

  it('serves and destroys others while many wait for the hung one', async () => {
    await provision('first', cvmfsImage('a'));
    const waiting = Array.from({ length: 20 }, (_, n) => provision(`hung${n}`, hungImage).catch((err: { code: string }) => err.code));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await running.provisioner.Destroy({ container_id: { value: 'first' } }, CALL)).toEqual({ destroyed: true });
    const second = await provision('second', cvmfsImage('b'));
    expect(host.mounts()).toEqual([second.rootfs]);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['DEADLINE_EXCEEDED']));
    expect(host.mounts()).toEqual([second.rootfs]);
    expect(host.directories()).toEqual(['second']);
  });

  it('undoes a provision whose view is not held in time', async () => {
    jest.spyOn(hung, 'holdView').mockReturnValue(new Promise(() => undefined));
    await expect(provision('c', hungImage)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', message: expect.stringContaining('holding a view') });
    expect(host.directories()).toEqual([]);
  });
});
