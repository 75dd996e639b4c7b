/**
 * The main thread's part of a rehearsal: it opens the made-up mount and serves it to nobody, with the same classes and calls
 * as at a takeover. The first time that code runs it is read, compiled and interpreted, tens of milliseconds in all, for
 * which readers would wait.
 */
import * as fs from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ObjectCache } from '../../cache/object-cache';
import type { Logger } from '../../log/logger';
import type { Negotiated } from '../kernel/init';
import { readEnvelope } from './envelope';
import { FileSystemServer } from './file-system-server';
import type { ThreadSetup } from './thread-tree';

/** After so many its time has stopped falling. */
const ROUNDS = 4;
/** Of a kernel with everything that this program asks for. */
const NEGOTIATED: Negotiated = { minor: 45, flags: String((1n << 24n) | (1n << 17n)), resend: true, passthrough: false };
const ID = '000000000000';

export interface MainRehearsalWorld {
  readonly log: Logger;
  readonly version: string;
  readonly setup: ThreadSetup;
  readonly cache: ObjectCache;
  /** True when somebody waits for this process. */
  readonly wanted: () => boolean;
}

export async function rehearseMain(world: MainRehearsalWorld): Promise<void> {
  const { setup, cache, log, version, wanted } = world;
  const file = `${setup.dir}/envelope.${process.pid}`;
  const envelopeFd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_TRUNC | fs.constants.O_NOFOLLOW, 0o600);
  const nowhere = fs.openSync('/dev/null', 'r+');
  try {
    fs.rmSync(file);
    fs.writeSync(envelopeFd, JSON.stringify({ id: ID, mountpoint: '/rehearsal', dir: setup.dir, config: setup.config }));
    for (let round = 0; round < ROUNDS && !wanted(); round++) {
      const server = await FileSystemServer.open(readEnvelope(envelopeFd), {
        log,
        fuseFd: nowhere,
        indexFd: setup.indexFd,
        // What goes wrong in a rehearsal ends the rehearsal.
        die: (why) => {
          throw new Error(why);
        },
        sayGone: () => undefined,
        version,
        trimMemory: () => undefined,
        readers: { read: () => undefined, progress: () => ({ workers: [] }), taken: new SharedArrayBuffer(256) },
        devices: () => [nowhere],
        openCache: () => Promise.resolve(cache),
      });
      server.serve({ negotiated: NEGOTIATED, resend: true });
      await server.close();
      await nextTurn();
    }
  } finally {
    fs.closeSync(envelopeFd);
    fs.closeSync(nowhere);
  }
}
