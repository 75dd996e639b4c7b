import * as fc from 'fast-check';
import { Failure } from '../../../src/error';
import { SHAPES } from '../../../provisioner/grpc/generated/shapes.generated';
import { checkRequest, MAX_REQUEST_BYTES, MAX_REQUEST_DEPTH } from '../../../provisioner/grpc/presence';
import { loadContracts } from '../../../provisioner/grpc/protos';

const { Provision } = loadContracts().service('mesos.cvmfs.v1.Provisioner');
const { Recover } = loadContracts().service('mesos.cvmfs.v1.Provisioner');

const varint = (value: number): Buffer => {
  const bytes: number[] = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return Buffer.from([...bytes, value]);
};
const field = (number: number, ...parts: Array<Buffer | string>): Buffer => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([varint((number << 3) | 2), varint(body.length), body]);
};
const number = (at: number, value: number): Buffer => Buffer.concat([varint(at << 3), varint(value)]);

const id = field(1, field(1, 'c1'));
const docker = field(2, number(1, 2), field(3, field(1, 'debian:12')));

function refusal(bytes: Buffer, message = 'ProvisionRequest'): string {
  try {
    checkRequest(SHAPES, `mesos.cvmfs.v1.${message}`, bytes);
  } catch (reason) {
    expect(reason).toBeInstanceOf(Failure);
    return `${(reason as Failure).code} ${(reason as Failure).message}`;
  }
  return 'accepted';
}

describe('the check of a request', () => {
  it('accepts a sound request, also as the loader itself writes it', () => {
    expect(refusal(Buffer.concat([id, docker]))).toBe('accepted');
    const written = Provision.requestSerialize({ container_id: { value: 'c', parent: { value: 'p' } }, image: { type: 'CVMFS', cvmfs: { repository: 'r.example.org', path: '/p' } }, idempotency_key: 'k' });
    expect(refusal(written)).toBe('accepted');
  });

  it('names the required field that is absent, at any depth', () => {
    expect(refusal(docker)).toBe('INVALID_ARGUMENT ProvisionRequest.container_id: is required and absent');
    expect(refusal(id)).toBe('INVALID_ARGUMENT ProvisionRequest.image: is required and absent');
    expect(refusal(Buffer.concat([field(1, field(1, 'c'), field(2)), docker]))).toBe('INVALID_ARGUMENT ProvisionRequest.container_id.parent.value: is required and absent');
    expect(refusal(Buffer.concat([field(1, field(1, 'a')), field(1)]), 'RecoverRequest')).toBe('INVALID_ARGUMENT RecoverRequest.known_container_ids[1].value: is required and absent');
  });

  it('does not take an unset or unknown image type for APPC', () => {
    expect(refusal(Buffer.concat([id, field(2)]))).toBe('INVALID_ARGUMENT ProvisionRequest.image.type: is required and absent; expected one of APPC, DOCKER, CVMFS');
    expect(refusal(Buffer.concat([id, field(2, number(1, 7))]))).toBe('INVALID_ARGUMENT ProvisionRequest.image.type: 7 is not known; expected one of APPC, DOCKER, CVMFS');
    expect(refusal(Buffer.concat([id, field(2, number(1, 0))]))).toMatch(/image\.type: 0 is not known/);
  });

  it('refuses what two decoders could read differently', () => {
    expect(refusal(Buffer.concat([id, id, docker]))).toBe('INVALID_ARGUMENT ProvisionRequest.container_id: is given twice');
    expect(refusal(Buffer.concat([number(1, 5), docker]))).toMatch(/container_id: is a message, but came with wire type 0/);
    expect(refusal(Buffer.concat([field(1, field(1, Buffer.from([0x63, 0xff]))), docker]))).toMatch(/container_id\.value: is not UTF-8/);
    expect(refusal(Buffer.from([0x0b, 0x0c]))).toMatch(/wire type 3 is not allowed/);
    expect(refusal(Buffer.from([0x02, 0x00]))).toMatch(/INVALID_ARGUMENT/);
  });

  it('skips fields that a newer client may send', () => {
    expect(refusal(Buffer.concat([number(99, 1), field(98, 'new'), id, docker, Buffer.from([0xfd, 0x05, 1, 2, 3, 4])]))).toBe('accepted');
  });

  it('refuses deep nesting and absurd sizes', () => {
    const nested = (depth: number): Buffer => (depth === 1 ? field(1, 'c') : Buffer.concat([field(1, 'c'), field(2, nested(depth - 1))]));
    expect(refusal(Buffer.concat([field(1, nested(MAX_REQUEST_DEPTH)), docker]))).toBe('accepted');
    expect(refusal(Buffer.concat([field(1, nested(MAX_REQUEST_DEPTH + 1)), docker]))).toMatch(/nest deeper than 32/);
    expect(refusal(Buffer.alloc(MAX_REQUEST_BYTES + 1))).toMatch(/^RESOURCE_EXHAUSTED/);
    expect(refusal(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]))).toMatch(/end in the middle of a field/);
    expect(refusal(Buffer.from([0x10, ...Array<number>(10).fill(0xff), 1]))).toMatch(/INVALID_ARGUMENT/);
  });

  it('refuses every truncation of a sound request', () => {
    const whole = Buffer.concat([id, docker]);
    for (let length = 0; length < whole.length; length++) expect(refusal(whole.subarray(0, length))).toMatch(/^INVALID_ARGUMENT/);
  });

  it('never lets bytes through that the decoder then fails on', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (noise, wrapped) => {
        const bytes = wrapped ? Buffer.concat([id, docker, Buffer.from(noise)]) : Buffer.from(noise);
        if (refusal(bytes) === 'accepted') Provision.requestDeserialize(bytes);
        if (refusal(bytes, 'RecoverRequest') === 'accepted') Recover.requestDeserialize(bytes);
      }),
      { numRuns: 3000 },
    );
  });
});
