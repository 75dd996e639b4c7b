/**
 * A 32-bit Linux program as bytes: `stat32 FILE` calls i386's stat(2), writes the first eight bytes of its structure to
 * standard output (st_dev, st_ino) and exits with the errno. It is what an image with old 32-bit programs does, without an
 * image of them; C libraries of such programs fail with EOVERFLOW when an inode number does not fit.
 */
const LOAD_ADDRESS = 0x08048000;
const HEADERS_BYTES = 52 + 32;

const CODE = Buffer.from(
  [
    '8b5c2408', // mov ebx, [esp+8]     argv[1]
    '81ec00010000', // sub esp, 256
    '89e1', // mov ecx, esp
    'b86a000000', // mov eax, 106       stat
    'cd80', // int 0x80
    'f7d8', // neg eax
    '89c6', // mov esi, eax
    'b804000000', // mov eax, 4         write
    'bb01000000', // mov ebx, 1
    '89e1', // mov ecx, esp
    'ba08000000', // mov edx, 8
    'cd80', // int 0x80
    'b801000000', // mov eax, 1         exit
    '89f3', // mov ebx, esi
    'cd80', // int 0x80
  ].join(''),
  'hex',
);

export const EOVERFLOW = 75;

export function stat32Program(): Buffer {
  const elf = Buffer.alloc(HEADERS_BYTES);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]).copy(elf);
  elf.writeUInt16LE(2, 16); // executable
  elf.writeUInt16LE(3, 18); // i386
  elf.writeUInt32LE(1, 20);
  elf.writeUInt32LE(LOAD_ADDRESS + HEADERS_BYTES, 24);
  elf.writeUInt32LE(52, 28); // program headers follow
  elf.writeUInt16LE(52, 40);
  elf.writeUInt16LE(32, 42);
  elf.writeUInt16LE(1, 44);
  elf.writeUInt32LE(1, 52); // to be loaded, whole, readable and executable
  elf.writeUInt32LE(LOAD_ADDRESS, 60);
  elf.writeUInt32LE(LOAD_ADDRESS, 64);
  elf.writeUInt32LE(HEADERS_BYTES + CODE.length, 68);
  elf.writeUInt32LE(HEADERS_BYTES + CODE.length, 72);
  elf.writeUInt32LE(5, 76);
  elf.writeUInt32LE(0x1000, 80);
  return Buffer.concat([elf, CODE]);
}
