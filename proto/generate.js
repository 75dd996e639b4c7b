'use strict';
/**
 * Writes provisioner/grpc/generated/ from the contracts in this folder: `node proto/generate.js`.
 *
 * messages.generated.ts has one interface per message that a service of ours can reach, and the methods of each service.
 * An interface is what the loader's options in provisioner/grpc/protos.ts yield, and it is honest because
 * provisioner/grpc/presence.ts has checked the bytes before: required members are there, repeated ones and maps are never
 * undefined, enums are one of their names, 64-bit numbers are decimal strings (a double would round them).
 * A proto3 field counts as required when its comment begins with "Required.".
 *
 * shapes.generated.ts has the same as data, for that check, and descriptors.generated.ts the contracts as protoc compiles
 * them, for reflection: the descriptors that proto-loader makes call every file proto3 and lose `required`, and a client
 * that looks at them closely refuses `mesos.Image.Type`, an enum without a zero. Writing needs protoc.
 */
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const protobuf = require(require.resolve('protobufjs', { paths: [path.dirname(require.resolve('@grpc/proto-loader'))] }));

const roots = ['mesos/cvmfs/v1/provisioner.proto', 'mesos/cvmfs/v1/admin.proto', 'mesos/cvmfs/v1/isolator.proto'];
const outDir = path.join(__dirname, '../provisioner/grpc/generated');
const header = "// Written by 'node proto/generate.js' from proto/; change the contracts, not this file.\n";

const numbers = ['double', 'float', 'int32', 'uint32', 'sint32', 'fixed32', 'sfixed32'];
const longs = ['int64', 'uint64', 'sint64', 'fixed64', 'sfixed64'];

function load() {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => path.join(__dirname, target);
  root.loadSync(roots, { keepCase: true, alternateCommentMode: true });
  root.resolveAll();
  return root;
}

/** Every message and enum that the services reach, in a stable order. */
function reachable(services) {
  const found = new Set();
  const visit = (type) => {
    if (found.has(type)) return;
    found.add(type);
    if (type instanceof protobuf.Enum) return;
    if (type.oneofsArray.length > 0) throw new Error(`${type.fullName}: oneof is not supported by this generator`);
    for (const field of type.fieldsArray) if (field.resolvedType) visit(field.resolvedType);
  };
  for (const service of services) {
    for (const method of service.methodsArray) {
      if (method.requestStream || method.responseStream) throw new Error(`${method.fullName}: streams are not supported by this generator`);
      visit(method.resolvedRequestType);
      visit(method.resolvedResponseType);
    }
  }
  return [...found].sort((a, b) => (a.fullName < b.fullName ? -1 : 1));
}

const protoName = (type) => type.fullName.slice(1);

/** `mesos.Image.Docker` → `ImageDocker`: a package's components are in lower case, a type's are not. */
const tsName = (type) => protoName(type).split('.').filter((part) => /^[A-Z]/.test(part)).join('');

const isRequired = (field) => field.required || (field.comment ?? '').startsWith('Required.');

function scalar(field) {
  if (field.resolvedType) return tsName(field.resolvedType);
  if (numbers.includes(field.type)) return 'number';
  if (longs.includes(field.type)) return 'string';
  if (field.type === 'bool') return 'boolean';
  return field.type === 'bytes' ? 'Buffer' : 'string';
}

function member(field) {
  const type = field.map ? `Readonly<Record<string, ${scalar(field)}>>` : field.repeated ? `readonly ${scalar(field)}[]` : scalar(field);
  const optional = field.map || field.repeated || isRequired(field) ? '' : '?';
  return `  /** ${field.comment} */\n  readonly ${field.name}${optional}: ${type};\n`;
}

function declaration(type) {
  const comment = `/** ${type.comment}${/[.:]$/.test(type.comment) ? '' : '.'} (\`${protoName(type)}\`) */\n`;
  if (type instanceof protobuf.Enum) return `${comment}export type ${tsName(type)} = ${Object.keys(type.values).map((name) => `'${name}'`).join(' | ')};\n`;
  if (type.fieldsArray.length === 0) return `${comment}export type ${tsName(type)} = Readonly<Record<never, never>>;\n`;
  return `${comment}export interface ${tsName(type)} {\n${type.fieldsArray.map(member).join('')}}\n`;
}

