/** What files say they need: real programs of this machine, and planted ones. */
import * as fs from 'node:fs';
import { elfNeeds } from '../../../../src/fuse/server/speculation/elf-needs';
import { isPyc, pythonImports } from '../../../../src/fuse/server/speculation/python-needs';
import { scriptNeeds } from '../../../../src/fuse/server/speculation/script-needs';
import { execFileSync } from 'node:child_process';
import * as os from 'node:os';
import * as path from 'node:path';

const reader = (bytes: Buffer) => (offset: number, length: number) => (offset >= 0 && offset <= bytes.length ? bytes.subarray(offset, offset + length) : Buffer.alloc(0));

/** A 64-bit program of one LOAD segment, with `needed`, a run path and an interpreter. */
function elf(options: { readonly needed?: readonly string[]; readonly runPath?: string; readonly tag?: number; readonly tamper?: (bytes: Buffer) => void } = {}): Buffer {
  const strings = Buffer.from(`\0${[...(options.needed ?? ['libc.so.6']), options.runPath ?? '$ORIGIN/../lib'].join('\0')}\0`);
  const at = { interp: 0x200, dynamic: 0x240, strings: 0x600 };
  const bytes = Buffer.alloc(at.strings + strings.length);
  Buffer.from('7f454c46020101', 'hex').copy(bytes);
  bytes.writeUInt16LE(3, 16);
  bytes.writeUInt16LE(62, 18);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(3, 56);
  const segment = (i: number, type: number, offset: number, address: number, length: number): void => {
    bytes.writeUInt32LE(type, 64 + i * 56);
    bytes.writeBigUInt64LE(BigInt(offset), 64 + i * 56 + 8);
    bytes.writeBigUInt64LE(BigInt(address), 64 + i * 56 + 16);
    bytes.writeBigUInt64LE(BigInt(length), 64 + i * 56 + 32);
  };
  const interp = Buffer.from('/lib64/ld-linux-x86-64.so.2\0');
  interp.copy(bytes, at.interp);
  segment(0, 1, 0, 0x400000, bytes.length);
  segment(1, 3, at.interp, 0x400000 + at.interp, interp.length);
  let position = 1;
  const tags: [number, number][] = [];
  for (const name of options.needed ?? ['libc.so.6']) {
    tags.push([1, position]);
    position += name.length + 1;
  }
  tags.push([options.tag ?? 29, position], [5, 0x400000 + at.strings], [10, strings.length], [0, 0]);
  tags.forEach(([tag, value], i) => {
    bytes.writeBigUInt64LE(BigInt(tag), at.dynamic + i * 16);
    bytes.writeBigUInt64LE(BigInt(value), at.dynamic + i * 16 + 8);
  });
  segment(2, 2, at.dynamic, 0x400000 + at.dynamic, tags.length * 16);
  strings.copy(bytes, at.strings);
  options.tamper?.(bytes);
  return bytes;
}

describe('what a program needs', () => {
  it('is what the dynamic loader of this machine says, for its own programs', () => {
    const node = fs.readFileSync(process.execPath);
    const needs = elfNeeds(reader(node))!;
    expect(needs.interpreter).toMatch(/^\/lib(64)?\/ld-/);
    expect(needs.libraries).toEqual(expect.arrayContaining(['libc.so.6', 'libm.so.6']));
    const listed = execFileSync('ldd', [process.execPath]).toString();
    for (const library of needs.libraries) expect(listed).toContain(library);
  });

  it('has a run path, the newer kind before the older', () => {
    expect(elfNeeds(reader(elf()))).toEqual({ interpreter: '/lib64/ld-linux-x86-64.so.2', libraries: ['libc.so.6'], runPath: ['$ORIGIN/../lib'], triplet: 'x86_64-linux-gnu' });
    expect(elfNeeds(reader(elf({ tag: 15, runPath: '/opt/a:/opt/b' })))?.runPath).toEqual(['/opt/a', '/opt/b']);
  });

  it.each<[string, (bytes: Buffer) => void]>([
    ['a table of 65,535 headers', (bytes) => bytes.writeUInt16LE(0xffff, 56)],
    ['headers beyond the end', (bytes) => bytes.writeBigUInt64LE(1n << 60n, 32)],
    ['headers of no bytes', (bytes) => bytes.writeUInt16LE(0, 54)],
    ['an unknown class', (bytes) => (bytes[4] = 7)],
    ['a core dump', (bytes) => bytes.writeUInt16LE(4, 16)],
  ])('is nothing for %s', (_, tamper) => {
    expect(elfNeeds(reader(elf({ tamper })))).toBeNull();
  });

  it.each<[string, (bytes: Buffer) => void]>([
    ['strings outside of every segment', (bytes) => bytes.writeBigUInt64LE(5n, 0x240 + 2 * 16 + 8)],
    ['a dynamic section beyond the end', (bytes) => bytes.writeBigUInt64LE(1n << 50n, 64 + 2 * 56 + 8)],
    ['a name that begins beyond its table', (bytes) => bytes.writeBigUInt64LE(1n << 40n, 0x240 + 8)],
  ])('has no libraries for %s', (_, tamper) => {
    expect(elfNeeds(reader(elf({ tamper })))?.libraries ?? []).toEqual([]);
  });

  it('asks for no more bytes than a start reads, however large the tables say they are', () => {
    let most = 0;
    const bytes = elf({ tamper: (planted) => [64 + 32, 64 + 56 + 32, 64 + 112 + 32, 0x240 + 3 * 16 + 8].forEach((at) => planted.writeBigUInt64LE(1n << 45n, at)) });
    elfNeeds((offset, length) => {
      most = Math.max(most, length);
      return reader(bytes)(offset, length);
    });
    expect(most).toBeLessThanOrEqual(4 << 20);
  });

  it('survives any damage of any byte', () => {
    const sound = elf({ needed: ['liba.so', 'libb.so'] });
    for (let at = 0; at < sound.length; at++) {
      for (const bit of [1, 0x80]) {
        const bytes = Buffer.from(sound);
        bytes[at]! ^= bit;
        expect(() => elfNeeds(reader(bytes))).not.toThrow();
      }
      expect(() => elfNeeds(reader(sound.subarray(0, at)))).not.toThrow();
    }
  });
});

