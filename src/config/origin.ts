/** Where a value comes from, so that `config dump` can answer "who set this?" for each one, and what it warns about. */

export type Origin =
  | { readonly kind: 'default' }
  | { readonly kind: 'file'; readonly file: string; readonly line?: number }
  | { readonly kind: 'parameter'; readonly name: string; readonly file: string; readonly line: number }
  | { readonly kind: 'flag'; readonly flag: string }
  | { readonly kind: 'environment' };

/** One line of `config dump`. */
export interface ConfigEntry {
  /** As one would write it: `cache.limit`, `repositories."a.example.org".servers`. */
  readonly key: string;
  /** Plain JSON data; durations and sizes as their texts; secrets already removed. */
  readonly value: unknown;
  readonly origin: Origin;
  /** True when something was removed from the value. */
  readonly redacted: boolean;
}

/** Something to tell the operator; the process that reads the configuration puts it into its health registry. */
export interface ConfigWarning {
  readonly code: string;
  readonly title: string;
  readonly text: string;
  readonly severity: 'info' | 'warning' | 'error';
  /** Tells warnings of one code apart: a repository's name. */
  readonly subject?: string;
}

/** `/etc/mesos-cvmfs/config.toml:12`, `CVMFS_SERVER_URL in /etc/cvmfs/default.local:3`, `--proxy`, `default`. */
export function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'default':
      return 'default';
    case 'file':
      return origin.line === undefined ? origin.file : `${origin.file}:${origin.line}`;
    case 'parameter':
      return origin.line === 0 ? `${origin.name} of ${origin.file}` : `${origin.name} in ${origin.file}:${origin.line}`;
    case 'flag':
      return origin.flag;
    case 'environment':
      return 'environment';
  }
}
