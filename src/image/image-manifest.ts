/**
 * What an image says about running it, in the form of `docker.spec.v1.ImageManifest` (proto/mesos/docker/v1.proto), from
 * the configuration object of a docker or OCI image:
 *
 *   {"architecture": "amd64", "os": "linux", "created": "…", "author": "…",
 *    "config": {"Env": ["A=1"], "Entrypoint": ["/bin/x"], "Cmd": ["y"], "WorkingDir": "/", "User": "", "Hostname": "", "Labels": {"k": "v"}}, …}
 *
 * Everything is optional and may be null. `config` of the result is always there, even when it is empty: an agent aborts
 * without it (docs/mesos-facts.md).
 */
import { Failure } from '../error';

export interface ImageConfig {
  readonly Hostname?: string;
  readonly Entrypoint: readonly string[];
  readonly Env: readonly string[];
  readonly User?: string;
  readonly Cmd: readonly string[];
  readonly WorkingDir?: string;
  readonly Labels: Readonly<Record<string, string>>;
}

export interface ImageManifest {
  /** sha256 of the configuration object, 64 hex digits, where there is one. */
  readonly id?: string;
  readonly created?: string;
  readonly author?: string;
  readonly architecture?: string;
  readonly os?: string;
  readonly config: ImageConfig;
}

/** Bytes of a configuration object, most of which is history. */
export const MAX_CONFIG_BYTES = 4 * 1024 * 1024;
/** Bytes of all texts that are kept of it: they go into messages of 4 MiB and into an execve of 2 MiB. */
export const MAX_RUNTIME_BYTES = 1024 * 1024;

export const EMPTY_MANIFEST: ImageManifest = { config: { Entrypoint: [], Env: [], Cmd: [], Labels: {} } };

/** Takes members of one object and counts what it takes. */
class Members {
  constructor(
    private readonly value: Readonly<Record<string, unknown>>,
    private readonly budget: { left: number },
  ) {}

  text(name: string): string | undefined {
    const value = this.own(name);
    return value === undefined || value === null || value === '' ? undefined : this.take(name, value);
  }

  list(name: string): string[] {
    const value = this.own(name) ?? [];
    // Very old images have a command as one string, for a shell: refused rather than guessed at.
    if (!Array.isArray(value)) throw bad(`${name} is not a list of texts`);
    return value.map((item: unknown) => this.take(name, item));
  }

  map(name: string): Record<string, string> {
    const value = this.own(name) ?? {};
    if (typeof value !== 'object' || Array.isArray(value)) throw bad(`${name} is not an object of texts`);
    const entries = Object.entries(value as object).filter(([key]) => key !== '__proto__');
    return Object.fromEntries(entries.map(([key, item]) => [this.take(name, key), this.take(name, item)]));
  }

  object(name: string): Members {
    const value = this.own(name) ?? {};
    if (typeof value !== 'object' || Array.isArray(value)) throw bad(`${name} is not an object`);
    return new Members(value as Record<string, unknown>, this.budget);
  }

  private own(name: string): unknown {
    return Object.hasOwn(this.value, name) ? this.value[name] : undefined;
  }

  private take(name: string, value: unknown): string {
    if (typeof value !== 'string') throw bad(`${name} holds something that is not a text`);
    if (value.includes('\0')) throw bad(`${name} holds a NUL`);
    this.budget.left -= Buffer.byteLength(value) + 1;
    if (this.budget.left < 0) throw bad(`its texts exceed ${MAX_RUNTIME_BYTES} bytes`);
    return value;
  }
}

function bad(why: string): Failure {
  return new Failure('FAILED_PRECONDITION', why);
}

const present = <T extends object>(value: T): T => Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T;

/** FAILED_PRECONDITION says what is wrong with it; the caller knows where it came from. */
export function parseImageConfig(bytes: Buffer, id?: string): ImageManifest {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw bad('it is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('it is not a JSON object');
  const image = new Members(value as Record<string, unknown>, { left: MAX_RUNTIME_BYTES });
  const config = image.object('config');
  return present({
    id,
    created: image.text('created'),
    author: image.text('author'),
    architecture: image.text('architecture'),
    os: image.text('os'),
    config: present({
      Hostname: config.text('Hostname'),
      Entrypoint: config.list('Entrypoint'),
      Env: config.list('Env'),
      User: config.text('User'),
      Cmd: config.list('Cmd'),
      WorkingDir: config.text('WorkingDir'),
      Labels: config.map('Labels'),
    }),
  });
}
