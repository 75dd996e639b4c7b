import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { credentials, makeGenericClientConstructor, Server, ServerCredentials } from '@grpc/grpc-js';
import { Failure } from '../../../src/error';
import type { Client } from '../../../provisioner/grpc/client';
import { createClient } from '../../../provisioner/grpc/client';
import type { ProvisionerMethods, ProvisionRequest } from '../../../provisioner/grpc/generated/messages.generated';
import { MAX_REQUEST_BYTES } from '../../../provisioner/grpc/presence';
import { loadContracts } from '../../../provisioner/grpc/protos';
import { bindService } from '../../../provisioner/grpc/unary';

const contracts = loadContracts();
const timeoutMs = 5000;
let dir: string;
let server: Server;
let client: Client<ProvisionerMethods>;
let provision: (request: ProvisionRequest) => Promise<ProvisionerMethods['Provision']['response']>;

beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'grpc-'));
  const { definition, implementation } = bindService(contracts, 'mesos.cvmfs.v1.Provisioner', {
    Recover: async (request) => ({ destroyed: request.known_container_ids, quarantined: [] }),
    Provision: async (request) => provision(request),
    Destroy: () => {
      throw new Error('a bug');
    },
    PruneImages: async () => ({ freed_bytes: '18446744073709551615', pruned_images: '1' }),
  });
  server = new Server({ 'grpc.max_receive_message_length': MAX_REQUEST_BYTES });
  server.addService(definition, implementation);
  await new Promise<void>((resolve, reject) => server.bindAsync(`unix://${dir}/s`, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve())));
  client = createClient(contracts, 'mesos.cvmfs.v1.Provisioner', `unix://${dir}/s`);
});

afterAll(() => {
  client.close();
  server.forceShutdown();
  fs.rmSync(dir, { recursive: true });
});

/** Sends bytes as they are. */
function raw(bytes: Buffer): Promise<{ code: number; details: string }> {
  const stub = new (makeGenericClientConstructor({}, 'raw'))(`unix://${dir}/s`, credentials.createInsecure());
  return new Promise((resolve) => {
    stub.makeUnaryRequest('/mesos.cvmfs.v1.Provisioner/Provision', (value: Buffer) => value, (value: Buffer) => value, bytes, (error) => {
      stub.close();
      resolve({ code: error?.code ?? 0, details: error?.details ?? '' });
    });
  });
}

describe('a bound service', () => {
  it('gives the handler what was sent, and only that', async () => {
    let seen: ProvisionRequest | undefined;
    provision = async (request) => {
      seen = request;
      return {
        rootfs: '/r',
        ephemeral_volumes: ['/u', '/w'],
        docker_manifest: { config: { Env: ['A=1'], Entrypoint: [], Cmd: ['x'], Labels: { a: 'b' } } },
        image: { reference: 'x', repository: 'r.example.org', path: '/p', root_hash: 'h', revision: '9007199254740993', digest: 'd' },
      };
    };
    const response = await client.Provision({ container_id: { value: 'c', parent: { value: 'p' } }, image: { type: 'DOCKER', docker: { name: 'debian:12' } } }, { timeoutMs });
    expect(seen).toEqual({ container_id: { value: 'c', parent: { value: 'p' } }, image: { type: 'DOCKER', docker: { name: 'debian:12' } } });
    expect(response.image?.revision).toBe('9007199254740993');
    expect(response.ephemeral_volumes).toEqual(['/u', '/w']);
    expect(response.docker_manifest?.config).toEqual({ Env: ['A=1'], Entrypoint: [], Cmd: ['x'], Labels: { a: 'b' } });
    await expect(client.PruneImages({ excluded_images: [] }, { timeoutMs })).resolves.toEqual({ freed_bytes: '18446744073709551615', pruned_images: '1' });
    await expect(client.Recover({ known_container_ids: [] }, { timeoutMs })).resolves.toEqual({ destroyed: [], quarantined: [] });
  });

  it('answers INVALID_ARGUMENT, never INTERNAL, for bytes that are no request', async () => {
    await expect(raw(Buffer.from('not protobuf'))).resolves.toMatchObject({ code: 3 });
    await expect(raw(Buffer.alloc(0))).resolves.toEqual({ code: 3, details: 'ProvisionRequest.container_id: is required and absent' });
    await expect(raw(Buffer.alloc(MAX_REQUEST_BYTES + 1))).resolves.toMatchObject({ code: 8 });
  });

  it("carries a failure's code and text to the client", async () => {
    provision = async () => {
      throw new Failure('WHITELIST_EXPIRED', 'the whitelist of r.example.org has expired — käse', { next: 'ask its owner' });
    };
    const request = { container_id: { value: 'c' }, image: { type: 'DOCKER', docker: { name: 'x' } } } as const;
    const failure = await client.Provision(request, { timeoutMs }).catch((reason: unknown) => reason);
    expect(failure).toMatchObject({ code: 'WHITELIST_EXPIRED', message: 'the whitelist of r.example.org has expired — käse; ask its owner' });
    await expect(client.Destroy({ container_id: { value: 'c' } }, { timeoutMs })).rejects.toMatchObject({ code: 'INTERNAL', message: 'a bug' });
  });

  it('gives up at the deadline', async () => {
    provision = () => new Promise(() => undefined);
    const request = { container_id: { value: 'c' }, image: { type: 'DOCKER', docker: { name: 'x' } } } as const;
    await expect(client.Provision(request, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });
});
