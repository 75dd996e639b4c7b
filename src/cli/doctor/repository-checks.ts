/**
 * Each configured repository over each of its servers and proxies, as a file system server would begin: manifest,
 * whitelist, certificate, the whole trust chain. Nothing is kept.
 */
import { Failure } from '../../error';
import { checkManifest, verifyTrust } from '../../cvmfs/trust';
import type { Trusted } from '../../cvmfs/trust';
import { formatHash, hashBytes, sameHash } from '../../cvmfs/hash';
import { inflateBounded } from '../../cvmfs/inflate';
import { MAX_MANIFEST_BYTES } from '../../cvmfs/manifest';
import { objectPath } from '../../cvmfs/object';
import { MAX_WHITELIST_BYTES } from '../../cvmfs/whitelist';
import type { RepositoryConfig } from '../../config/repository-config';
import { systemClock } from '../../transfer/clock';
import { proxyEndpoint } from '../../transfer/proxy-endpoint';
import { createTransfer } from '../../transfer/transfer';
import type { TransferInfo } from '../../transfer/transfer';
import type { Check, Report } from './finding';

/** Of one server over one proxy, three small files. */
const WAY_MS = 15_000;
/** Servers times proxies of one repository; beyond, the rest is named and left out. */
const WAYS_MAX = 24;
const CERTIFICATE_BYTES_MAX = 64 * 1024;
const DAY_MS = 86_400_000;
/** As the service warns: time enough to sign a new list. */
const WHITELIST_WARN_MS = 3 * DAY_MS;
/** Further from the servers' clock than this, lists seem to expire too early or too late. */
const SKEW_MAX_MS = 5 * 60_000;

interface Way {
  readonly server: string;
  readonly proxy: string;
}

interface Seen {
  readonly trusted: Trusted;
  readonly info: TransferInfo;
}

/** `configOf` throws what is wrong with the configuration of a repository. */
export function repositoryCheck(fqrn: string, configOf: () => { readonly config: RepositoryConfig; readonly warnings: readonly string[] }): Check {
  return { name: 'repository', deadlineMs: 4 * WAY_MS, run: (report) => checkRepository(fqrn, configOf, report) };
}

async function checkRepository(fqrn: string, configOf: () => { readonly config: RepositoryConfig; readonly warnings: readonly string[] }, report: Report): Promise<void> {
  let built: ReturnType<typeof configOf>;
  try {
    built = configOf();
  } catch (error) {
    const { what, next } = Failure.from(error);
    return report.problem(what, next ?? null, fqrn);
  }
  const { config, warnings } = built;
  for (const warning of warnings) report.warning(warning, null, fqrn);
  report.ok(`${config.publicKeys.length} master public ${config.publicKeys.length === 1 ? 'key' : 'keys'}, ${config.servers.length} servers`, fqrn);

  const ways = config.servers.flatMap((server) => [...new Set(config.proxyGroups.flat())].map((proxy): Way => ({ server, proxy })));
  if (ways.length > WAYS_MAX) report.skipped(`${ways.length - WAYS_MAX} of ${ways.length} ways over servers and proxies were not tried`, fqrn);
  const seen = await Promise.all(ways.slice(0, WAYS_MAX).map(async (way) => ({ way, outcome: await look(config, way) })));
  const works = seen.some(({ outcome }) => 'trusted' in outcome);
  for (const { way, outcome } of seen) {
    const proxy = proxyEndpoint(way.proxy).label;
    const name = `${way.server}${proxy === 'DIRECT' ? '' : ` over ${proxy}`}`;
    if ('trusted' in outcome) report.ok(`${name}: revision ${outcome.trusted.manifest.revision}, signed, root catalog ${formatHash(outcome.trusted.manifest.rootHash)}`, fqrn);
    // One way that works is enough for readers, until it fails too.
    else if (works) report.warning(`${name}: ${outcome.what}`, outcome.next ?? 'mend it, or take it out of the configuration', fqrn);
    else report.problem(`${name}: ${outcome.what}`, outcome.next ?? 'see whether the address is right and the host may reach it', fqrn);
  }
  const good = seen.flatMap(({ outcome }) => ('trusted' in outcome ? [outcome] : []));
  if (good.length > 0) checkTimes(fqrn, good, report);
}

async function look(config: RepositoryConfig, { server, proxy }: Way): Promise<Seen | Failure> {
  const transfer = createTransfer(
    { servers: [server], proxies: [[proxy]], timeoutMs: Math.min(config.timeoutMs, WAY_MS), timeoutDirectMs: Math.min(config.timeoutDirectMs, WAY_MS), maxRetries: 0, totalTimeoutMs: WAY_MS, followRedirects: config.followRedirects },
    { clock: systemClock(), random: Math.random, log: () => undefined },
  );
  try {
    const [{ bytes: manifest, info }, { bytes: whitelist }] = await Promise.all([
      transfer.fetchBytes({ path: '.cvmfspublished', maxBytes: MAX_MANIFEST_BYTES, noCache: true }),
      transfer.fetchBytes({ path: '.cvmfswhitelist', maxBytes: MAX_WHITELIST_BYTES, noCache: true }),
    ]);
    const { certificate: hash } = checkManifest({ source: server, fqrn: config.fqrn, manifest });
    const { bytes: packed } = await transfer.fetchBytes({ path: objectPath({ hash, kind: 'certificate', compression: 'zlib' }), maxBytes: CERTIFICATE_BYTES_MAX });
    if (!sameHash(hashBytes(hash.algorithm, packed), hash)) throw new Failure('OBJECT_CORRUPT', `certificate of ${config.fqrn} does not have its hash`);
    const certificate = inflateBounded(packed, CERTIFICATE_BYTES_MAX);
    return { trusted: verifyTrust({ source: server, fqrn: config.fqrn, manifest, whitelist, certificate, masterKeys: config.publicKeys, blacklists: config.blacklists, now: new Date() }), info };
  } catch (error) {
    return Failure.from(error);
  } finally {
    await transfer.close();
  }
}

function checkTimes(fqrn: string, seen: readonly Seen[], report: Report): void {
  const nowMs = Date.now();
  const until = Math.min(...seen.map(({ trusted }) => trusted.whitelist.validUntil.getTime()));
  const left = `until ${new Date(until).toISOString()}`;
  if (until - nowMs < WHITELIST_WARN_MS) report.warning(`its whitelist is valid only ${left}`, 'ask its publisher to sign a new one; after that nothing new is mounted', fqrn);
  else report.ok(`its whitelist is valid ${left}`, fqrn);
  // A proxy's cache keeps the time at which it got the answer, so the latest of all is the best.
  const said = Math.max(...seen.flatMap(({ info, trusted }) => [info.date?.getTime() ?? 0, trusted.manifest.publishedAt * 1000]));
  const skew = nowMs - said;
  if (said > 0 && Math.abs(skew) > SKEW_MAX_MS && (skew < 0 || seen.some(({ info }) => info.date !== undefined && info.proxy === 'DIRECT'))) {
    report.warning(`this host's clock is ${Math.round(Math.abs(skew) / 60_000)} minutes ${skew < 0 ? 'behind' : 'before'} its servers`, 'set the clock, best by NTP', fqrn);
  } else report.ok("this host's clock agrees with its servers", fqrn);
}
