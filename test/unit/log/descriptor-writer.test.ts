import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Failure } from '../../../src/error';
import { createDescriptorLogger } from '../../../src/log/descriptor-logger';

describe('a log in a file', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'log-'));
  const file = path.join(dir, 'log');
  afterAll(() => fs.rmSync(dir, { recursive: true }));

  it('begins anew when it is full, and has the last line', () => {
    const fd = fs.openSync(file, 'a');
    const log = createDescriptorLogger(fd, { fileMaxBytes: 2_000 });
    for (let i = 0; i < 200; i++) log.info(`line ${i} ${'x'.repeat(50)}`);
    fs.closeSync(fd);
    expect(fs.statSync(file).size).toBeLessThanOrEqual(2_000);
    expect(fs.readFileSync(file, 'utf8')).toContain('line 199 ');
  });

  it('says what a failure is and not where it arose, unless it is a fault of ours', () => {
    const fd = fs.openSync(file, 'w');
    const log = createDescriptorLogger(fd);
    log.error('a reader got EIO', { error: new Failure('OBJECT_MISSING', 'data/ab/cd: no server has it') });
    log.error('a fault', { error: Failure.from(new TypeError('x is undefined')) });
    fs.closeSync(fd);
    const [missing, fault] = fs.readFileSync(file, 'utf8').split('\n');
    expect(missing).toContain('OBJECT_MISSING');
    expect(missing).not.toContain('stack');
    expect(fault).toContain('stack');
  });
});
