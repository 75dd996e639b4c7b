/** A link that a publisher makes too long with the host's own variables: refused, and the server lives on. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { MadeRepository } from '../support/made-repository';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(60_000);

describeWithMounts('variant links', () => {
  it('never answers a target that is longer than the kernel takes', async () => {
    const repository = await MadeRepository.create('links.example.org');
    const host = new TestHost();
    try {
      repository.write({ folder: '' });
      fs.symlinkSync('$(LONG)', path.join(repository.source, 'fits'));
      fs.symlinkSync('$(LONG)$(LONG)', path.join(repository.source, 'long'));
      await repository.publish();
      const { mountpoint, serverPid } = await host.mount({ ...repository.mountSource, env: { LONG: 'x'.repeat(3_000) } });
      expect((await host.outside('readlink', [path.join(mountpoint, 'fits')])).stdout).toHaveLength(3_001);
      const refused = await host.outside('readlink', ['-v', path.join(mountpoint, 'long')]);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/Invalid argument/) });
      expect((await host.status()).mounts[0]!.server_pid).toBe(serverPid);
    } finally {
      await host.end();
      await repository.end();
    }
  });
});
