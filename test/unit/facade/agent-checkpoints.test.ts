import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { readAgentUses } from '../../../provisioner/facade/agent-checkpoints';
import type { AgentUses } from '../../../provisioner/facade/agent-checkpoints';
import { checkpointMessage, fieldsOf } from '../../../provisioner/facade/protobuf-reader';
import { field, numberField, writeCheckpoint, writeConfig, writeLayers, writeStoredImages } from '../../support/agent-files';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;

describe('what an agent has written down', () => {
  let dir: string;
  let workDir: string;
  let runtimeDir: string;
  let store: string;

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mca-'));
    [workDir, runtimeDir, store] = ['work', 'runtime', 'store'].map((name) => path.join(dir, name)) as [string, string, string];
    fs.mkdirSync(workDir);
  });
  afterEach(() => fs.rmSync(dir, { recursive: true }));

  const read = (): Promise<AgentUses> => readAgentUses({ workDir, runtimeDir, dockerStoreDir: store });
  const found = async (): Promise<string[]> => (await read()).uses.map((use) => `${use.container} ${use.digest.slice(7, 8)}`).sort();

  it('tells the layers of containers and of those nested in them, whatever the store is called', async () => {
    writeLayers(workDir, ['root'], store, [digest('1')]);
    writeLayers(workDir, ['root', 'child', 'grandchild'], '/another/spelling', [digest('2'), digest('3')]);
    expect(await found()).toEqual(['root 1', 'root/child/grandchild 2', 'root/child/grandchild 3']);
    expect((await read()).problems).toEqual([]);
  });

  it('tells images and image volumes of running containers through the index of the store', async () => {
    writeStoredImages(store, [
      { registry: '127.0.0.1:61080', repository: 'a.example.org/x', tag: '1', layers: [digest('1')] },
      { repository: 'debian', layers: [digest('2')] },
      { repository: 'unused', tag: 'latest', layers: [digest('3')] },
    ]);
    writeConfig(runtimeDir, ['c'], '127.0.0.1:61080/a.example.org/x:1', ['debian', 'not/there:1']);
    const ended = writeConfig(runtimeDir, ['c', 'ended'], 'debian');
    fs.writeFileSync(path.join(path.dirname(ended), 'termination'), '');
    expect(await found()).toEqual(['c 1', 'c 2']);
    expect([...(await read()).stored].sort()).toEqual([digest('1'), digest('2'), digest('3')]);
  });

  it('tells an image of a task or an executor', async () => {
    writeStoredImages(store, [{ repository: 'debian', layers: [digest('2')] }]);
    const info = field(5, field(1, Buffer.concat([numberField(1, 2), field(3, field(1, 'debian'))])));
    writeCheckpoint(path.join(runtimeDir, 'containers/task/config'), field(9, field(9, info)));
    writeCheckpoint(path.join(runtimeDir, 'containers/executor/config'), field(8, field(11, info)));
    expect(await found()).toEqual(['executor 2', 'task 2']);
  });

  it('is nothing before the first container, and after a power cut that emptied a file', async () => {
    expect(await read()).toEqual({ uses: [], stored: new Set(), problems: [] });
    fs.mkdirSync(path.join(workDir, 'provisioner/containers/c'), { recursive: true });
    fs.writeFileSync(path.join(workDir, 'provisioner/containers/c/layers'), '');
    expect(await read()).toEqual({ uses: [], stored: new Set(), problems: [] });
  });

  it('is not believed to be all when something cannot be read, and what can be read is told', async () => {
    writeLayers(workDir, ['good'], store, [digest('1')]);
    const broken: Record<string, Buffer> = {
      short: Buffer.from([1, 2]),
      cut: Buffer.from([9, 0, 0, 0, 10, 3, 97]),
      groups: Buffer.from([1, 0, 0, 0, 0x0b]),
      beyond: Buffer.from([3, 0, 0, 0, 10, 200, 1]),
      endless: Buffer.from([12, 0, 0, 0, ...Array<number>(12).fill(0xff)]),
    };
    for (const [name, bytes] of Object.entries(broken)) {
      fs.mkdirSync(path.join(workDir, 'provisioner/containers', name), { recursive: true });
      fs.writeFileSync(path.join(workDir, 'provisioner/containers', name, 'layers'), bytes);
    }
    const { uses, problems } = await read();
    expect(uses.map(({ container }) => container)).toEqual(['good']);
    expect(problems).toHaveLength(Object.keys(broken).length);
  });

  it('is not followed elsewhere, waited for, or read without end', async () => {
    const containers = path.join(workDir, 'provisioner/containers');
    for (const name of ['link', 'fifo', 'huge', 'directory']) fs.mkdirSync(path.join(containers, name), { recursive: true });
    writeCheckpoint(path.join(dir, 'elsewhere'), field(1, `/x/layers/${digest('9')}/rootfs.overlay`));
    fs.symlinkSync(path.join(dir, 'elsewhere'), path.join(containers, 'link/layers'));
    require('node:child_process').execFileSync('mkfifo', [path.join(containers, 'fifo/layers')]);
    fs.writeFileSync(path.join(containers, 'huge/layers'), '');
    fs.truncateSync(path.join(containers, 'huge/layers'), 1e12);
    fs.mkdirSync(path.join(containers, 'directory/layers'));
    fs.symlinkSync(containers, path.join(containers, 'loop'));
    const { uses, problems } = await read();
    expect(uses).toEqual([]);
    expect(problems).toHaveLength(4);
    // One that does not exist is not the agent's.
    fs.rmSync(workDir, { recursive: true });
    expect((await read()).problems).toEqual([expect.stringContaining('not the agent’s --work_dir')]);
  });

  it('is read whatever other fields later versions add', () => {
    const message = Buffer.concat([numberField(200, 2 ** 40), field(1, 'a'), Buffer.from([0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7d, 1, 2, 3, 4]), field(1, 'b'), field(3, 'c')]);
    expect(fieldsOf(message, 1).map(String)).toEqual(['a', 'b']);
    expect(checkpointMessage(Buffer.alloc(0))).toBeUndefined();
  });
});
