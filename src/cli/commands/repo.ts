/** `mesos-cvmfs repo create`, `serve` and `check`. */
import * as fs from 'node:fs';
import { hostFiles } from '../../config/host-files';
import { parseDuration } from '../../config/units';
import { hostPort } from '../../config/value-types';
import { Failure } from '../../error';
import { descriptorWriter } from '../../log/descriptor-writer';
import { print, size, table } from '../output';
import type { CommonOptions } from '../common-options';
import { untilSignal } from '../until-signal';

interface CreateOptions extends CommonOptions {
  readonly storage: string;
  readonly keys: string;
  readonly hash?: string;
  readonly ttl?: string;
}

interface ServeOptions extends CommonOptions {
  readonly storage: string;
  readonly listen?: string;
  readonly accessLog?: string;
}

interface CheckOptions extends CommonOptions {
  readonly storage: string;
  readonly keys?: string;
  readonly publicKey?: string[];
  readonly tags: boolean;
  readonly content: boolean;
}

const ALGORITHMS = ['sha1', 'rmd160', 'shake128'] as const;

/** What is wrong with a flag's value is the caller's mistake, whatever reads it calls it. */
function flag<T>(name: string, text: string, parse: (text: string) => T | undefined, expected: string): T {
  try {
    const value = parse(text);
    if (value !== undefined) return value;
  } catch (error) {
    throw new Failure('INVALID_ARGUMENT', `${name}: ${Failure.from(error).message}`);
  }
  throw new Failure('INVALID_ARGUMENT', `${name}: ${JSON.stringify(text)} is not ${expected}`);
}

export async function create(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const [fqrn] = args as [string];
  const options = given as unknown as CreateOptions;
  const hashAlgorithm = options.hash === undefined ? undefined : flag('--hash', options.hash, (text) => ALGORITHMS.find((one) => one === text), `one of ${ALGORITHMS.join(', ')}`);
  const ttlMs = options.ttl === undefined ? undefined : flag('--ttl', options.ttl, parseDuration, 'a duration');
  const { createRepository } = await import('../../publish/repo-create');
  const made = await createRepository({
    fqrn,
    storage: options.storage,
    keys: options.keys,
    ...(hashAlgorithm === undefined ? {} : { hashAlgorithm }),
    ...(ttlMs === undefined ? {} : { ttlSeconds: Math.ceil(ttlMs / 1000) }),
  });
  const expires = made.whitelistExpires.toISOString();
  print(
    options.json === true,
    { fqrn: made.fqrn, storage: made.storage, revision: made.revision, root_hash: made.rootHash, public_key: made.publicKeyFile, whitelist_expires: expires },
    table([
      ['repository', made.fqrn],
      ['storage', made.storage],
      ['public key', made.publicKeyFile],
      ['whitelist', `valid until ${expires}`],
    ]),
  );
}

export async function serve(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const [fqrn] = args as [string];
  const options = given as unknown as ServeOptions;
  const { host, port } = flag('--listen', options.listen ?? '127.0.0.1:0', hostPort.parse, hostPort.expected);
  const { serveRepository } = await import('../../publish/repo-serve');
  const log = options.accessLog === undefined ? undefined : descriptorWriter(fs.openSync(options.accessLog, 'a', 0o644), (dropped) => `${dropped} lines were dropped\n`);
  const asked = untilSignal();
  const server = await serveRepository({ fqrn, storage: options.storage, host, port, ...(log === undefined ? {} : { accessLog: (line) => log(`${line}\n`) }) });
  const { url } = server;
  process.stdout.write(options.json === true ? `${JSON.stringify({ fqrn, url, host: server.host, port: server.port })}\n` : `serving ${url}\n`);
  await asked;
  await server.close();
}

export async function check(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const [fqrn] = args as [string];
  const options = given as unknown as CheckOptions;
  const [{ checkRepository }, { checkRepositoryName }, { readPublicKey }] = await Promise.all([import('../../publish/repo-check'), import('../../cvmfs/repository-name'), import('../../publish/keys')]);
  const masterKeys = (options.publicKey ?? []).map((file) => flag('--public-key', file, hostFiles.read, 'a file that exists'));
  if (options.keys !== undefined) {
    const key = readPublicKey(options.keys, checkRepositoryName(fqrn));
    if (key === undefined) throw new Failure('NOT_FOUND', `there is no ${fqrn}.pub in ${options.keys}`, { next: 'see whether --keys and the repository name are right' });
    masterKeys.push(key);
  }
  if (masterKeys.length === 0) throw new Failure('INVALID_ARGUMENT', 'repo check: no key is given, so nothing could be trusted', { next: 'give --keys DIR or --public-key FILE' });
  const report = await checkRepository({ fqrn, storage: options.storage, masterKeys, tags: options.tags, content: options.content });
  const lines = report.findings.map(({ severity, where, what }) => `${severity}: ${where}: ${what}\n`);
  const summary = `${fqrn} revision ${report.revision ?? '?'}: ${report.catalogs} catalogs, ${report.entries} entries, ${report.objects} objects, ${size(report.bytes)}: ${report.faults === 0 ? 'sound' : `${report.faults} faults`}\n`;
  print(options.json === true, { ...report, revision: report.revision ?? null }, `${lines.join('')}${summary}`);
  if (report.faults > 0) throw new Failure('OBJECT_CORRUPT', `${fqrn} in ${options.storage} has ${report.faults} faults`, { next: 'publish again, or restore what is damaged from a copy' });
}
