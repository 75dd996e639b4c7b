import * as https from 'node:https';
import type { AddressInfo } from 'node:net';
import * as forge from 'node-forge';
import { startTransfer } from '../support/transfer';

/** A certificate that nobody trusts. */
function selfSigned(): { key: string; cert: string } {
  const keys = forge.pki.rsa.generateKeyPair(2048);
  const cert = forge.pki.createCertificate();
  cert.publicKey = keys.publicKey;
  cert.serialNumber = '01';
  cert.validity.notBefore = new Date(Date.now() - 86_400_000);
  cert.validity.notAfter = new Date(Date.now() + 86_400_000);
  cert.setSubject([{ name: 'commonName', value: '127.0.0.1' }]);
  cert.setIssuer([{ name: 'commonName', value: '127.0.0.1' }]);
  cert.sign(keys.privateKey, forge.md.sha256.create());
  return { key: forge.pki.privateKeyToPem(keys.privateKey), cert: forge.pki.certificateToPem(cert) };
}

it('sends nothing to an https server that nobody vouches for', async () => {
  const asked = jest.fn();
  const server = https.createServer(selfSigned(), (_request, response) => {
    asked();
    response.end('hello');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { transfer } = startTransfer({ servers: [`https://127.0.0.1:${(server.address() as AddressInfo).port}/r`], timeoutDirectMs: 10_000 });
  await expect(transfer.fetchBytes({ path: 'o', maxBytes: 10 })).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringMatching(/SELF_SIGNED|self-signed/) as string });
  expect(asked).not.toHaveBeenCalled();
  await transfer.close();
  await new Promise((resolve) => server.close(resolve));
});
