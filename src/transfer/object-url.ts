/**
 * URLs of objects (spec 6.3): the server's base URL as it is, then the path with every byte escaped that is not a letter,
 * a digit or one of `/ : . @ + - _ ~ [ ] ,`; so a path can carry neither a query nor a fragment, nor end the request line.
 */
import { Failure } from '../error';
import { printable } from './transfer-log';

const MAX_PATH_BYTES = 8_192;

/** Checks a server's base URL and takes the slashes off its end. Throws CONFIG_INVALID; never shows a password. */
export function serverUrl(text: string): string {
  const hidden = printable(text.replace(/\/\/.*@/, '//[redacted]@'));
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Failure('CONFIG_INVALID', `"${hidden}" is not the URL of a server`, { next: 'write http://host/cvmfs/repository' });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new Failure('CONFIG_INVALID', `server "${hidden}" is reached by ${url.protocol}//, which is not offered`, { next: 'serve the repository over http or https' });
  }
  if (url.username !== '' || url.password !== '') {
    throw new Failure('CONFIG_INVALID', `server "${hidden}" carries a user name or password, which would reach every proxy and its log`, { next: 'leave them out' });
  }
  if (url.search !== '' || url.hash !== '' || !/^[\x21-\x7e]+$/.test(text)) {
    throw new Failure('CONFIG_INVALID', `server "${hidden}" has a query, a fragment, blanks or bytes that are not ASCII`, { next: 'write http://host/cvmfs/repository' });
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

/** The path as it stands in the URL, without a leading slash. Throws INVALID_ARGUMENT for one that could leave the base URL. */
export function escapePath(path: string | Buffer): string {
  const bytes = typeof path === 'string' ? Buffer.from(path) : path;
  if (bytes.length > MAX_PATH_BYTES) throw new Failure('INVALID_ARGUMENT', `a path of ${bytes.length} bytes is over the limit of ${MAX_PATH_BYTES}`);
  const text = bytes.toString('latin1').replace(/^\/+/, '');
  // A proxy or server normalises dot segments: the request would be for another repository's file.
  if (text === '' || text.split('/').some((segment) => segment === '..' || segment === '.')) {
    throw new Failure('INVALID_ARGUMENT', `"${printable(bytes)}" is not the path of an object`);
  }
  return text.replace(/[^A-Za-z0-9/:.@+\-_~[\],]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`);
}
