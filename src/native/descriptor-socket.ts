/**
 * File descriptors that travel between processes: SCM_RIGHTS over an AF_UNIX socket that both sides have open already.
 * Neither call ever waits.
 *
 * The bytes of a message are its framing: on a stream socket both sides agree on their number, since the kernel may cut
 * and join messages there, though it never lets a read go past the first bytes that carry descriptors.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import koffi from 'koffi';
import { Failure } from '../error';

/** Descriptors in one message; the kernel's own limit is 253. */
export const MESSAGE_DESCRIPTORS_MAX = 64;

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x08;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

/*
 * struct msghdr (64 bit): 0 name, 8 namelen, 16 iov, 24 iovlen, 32 control, 40 controllen, 48 flags
 * struct iovec: 0 base, 8 len        struct cmsghdr: 0 len (with these 16 bytes), 8 level, 12 type, 16 data
 */
const MSGHDR_BYTES = 56;
const IOVEC_BYTES = 16;
const CMSGHDR_BYTES = 16;
const CONTROL_AT = 32;
const CONTROL_LENGTH_AT = 40;
const FLAGS_AT = 48;

const controlBytes = (descriptors: number): number => CMSGHDR_BYTES + Math.ceil((descriptors * 4) / 8) * 8;

export interface ReceivedDescriptors {
  readonly payload: Buffer;
  /** The caller's to close. They are close-on-exec. */
  readonly fds: readonly number[];
}

export interface DescriptorSocket {
  /** Sends all of `payload`, at least one byte, with the descriptors, which stay open here. False: no room at this moment. */
  send(socket: number, payload: Buffer, fds: readonly number[]): boolean;
  /**
   * Receives up to `payloadBytes` bytes and the descriptors that came with them. Null: nothing is there. An empty payload:
   * the other end has closed. What was cut short is closed again and is a Failure RESOURCE_EXHAUSTED.
   */
  receive(socket: number, payloadBytes: number, descriptorsMax: number): ReceivedDescriptors | null;
}

function failure(call: string): Failure {
  const number = koffi.errno();
  const errno = Object.entries(os.constants.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`;
  return new Failure('SYSTEM', `${call}: ${errno}`, { data: { errno } });
}

/** A message header over the two buffers; all of them must be kept until the call is over. */
function messageHeader(payload: Buffer, control: Buffer | null): { header: Buffer; vector: Buffer } {
  const vector = Buffer.alloc(IOVEC_BYTES);
  vector.writeBigUInt64LE(koffi.address(payload), 0);
  vector.writeBigUInt64LE(BigInt(payload.length), 8);
  const header = Buffer.alloc(MSGHDR_BYTES);
  header.writeBigUInt64LE(koffi.address(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  if (control !== null) {
    header.writeBigUInt64LE(koffi.address(control), CONTROL_AT);
    header.writeBigUInt64LE(BigInt(control.length), CONTROL_LENGTH_AT);
  }
  return { header, vector };
}

/** Every descriptor in the control messages of the kernel's answer. */
function descriptorsIn(control: Buffer): number[] {
  const fds: number[] = [];
  for (let at = 0; at + CMSGHDR_BYTES <= control.length; ) {
    const length = Number(control.readBigUInt64LE(at));
    if (length < CMSGHDR_BYTES || at + length > control.length) break;
    if (control.readInt32LE(at + 8) === SOL_SOCKET && control.readInt32LE(at + 12) === SCM_RIGHTS) {
      for (let fd = at + CMSGHDR_BYTES; fd + 4 <= at + length; fd += 4) fds.push(control.readInt32LE(fd));
    }
    at += Math.ceil(length / 8) * 8;
  }
  return fds;
}

/** Binds the calls. Not at import: the library is loaded here. */
export function descriptorSocket(): DescriptorSocket {
  const lib = koffi.load('libc.so.6');
  const cSendmsg = lib.func('long sendmsg(int fd, const void *message, int flags)');
  const cRecvmsg = lib.func('long recvmsg(int fd, void *message, int flags)');
  const again = (): boolean => [os.constants.errno.EAGAIN, os.constants.errno.EWOULDBLOCK, os.constants.errno.ENOBUFS].includes(koffi.errno());

  return {
    send(socket, payload, fds) {
      if (payload.length === 0 || fds.length > MESSAGE_DESCRIPTORS_MAX) throw new Failure('INVALID_ARGUMENT', `a message of ${payload.length} bytes with ${fds.length} descriptors; 1 byte at least, ${MESSAGE_DESCRIPTORS_MAX} descriptors at most`);
      const control = fds.length === 0 ? null : Buffer.alloc(controlBytes(fds.length));
      if (control !== null) {
        control.writeBigUInt64LE(BigInt(CMSGHDR_BYTES + 4 * fds.length), 0);
        control.writeInt32LE(SOL_SOCKET, 8);
        control.writeInt32LE(SCM_RIGHTS, 12);
        fds.forEach((fd, i) => control.writeInt32LE(fd, CMSGHDR_BYTES + 4 * i));
      }
      const { header, vector } = messageHeader(payload, control);
      const sent = Number(cSendmsg(socket, header, MSG_DONTWAIT | MSG_NOSIGNAL));
      if (sent < 0) {
        if (again()) return false;
        throw failure('sendmsg');
      }
      if (sent !== payload.length || vector.length === 0) throw new Failure('SYSTEM', `sendmsg: ${sent} of ${payload.length} bytes went`);
      return true;
    },

    receive(socket, payloadBytes, descriptorsMax) {
      if (payloadBytes < 1 || descriptorsMax > MESSAGE_DESCRIPTORS_MAX) throw new Failure('INVALID_ARGUMENT', `room for ${payloadBytes} bytes and ${descriptorsMax} descriptors; 1 byte at least, ${MESSAGE_DESCRIPTORS_MAX} descriptors at most`);
      const payload = Buffer.alloc(payloadBytes);
      const control = Buffer.alloc(controlBytes(descriptorsMax));
      const { header, vector } = messageHeader(payload, control);
      const got = Number(cRecvmsg(socket, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
      if (got < 0) {
        if (again()) return null;
        throw failure('recvmsg');
      }
      const fds = descriptorsIn(control.subarray(0, Math.min(control.length, Number(header.readBigUInt64LE(CONTROL_LENGTH_AT)))));
      const flags = header.readInt32LE(FLAGS_AT);
      // The room for descriptors is rounded up to eight bytes, so one too many may have come without a word.
      if ((flags & (MSG_CTRUNC | MSG_TRUNC)) !== 0 || fds.length > descriptorsMax || vector.length === 0) {
        for (const fd of fds) fs.closeSync(fd);
        throw new Failure('RESOURCE_EXHAUSTED', `a message with more than ${payloadBytes} bytes or ${descriptorsMax} descriptors came, or this process has as many descriptors as it may have`);
      }
      return { payload: payload.subarray(0, got), fds };
    },
  };
}
