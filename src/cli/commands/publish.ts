/** `mesos-cvmfs publish`. */
import { Failure } from '../../error';
import { textToPath, pathToText } from '../../image/path-text';
import { publishProfile } from '../publish-profile';
import { publish as publishTree } from '../../publish/publish';
import { systemWorld } from '../../publish/publish-world';
import { print, size } from '../output';
import type { CommonOptions } from '../common-options';
import { readProfileFile } from './image-profile';
import { progress } from '../progress';

interface PublishOptions extends CommonOptions {
  readonly storage: string;
  readonly keys: string;
  readonly to?: string;
  readonly tag?: string;
  readonly message?: string;
  readonly compression?: string;
  readonly xattrs: boolean;
  readonly mtimeNs?: boolean;
  readonly plan?: boolean;
  readonly profile?: string;
}

export async function publish(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const [source, fqrn] = args as [string, string];
  const options = given as unknown as PublishOptions;
  const json = options.json === true;
  if (options.plan === true) throw new Failure('UNIMPLEMENTED', 'publish --plan comes with a later release');
  const { compression } = options;
  if (compression !== undefined && compression !== 'zlib' && compression !== 'none') throw new Failure('INVALID_ARGUMENT', `--compression ${JSON.stringify(compression)} is not known`, { next: 'give zlib or none' });
  const profile = options.profile === undefined ? undefined : readProfileFile(options.profile);
  const shown = progress(process.stderr, json);
  const done = await publishTree(
    {
      source,
      fqrn,
      storage: options.storage,
      keys: options.keys,
      xattrs: options.xattrs,
      ...(options.to === undefined ? {} : { to: textToPath(options.to) }),
      ...(options.tag === undefined ? {} : { tag: options.tag }),
      ...(options.message === undefined ? {} : { message: options.message }),
      ...(compression === undefined ? {} : { compression }),
      ...(options.mtimeNs === undefined ? {} : { mtimeNs: options.mtimeNs }),
    },
    {
      ...systemWorld,
      onProgress: ({ entries, bytes, newObjects, newBytes }) => shown.update(() => `${entries} entries, ${size(bytes)} read, ${newObjects} new objects, ${size(newBytes)}`),
      onWarning: (message) => {
        if (json) return;
        shown.end();
        process.stderr.write(`mesos-cvmfs: warning: ${message}\n`);
      },
    },
  ).finally(() => shown.end());
  const { to, revision, rootHash: root_hash, entries, files, bytes, newObjects: new_objects, newBytes: new_bytes, catalogs, warnings } = done;
  const path = to.length === 0 ? '/' : pathToText(to);
  if (profile !== undefined) await publishProfile(profile, { fqrn: done.fqrn, storage: options.storage, keys: options.keys, image: to.length === 0 ? Buffer.from('/') : to });
  print(
    json,
    { fqrn: done.fqrn, to: path, revision, root_hash, entries, files, bytes, new_objects, new_bytes, catalogs, warnings },
    `${done.fqrn}${path} is revision ${revision}: ${entries} entries, ${files} files, ${size(bytes)}; ${new_objects} new objects, ${size(new_bytes)}, ${catalogs} catalogs`,
  );
}
