/** A service of a test's own: takes what its manager kept, says what it got in a file, and does what the test wants. */
import * as fs from 'node:fs';
import { descriptorStore } from '../../src/fuse/keeper/descriptor-store';
import { descriptors } from '../../src/native/descriptor';
import { notifySocketOf } from '../../src/native/notify-socket';
import { createDescriptorLogger } from '../../src/log/descriptor-logger';

const { devices, put, remove, alive, file } = JSON.parse(process.argv[2]!) as { devices: Record<string, string>; put: string[]; remove: string[]; alive: boolean; file: string };

const store = descriptorStore({
  environment: process.env,
  pid: process.pid,
  socket: notifySocketOf(process.env),
  // What no test could mount as an unprivileged user: a connection that lives.
  descriptors: alive ? { ...descriptors(), hungUp: () => false } : descriptors(),
  log: createDescriptorLogger(2),
});
const taken = store.take(new Map(Object.entries(devices)));
for (const id of put) store.put(id, fs.openSync('/dev/fuse', 'r+'));
for (const id of remove) store.remove(id);
const seen = {
  taken: [...taken].map(([id, fd]) => [id, fs.readlinkSync(`/proc/self/fd/${fd}`)]),
  environment: Object.keys(process.env).filter((name) => name.startsWith('LISTEN_')),
  // What a program that it starts would inherit.
  inherited: [...taken.values()].filter((fd) => (parseInt(/^flags:\s*([0-7]+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))![1]!, 8) & 0o2000000) === 0),
  managed: store.managed,
};
fs.writeFileSync(file, JSON.stringify(seen));
store.ready('a test\nof  its own');
setInterval(() => undefined, 60_000);
