/**
 * The descriptors that requests are read from, and how they choose what the death of this process means.
 *
 * Where the kernel repeats requests (6.9), all workers read the mount's own descriptor: it outlives this process, and with
 * it the requests that were taken, which the successor has repeated. Where it does not, those would wait for ever. So
 * there the workers read through clones that this process alone holds: its death ends what it had taken with ECONNABORTED,
 * and nothing else; what nobody has read waits for the successor.
 */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import type { Libc } from '../../native/libc';
import { cloneInto } from '../kernel/clone';
import type { Negotiated } from '../kernel/init';

/** `devices`, opened and unattached, become this mount's or are closed. */
export function requestDevices(libc: Pick<Libc, 'ioctl'>, { resend }: Negotiated, fuseFd: number, devices: readonly number[]): readonly number[] {
  if (resend) {
    for (const device of devices) fs.closeSync(device);
    return [fuseFd];
  }
  if (devices.length === 0) throw new Failure('FAILED_PRECONDITION', 'the kernel does not repeat requests, and no devices came that they could be read from');
  for (const device of devices) cloneInto(libc, device, fuseFd);
  return devices;
}
