/**
 * The secret of the facade as an agent takes it: a docker configuration in a file of its own, mode 0600 below state_dir, so
 * that the secret stands in no list of processes and in no file that others read.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import type { Config } from '../../config/config';
import { ensureSecret, FACADE_USER, secretFile } from '../../../provisioner/facade/secret';
import { isObject } from '../../marathon/check-shape';
import type { Json } from '../../marathon/json-text';

export function dockerConfigFile({ stateDir }: Config): string {
  return path.join(stateDir, 'docker-config.json');
}

/** Agents look credentials up by `host:port` as it stands in the name of the image. */
export function dockerConfig(config: Config, secret: string): { auths: Record<string, { auth: string }> } {
  const auth = Buffer.from(`${FACADE_USER}:${secret}`).toString('base64');
  return { auths: Object.fromEntries(['127.0.0.1', 'localhost'].map((host) => [`${host}:${config.facade.listen.port}`, { auth }])) };
}

/** Writes it, making the secret when there is none yet; answers the file. */
export function writeDockerConfig(config: Config): string {
  if (process.geteuid!() !== 0) throw new Failure('PERMISSION_DENIED', 'only root may read the secret of the facade (facade.auth)', { next: 'run it as root' });
  fs.mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  const file = dockerConfigFile(config);
  const temp = `${file}.${process.pid}.tmp`;
  const text = `${JSON.stringify(dockerConfig(config, ensureSecret(secretFile(config.stateDir))), null, 2)}\n`;
  fs.rmSync(temp, { force: true });
  fs.writeFileSync(temp, text, { mode: 0o600, flag: 'wx' });
  fs.renameSync(temp, file);
  return file;
}

/** Whether a docker configuration, as text, lets the agent in. */
export function hasSecret(text: string, config: Config, secret: string): boolean {
  let given: Json;
  try {
    given = JSON.parse(text) as Json;
  } catch {
    return false;
  }
  // The older form has the hosts at the top.
  const auths = isObject(given) && isObject(given['auths']) ? given['auths'] : given;
  if (!isObject(auths)) return false;
  return Object.entries(dockerConfig(config, secret).auths).some(([host, { auth }]) => {
    const entry = auths[host];
    return isObject(entry) && entry['auth'] === auth;
  });
}