describe('what a script needs', () => {
  it.each([
    ['#!/usr/bin/perl -w\n', '/usr/bin/perl', null],
    ['#! /bin/sh', '/bin/sh', null],
    ['#!/usr/bin/env python3\n', '/usr/bin/env', 'python3'],
    ['#!/usr/bin/env -S A=1 node --x\n', '/usr/bin/env', 'node'],
  ])('%j', (text, interpreter, program) => {
    expect(scriptNeeds(Buffer.from(text))).toEqual({ interpreter, program });
  });

  it.each(['#!\n', '#!perl\n', 'echo\n', '', '#', `#!${'\0'.repeat(10)}`])('is nothing in %j', (text) => {
    expect(scriptNeeds(Buffer.from(text))).toBeNull();
  });

  it('is nothing behind the bytes that the kernel looks at', () => {
    expect(scriptNeeds(Buffer.from(`#!/usr/bin/env ${' '.repeat(300)}python3\n`))).toEqual({ interpreter: '/usr/bin/env', program: null });
  });
});

describe('what a compiled Python module imports', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-test-'));
  afterAll(() => fs.rmSync(dir, { recursive: true }));
  const compiled = (text: string): Buffer => {
    fs.writeFileSync(path.join(dir, 'm.py'), text);
    execFileSync('python3', ['-c', `import py_compile; py_compile.compile(${JSON.stringify(path.join(dir, 'm.py'))}, ${JSON.stringify(path.join(dir, 'm.pyc'))}, doraise=True)`]);
    return fs.readFileSync(path.join(dir, 'm.pyc'));
  };

  it('is what its own code imports, not what its functions would', () => {
    const bytes = compiled(
      ['"""text"""', 'import os, a.b.c as d', 'from . import near', 'from ..up import x, y', 'try:', '    import fast', 'except ImportError:', '    fast = None', 'def f(q=(1, 2.5, 3j, "s", b"b", frozenset([7]), 2**80)):', '    import late', ...Array.from({ length: 300 }, (_, i) => `v${i} = "${i}"`), 'import after'].join('\n'),
    );
    if (!isPyc(bytes)) return; // a Python that this does not read
    expect(pythonImports(bytes)).toEqual([
      { level: 0, module: 'os', names: [] },
      expect.objectContaining({ level: 0, module: 'a.b.c' }),
      { level: 1, module: '', names: ['near'] },
      { level: 2, module: 'up', names: ['x', 'y'] },
      { level: 0, module: 'fast', names: [] },
      { level: 0, module: 'after', names: [] },
    ]);
  });

  it('is nothing for damaged files, whatever the damage', () => {
    const sound = compiled('import os\nimport sys\nx = (1, ("a", "b"))\n');
    for (let at = 0; at < sound.length; at++) {
      for (const byte of [0, 0x28, 0x63, 0x72, 0xff]) {
        const bytes = Buffer.from(sound);
        bytes[at] = byte;
        expect(() => pythonImports(bytes)).not.toThrow();
      }
      expect(() => pythonImports(sound.subarray(0, at))).not.toThrow();
    }
    const deep = Buffer.concat([sound.subarray(0, 16 + 21), Buffer.alloc(500_000, ')\x01', 'latin1')]);
    expect(pythonImports(deep)).toEqual([]);
  });
});
