/**
 * The first hundreds of requests of a process run in V8's interpreter, four times slower than later ones (measured: a
 * listing of 10,000 entries 250 ms at first, 63 ms after). So a reader worker of a new mount lists what its root catalog
 * holds, to nobody, before it reads its first request. A server that takes over from a dead one does not: somebody waits.
 */
import { ENTRY_BYTES } from '../kernel/attributes';
import { direntBytes } from '../kernel/directory';
import { IN_HEADER_BYTES, Op, OUT_HEADER_BYTES } from '../kernel/protocol';
import { ROOT } from '../../repository/node-id';
import type { NodeId } from '../../repository/node-id';
import type { Engine } from './engine';

const PAGE_BYTES = 4_096;
const DIRECTORY = 0o040000;

function request(opcode: number, node: NodeId, body: Buffer): Buffer {
  const bytes = Buffer.alloc(IN_HEADER_BYTES + body.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(opcode, 4);
  bytes.writeUInt32LE(node.rowid, 16);
  bytes.writeUInt32LE(node.index, 20);
  body.copy(bytes, IN_HEADER_BYTES);
  return bytes;
}

/** Lists, looks up and asks for attributes until `untilMs` (of `now`) or the end of what is local. Writes nothing anywhere. */
export function warmUp(engine: Engine, now: () => number, untilMs: number): void {
  try {
    for (;;) {
      const folders: NodeId[] = [ROOT];
      for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
        const cursor = Buffer.alloc(8);
        for (;;) {
          if (now() >= untilMs) return;
          const body = Buffer.alloc(40);
          cursor.copy(body, 8);
          body.writeUInt32LE(PAGE_BYTES, 16);
          const end = engine.answer(request(Op.READDIRPLUS, folder, body));
          if (end <= OUT_HEADER_BYTES) break;
          const page = Buffer.from(engine.reply.subarray(0, end));
          for (let at = OUT_HEADER_BYTES; at < end; ) {
            const dirent = at + ENTRY_BYTES;
            const node = { rowid: page.readUInt32LE(at), index: page.readUInt32LE(at + 4) };
            page.copy(cursor, 0, dirent + 8, dirent + 16);
            const name = page.subarray(dirent + 24, dirent + 24 + page.readUInt32LE(dirent + 16));
            if (node.rowid !== 0) {
              engine.answer(request(Op.LOOKUP, folder, Buffer.concat([name, Buffer.alloc(1)])));
              engine.answer(request(Op.GETATTR, node, Buffer.alloc(16)));
              if ((page.readUInt32LE(dirent + 20) << 12) === DIRECTORY) folders.push(node);
            }
            at += direntBytes(name.length, true);
          }
        }
      }
    }
  } catch {
    // Whatever is missing or refused: the first real request will say so.
  }
}
