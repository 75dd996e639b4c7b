/**
 * The bounded part of the fault suite (`make test-faults` is the whole): some dozens of processes are killed under readers in
 * containers while revisions are published, the network misbehaves and the disk fills, and no read fails or is wrong.
 */
import { describeWithMounts } from '../support/test-host';
import { runFaults } from './fault-run';
import { asText, good } from './report';

/** Another one every day would find more, and nobody could say what changed. */
const SEED = 20_260;
const KILLS = 30;
const MINUTES = 1;

jest.setTimeout(300_000);

describeWithMounts('readers in containers', () => {
  it('do not notice that processes are killed, revisions published, the network cut and the disk filled', async () => {
    const report = await runFaults({ seed: SEED, kills: KILLS, minutes: MINUTES, meanPauseMs: 700, size: 'small' });
    if (!good(report)) throw new Error(asText(report));
    expect(report.kills.processes).toBeGreaterThan(0);
    // Every way of reading was used, and every one found what was published.
    for (const kind of ['whole', 'pread', 'mmap', 'list', 'walk', 'lstat', 'exec', 'held', 'view', 'copy-up', 'probe']) expect({ kind, read: (report.reads[kind] ?? 0) > 0 }).toEqual({ kind, read: true });
  });
});
