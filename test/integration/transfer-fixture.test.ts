import * as path from 'node:path';
import { describeWithFixtures } from '../support/fixtures';
import { startHttpServer } from '../support/http-server';
import { startProxyServer } from '../support/proxy-server';
import { expecting, startTransfer } from '../support/transfer';

describeWithFixtures('a repository of the real tools', (dir) => {
  it('comes through a proxy: manifest, whitelist, and the root catalog by its hash', async () => {
    const server = await startHttpServer(path.join(dir, 'golden.cvmfs.test'));
    const proxy = await startProxyServer();
    const { transfer } = startTransfer({ servers: [server.url], proxies: [[proxy.url]] });
    try {
      const manifest = (await transfer.fetchBytes({ path: '.cvmfspublished', maxBytes: 64 * 1024 })).bytes.toString('latin1');
      const whitelist = (await transfer.fetchBytes({ path: '.cvmfswhitelist', maxBytes: 64 * 1024 })).bytes;
      expect(whitelist.toString('latin1')).toContain('Ngolden.cvmfs.test');
      const root = /^C([0-9a-f]{40})$/m.exec(manifest)![1]!;
      const { bytes } = await transfer.fetch({ path: `data/${root.slice(0, 2)}/${root.slice(2)}C`, maxBytes: 1e8 }, expecting(root));
      expect(bytes.length).toBeGreaterThan(0);
      expect(proxy.requests).toHaveLength(3);
    } finally {
      await transfer.close();
      await proxy.close();
      await server.close();
    }
  });
});
