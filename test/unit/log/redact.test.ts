import { Writable } from 'node:stream';
import * as fc from 'fast-check';
import type { LogFormat } from '../../../src/log/logger';
import { createLogger } from '../../../src/log/service-logger';
import { isSecretKey, redact, redactText, REDACTED } from '../../../src/log/redact';

const SECRET = 'hunter2hunter2';

describe('secrets', () => {
  const texts = [
    `http://user:${SECRET}@proxy:3128|http://other:${SECRET}@p2:3128;DIRECT`,
    `GET https://user:${SECRET}@registry.example.org/v2/ failed`,
    `https://user:an@${SECRET}@registry.example.org`,
    `Authorization: Basic ${SECRET}`,
    `proxy-authorization: Bearer ${SECRET}`,
    `{"Authorization":"Bearer ${SECRET}"}`,
    `authorization=${SECRET}`,
    `answered to Bearer ${SECRET}==`,
    `started with --password=${SECRET}`,
    `{"password":"${SECRET}"}`,
    `https://registry/token?service=x&token=${SECRET}&scope=y`,
    `-----BEGIN RSA PRIVATE KEY-----\n${SECRET}\n-----END RSA PRIVATE KEY-----`,
    `-----BEGIN PRIVATE KEY-----\n${SECRET}`,
  ];
  const records: Record<string, unknown>[] = [
    { password: SECRET },
    { a: { b: [{ dbPassword: SECRET }] } },
    { headers: { Authorization: `Basic ${SECRET}`, 'Proxy-Authorization': SECRET, 'set-cookie': [SECRET] } },
    { auths: { 'registry.example.org': { auth: SECRET } } },
    { dockerConfig: { value: SECRET } },
    { config: SECRET },
    { map: new Map([['token', SECRET]]) },
    { error: new Error(`connect http://u:${SECRET}@p failed`, { cause: { secret: SECRET } }) },
    { bytes: Buffer.from(SECRET) },
  ];

  it.each(texts)('is not in the text %#', (text) => {
    expect(redactText(text)).not.toContain(SECRET);
    expect(redactText(text)).toContain(REDACTED);
  });

  it.each(records)('is not in the record %#', (record) => {
    expect(JSON.stringify(redact(record))).not.toContain(SECRET);
  });

  it('reaches no log, in either format, as message, field or bound field', () => {
    for (const format of ['json', 'text'] satisfies LogFormat[]) {
      let written = '';
      const destination = new Writable({
        write(chunk, _encoding, done) {
          written += String(chunk);
          done();
        },
      });
      const log = createLogger({ destination, format, level: 'debug' });
      for (const text of texts) {
        log.info(text, { text });
        log.child({ text }).debug('bound');
      }
      for (const record of records) log.child(record).error('bound', record);
      expect(written).not.toContain(SECRET);
      expect(written.split('\n').length).toBeGreaterThan(30);
    }
  });

  it('keeps what is no secret', () => {
    const harmless = 'http://squid1:3128|http://squid2:3128;DIRECT asked https://s1.example.org/cvmfs/a.b@latest for user@host: /data/aa/bb';
    expect(redactText(harmless)).toBe(harmless);
    expect(redactText('-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----')).toContain('abc');
    for (const key of ['author', 'tokens_total', 'configured', 'path', 'passthrough', 'repository']) expect(isSecretKey(key)).toBe(false);
    for (const key of ['auth', 'config', 'identityToken', 'PASSWORD', 'facade.auth', 'X-Secret', 'private-key']) expect(isSecretKey(key)).toBe(true);
    expect(redact({ token: undefined, auth: false })).toEqual({ token: undefined, auth: false });
  });

  it('is bounded for cyclic, deep and wide values', () => {
    const cyclic: Record<string, unknown> = {};
    cyclic['self'] = cyclic;
    let deep: unknown = 'end';
    for (let level = 0; level < 10_000; level++) deep = { deep };
    const shown = JSON.stringify(redact({ cyclic, deep, wide: new Array(1_000_000).fill('x'), long: 'x'.repeat(1_000_000) }));
    expect(shown.length).toBeLessThan(30_000);
  });

  it('never throws, and what it gives can be written', () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withNullPrototype: true }), (value) => {
        expect(typeof JSON.stringify({ value: redact(value) })).toBe('string');
      }),
    );
  });
});
