/** Makes a source of configuration objects from its text in `image_config_sources` (config-source.ts). */
import { Failure } from '../error';
import type { ConfigSource } from './config-source';
import { OciLayout } from './oci-layout';
import { Registry } from './registry';

export interface ConfigSourceOptions {
  /** How long one source may take for one object (default 5 s). */
  readonly timeoutMs?: number;
}

/** CONFIG_INVALID for a text that is none. */
export function createConfigSource(text: string, options: ConfigSourceOptions = {}): ConfigSource {
  if (text.startsWith('oci:/')) return new OciLayout(text, text.slice('oci:'.length));
  const registry = /^docker:\/\/([A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9a-f:.]+\](?::[0-9]{1,5})?)((?:\/[a-z0-9._-]+)*)$/.exec(text);
  if (registry !== null) return new Registry(text, registry[1]!, registry[2]!.slice(1), options.timeoutMs);
  throw new Failure('CONFIG_INVALID', `image_config_sources: ${JSON.stringify(text.slice(0, 200))} is no source`, { next: 'expected oci:/path of an OCI layout, or docker://registry.example.org' });
}
