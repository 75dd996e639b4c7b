/**
 * The first hundreds of requests of a process run in V8's interpreter, four times slower than later ones (measured: a
 * listing of 10,000 entries 250 ms at first, 63 ms after). So a worker that nobody waits for yet answers requests that
 * nobody made, about a mount that nobody has (rehearsal.ts).
 */
import { ENTRY_BYTES } from '../kernel/attributes';
import { direntBytes } from '../kernel/directory';
import { IN_HEADER_BYTES, Op, OUT_HEADER_BYTES } from '../kernel/protocol';
import { ROOT } from '../../repository/node-id';
import type { NodeId } from '../../repository/node-id';
import type { Engine } from './engine';

const PAGE_BYTES = 4_096;
const READ_BYTES = 128 * 1024;
const DIRECTORY = 0o040000;
const LINK = 0o120000;

function request(opcode: number, node: NodeId, body: Buffer): Buffer {
  const bytes = Buffer.alloc(IN_HEADER_BYTES + body.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(opcode, 4);
  bytes.writeUInt32LE(node.rowid, 16);
  bytes.writeUInt32LE(node.index, 20);
  body.copy(bytes, IN_HEADER_BYTES);
  return bytes;
}

/** Body of a READ from the beginning. */
function wholeFile(): Buffer {
  const body = Buffer.alloc(40);
  body.writeUInt32LE(READ_BYTES, 16);
  return body;
}

/** Lists, looks up, asks for attributes and reads, again and again until `enough`, or the first thing that is not local. */
export function warmUp(engine: Engine, enough: () => boolean): void {
  try {
    for (;;) {
      const folders: NodeId[] = [ROOT];
      for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
        const cursor = Buffer.alloc(8);
        for (;;) {
          if (enough()) return;
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
              const type = page.readUInt32LE(dirent + 20) << 12;
              if (type === DIRECTORY) folders.push(node);
              else if (type === LINK) engine.answer(request(Op.READLINK, node, Buffer.alloc(0)));
              else engine.answer(request(Op.READ, node, wholeFile()));
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