function serviceDeclaration(service) {
  const methods = service.methodsArray.map(
    (method) => `  /** ${method.comment} */\n  readonly ${method.name}: { readonly request: ${tsName(method.resolvedRequestType)}; readonly response: ${tsName(method.resolvedResponseType)} };\n`,
  );
  return `/** ${service.comment} (\`${protoName(service)}\`) */\nexport interface ${service.name}Methods {\n${methods.join('')}}\n`;
}

function shapeOf(field) {
  if (field.repeated && !field.resolvedType && !['string', 'bytes'].includes(field.type)) throw new Error(`${field.fullName}: repeated numbers (packed) are not supported`);
  if (field.repeated && field.resolvedType instanceof protobuf.Enum) throw new Error(`${field.fullName}: repeated enums (packed) are not supported`);
  const parts = [`name: '${field.name}'`, `type: '${field.resolvedType instanceof protobuf.Enum ? 'enum' : field.resolvedType ? 'message' : field.type}'`];
  if (field.resolvedType instanceof protobuf.Enum) parts.push(`values: { ${Object.entries(field.resolvedType.values).map(([name, value]) => `${value}: '${name}'`).join(', ')} }`);
  else if (field.resolvedType) parts.push(`message: '${protoName(field.resolvedType)}'`);
  if (isRequired(field)) parts.push('required: true');
  if (field.repeated) parts.push('repeated: true');
  return `{ ${parts.join(', ')} }`;
}

/** A map is a repeated message with the fields key and value. */
function mapShapes(field) {
  if (field.resolvedType) throw new Error(`${field.fullName}: a map of messages is not supported by this generator`);
  const entry = `${protoName(field.parent)}.${field.name}Entry`;
  return {
    own: `{ name: '${field.name}', type: 'message', message: '${entry}', repeated: true }`,
    entry: `  '${entry}': {\n    1: { name: 'key', type: '${field.keyType}' },\n    2: { name: 'value', type: '${field.type}' },\n  },\n`,
  };
}

function shape(type) {
  const entries = [];
  const lines = type.fieldsArray.map((field) => {
    if (!field.map) return `    ${field.id}: ${shapeOf(field)},\n`;
    const { own, entry } = mapShapes(field);
    entries.push(entry);
    return `    ${field.id}: ${own},\n`;
  });
  return `  '${protoName(type)}': {\n${lines.join('')}  },\n${entries.join('')}`;
}

/** The contracts as a FileDescriptorSet, imports included; undefined without protoc. */
function descriptors() {
  const temp = fs.mkdtempSync(path.join(os.tmpdir(), 'protoc-'));
  const file = path.join(temp, 'set');
  const run = spawnSync('protoc', ['-I', __dirname, '--include_imports', `--descriptor_set_out=${file}`, ...roots]);
  const set = run.status === 0 ? fs.readFileSync(file) : undefined;
  fs.rmSync(temp, { recursive: true });
  if (run.error) return undefined;
  if (set === undefined) throw new Error(`protoc: ${run.stderr}`);
  const lines = set.toString('base64').match(/.{1,140}/g).map((line) => `  '${line}',\n`);
  return `${header}\n/** A google.protobuf.FileDescriptorSet in base64. */\nexport const DESCRIPTOR_SET = [\n${lines.join('')}].join('');\n`;
}

/** File name → text of everything that is generated; the descriptors are absent without protoc. */
function generate() {
  const root = load();
  const services = ['mesos.cvmfs.v1.Provisioner', 'mesos.cvmfs.v1.Admin', 'mesos.cvmfs.v1.Isolator'].map((name) => root.lookupService(name));
  const types = reachable(services);
  const names = types.map(tsName);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`two messages would both be called ${twice}`);
  const messages = types.filter((type) => type instanceof protobuf.Type);
  const compiled = descriptors();
  return {
    ...(compiled === undefined ? {} : { 'descriptors.generated.ts': compiled }),
    'messages.generated.ts': `${header}\n${[...types.map(declaration), ...services.map(serviceDeclaration)].join('\n')}`,
    'shapes.generated.ts':
      `${header}import type { MessageShape } from '../presence';\n\n` +
      `/** Fields by number of each message that a request can hold (provisioner/grpc/presence.ts). */\n` +
      `export const SHAPES: Readonly<Record<string, MessageShape>> = {\n${messages.map(shape).join('')}};\n`,
  };
}

module.exports = { generate, outDir };

if (require.main === module) {
  const files = generate();
  if (!('descriptors.generated.ts' in files)) throw new Error('protoc is missing: apt-get install protobuf-compiler');
  fs.mkdirSync(outDir, { recursive: true });
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(outDir, name), text);
}
