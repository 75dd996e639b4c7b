/** Publishing in a process of its own: with worker threads, killed at every step, locked out by another. */
import { execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { compile } from '../support/compiled';
import { Fixture, FQRN } from '../unit/publish/repository-fixture';

jest.setTimeout(120_000);

let compiled: string;
let fixture: Fixture;
beforeAll(() => {
  compiled = compile('src/error.ts', 'src/native', 'src/cvmfs', 'src/publish');
});
afterAll(() => fs.rmSync(compiled, { recursive: true, force: true }));
beforeEach(async () => {
  fixture = await new Fixture().create();
});
afterEach(() => fixture.remove());

interface Outcome {
  readonly output: string;
  readonly signal: string | null;
  readonly code: number | null;
}

/** Runs a publish; `world` is JavaScript for more of its world, `maxFileBlocks` a limit of the shell's `ulimit -f`. */
function publishInProcess(world = '', options = '{}', maxFileBlocks?: number): Promise<Outcome> {
  const script = `
    const { publish } = require('./src/publish/publish.js');
    const { systemWorld } = require('./src/publish/publish-world.js');
    const options = { source: ${JSON.stringify(`dir:${fixture.source}`)}, fqrn: ${JSON.stringify(FQRN)}, storage: ${JSON.stringify(fixture.storage)}, keys: ${JSON.stringify(fixture.keys)}, ...${options} };
    publish(options, { ...systemWorld, ${world} }).then(
      (done) => console.log(JSON.stringify({ ...done, to: done.to.toString() })),
      (err) => { console.log(err.code + ': ' + err.message); process.exitCode = 1; });`;
  const limit = maxFileBlocks === undefined ? '' : `ulimit -f ${maxFileBlocks}; `;
  const child = spawn('sh', ['-c', `${limit}exec "$0" -e "$1"`, process.execPath, script], { cwd: compiled, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (piece: Buffer) => void (output += piece.toString()));
  return new Promise((resolve) => child.on('close', (code, signal) => resolve({ output, signal, code })));
}

async function expectSound(): Promise<void> {
  expect((await fixture.check()).findings).toEqual([]);
}

it('compresses in worker threads what comes out the same in one thread', async () => {
  const random = (size: number): Buffer => fixture.world.randomBytes(size);
  fixture.files(
    Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`d${i % 7}/f${i}`, i % 2 === 0 ? random(i * 50) : 'text '.repeat(i * 20)])),
  );
  fixture.files({ big: random(9_000_000), zeros: Buffer.alloc(20_000_000), '.x/.cvmfscatalog': '' });
  const { output, code } = await publishInProcess('workers: 2');
  expect(code).toBe(0);
  const threaded = JSON.parse(output) as { files: number; newObjects: number };
  expect(threaded.files).toBe(303);
  await expectSound();
  const tree = fixture.tree();
  expect(tree.get('/zeros')!.chunkOffsets).toEqual([0, 16_777_216]);
  for (const name of ['big', 'd1/f1', 'd0/f98'])
    expect(tree.get(`/${name}`)!.content!.equals(fs.readFileSync(path.join(fixture.source, name)))).toBe(true);
  // Everything is there already, so only the root catalog and the history are new.
  expect(await fixture.publish()).toMatchObject({ newObjects: 2, catalogs: 1 });
});

it('fails in a worker as it would in its own thread: a full disk leaves the old revision', async () => {
  fixture.files({ big: fixture.world.randomBytes(6_000_000) });
  // No file may grow beyond 1 MB, so the spool file of the worker is cut off.
  const { output, code } = await publishInProcess('workers: 1', '{}', 1000);
  expect({ code, output }).toMatchObject({ code: 1, output: expect.stringMatching(/^(SYSTEM|NO_SPACE): cannot publish .*\/big: EFBIG/) });
  expect(fixture.manifest().revision).toBe(1);
  await expectSound();
  expect((await publishInProcess('workers: 1')).code).toBe(0);
  await expectSound();
});

it('survives SIGKILL at every step: the old revision stays whole, and the next publish succeeds', async () => {
  fixture.files({ 'a/.cvmfscatalog': '', 'a/x': '1', big: fixture.world.randomBytes(6_000_000) });
  await fixture.publish();
  const steps = 9;
  for (let at = 0; at < steps; at++) {
    const before = fs.readFileSync(path.join(fixture.storage, '.cvmfspublished'));
    fixture.files({ 'a/x': `run ${at}`, big: fixture.world.randomBytes(6_000_000) });
    const { signal } = await publishInProcess(
      `onStep: (() => { let n = 0; return () => { if (n++ === ${at}) process.kill(process.pid, 'SIGKILL'); }; })()`,
    );
    expect(signal).toBe('SIGKILL');
    if (at < steps - 1) expect(fs.readFileSync(path.join(fixture.storage, '.cvmfspublished')).equals(before)).toBe(true);
    expect((await fixture.check()).faults).toBe(0);
    expect((await publishInProcess()).code).toBe(0);
    expect(fixture.tree().get('/a/x')!.content!.toString()).toBe(`run ${at}`);
    await expectSound();
    expect(fs.readdirSync(path.join(fixture.storage, 'data/txn'))).toEqual(['mesos-cvmfs-lock']);
  }
});

it('is locked out by another process, and let in when that one dies', async () => {
  fixture.files({ file: 'x' });
  const first = publishInProcess(
    `onStep: (step) => step === 'tree' ? new Promise((resolve) => { console.log('here'); setTimeout(resolve, 3000); }) : undefined`,
  );
  const lock = path.join(fixture.storage, 'data/txn');
  for (let i = 0; i < 200 && !fs.readdirSync(lock).some((name) => name.includes('.work-')); i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  const second = await publishInProcess();
  expect(second).toMatchObject({ code: 1, output: expect.stringMatching(/^FAILED_PRECONDITION: another process/) });
  expect((await first).code).toBe(0);
  expect((await publishInProcess()).code).toBe(0);
  await expectSound();
});

(process.getuid?.() === 0 ? describe : describe.skip)('on a disk that is too small (needs root)', () => {
  let small: string;
  beforeEach(() => {
    small = path.join(fixture.dir, 'small');
    fs.mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', small]);
    fs.cpSync(fixture.storage, path.join(small, 'repo'), { recursive: true });
  });
  afterEach(() => {
    execFileSync('umount', [small]);
  });

  it.each([
    ['for an object', () => fixture.files({ big: fixture.world.randomBytes(6_000_000) })],
    [
      'for many objects',
      () => fixture.files(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`f${i}`, fixture.world.randomBytes(20_000)]))),
    ],
    ['for a catalog', () => fixture.files(Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`${'long'.repeat(50)}${i}`, ''])))],
  ])('%s: the old revision stays, and with more room the same publish succeeds', async (_what, make) => {
    make();
    const storage = path.join(small, 'repo');
    const before = fs.readFileSync(path.join(storage, '.cvmfspublished'));
    await expect(fixture.publish({ storage })).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(fs.readFileSync(path.join(storage, '.cvmfspublished')).equals(before)).toBe(true);
    execFileSync('mount', ['-o', 'remount,size=100m', small]);
    expect(await fixture.publish({ storage })).toMatchObject({ revision: 2 });
    expect(fs.readdirSync(path.join(storage, 'data/txn'))).toEqual(['mesos-cvmfs-lock']);
  });
});
