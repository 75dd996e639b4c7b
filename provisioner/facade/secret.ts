/**
 * The secret of `facade.auth = "secret"`: `<state_dir>/facade-secret`, one line, mode 0600, made at installation or at the
 * first start. An agent sends it as the password of Basic authentication on every request (`--docker_config`):
 *
 *     mesos-cvmfs:<secret>                    what the repositories hold, and the fallback registries without credentials
 *     <user>:<secret>:<password>              the same, and <user>:<password> for the fallback registries
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../src/error';

/** The user name that stands for no credentials of a registry. */
export const FACADE_USER = 'mesos-cvmfs';
const SECRET = /^[A-Za-z0-9_-]{22,256}$/;
const SECRET_BYTES = 32;
const FILE_BYTES_MAX = 512;

export interface RegistryCredentials {
  readonly user: string;
  readonly password: string;
}

export function secretFile(stateDir: string): string {
  return path.join(stateDir, 'facade-secret');
}

function refuse(file: string, what: string): Failure {
  return new Failure('FAILED_PRECONDITION', `the secret of the facade, ${file}, ${what}`, { next: 'remove it: the next start makes a new one, which agents get by mesos-cvmfs agent flags' });
}

/** The secret, or undefined when there is none. FAILED_PRECONDITION when others could read it or it is none. */
export function readSecret(file: string): string | undefined {
  let fd: number;
  try {
    fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') throw refuse(file, 'is a symbolic link');
    throw Failure.from(err, 'the secret of the facade');
  }
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) throw refuse(file, 'is not a file');
    if (stat.uid !== process.geteuid!() || (stat.mode & 0o077) !== 0) throw refuse(file, 'can be read or changed by others');
    const bytes = Buffer.alloc(FILE_BYTES_MAX);
    const secret = bytes.toString('latin1', 0, fs.readSync(fd, bytes)).trim();
    if (!SECRET.test(secret)) throw refuse(file, 'does not hold one line of 22 or more of A-Z a-z 0-9 _ -');
    return secret;
  } finally {
    fs.closeSync(fd);
  }
}

/** The secret of this host, made when there is none. */
export function ensureSecret(file: string): string {
  const there = readSecret(file);
  if (there !== undefined) return there;
  const temp = `${file}.${process.pid}.tmp`;
  fs.rmSync(temp, { force: true });
  const fd = fs.openSync(temp, fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW, 0o600);
  try {
    fs.writeSync(fd, `${randomBytes(SECRET_BYTES).toString('base64url')}\n`);
    // Agents are configured with it: one that is lost with a power cut would lock them out.
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  // Not over one that somebody else has made meanwhile.
  try {
    fs.linkSync(temp, file);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw Failure.from(err, 'the secret of the facade');
  } finally {
    fs.rmSync(temp, { force: true });
  }
  return readSecret(file)!;
}

const hashed = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Whom an `Authorization` header lets in; undefined: nobody. The comparison takes the same time for every wrong secret. */
export function admitted(header: string | undefined, secret: string): { readonly credentials?: RegistryCredentials } | undefined {
  const match = /^Basic ([A-Za-z0-9+/]{1,8192}={0,2})$/i.exec(header ?? '');
  const text = Buffer.from(match?.[1] ?? '', 'base64').toString('utf8');
  const colon = text.indexOf(':');
  const user = text.slice(0, Math.max(colon, 0));
  const rest = text.slice(colon + 1);
  const own = user === FACADE_USER;
  const end = own ? rest.length : rest.indexOf(':');
  const given = end < 0 ? '' : rest.slice(0, end);
  if (!timingSafeEqual(hashed(given), hashed(secret)) || colon < 0) return undefined;
  return own ? {} : { credentials: { user, password: rest.slice(end + 1) } };
}
