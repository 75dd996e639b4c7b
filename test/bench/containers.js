'use strict';
/**
 * containers.js OUT.jsonl [containers] [images] [rounds]: what one more container costs when many are there: Provision and
 * Destroy over gRPC, overlay, through the real keeper and file system server, at several numbers of containers; all of them
 * again known to Recover, also by a service that was just started; a hundred at once; memory of all our processes; the end
 * of all.
 */
const fs = require('node:fs');
const { Scene, percentiles, recorder, timed } = require('./scene');

const CURVE = [1, 100, 500, 1000, 2000];
const AT_ONCE = 8;

async function eachAtOnce(items, work) {
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (next < items.length) await work(items[next++]);
  }));
}

async function main(out, containers, images, rounds) {
  const scene = new Scene('containers');
  const emit = recorder(out);
  try {
    scene.create();
    for (let n = 0; n < images; n++) {
      fs.mkdirSync(`${scene.dir}/images/image-${n}/etc`, { recursive: true });
      fs.writeFileSync(`${scene.dir}/images/image-${n}/.cvmfscatalog`, '');
      fs.writeFileSync(`${scene.dir}/images/image-${n}/etc/hostname`, `image-${n}\n`);
    }
    scene.publish(`dir:${scene.dir}/images`, '/images');
    scene.configure(await scene.serveRepository());
    await scene.startService();
    const imageOf = (n) => `/images/image-${n % images}`;
    for (let n = 0; n < 20; n++) await scene.provision(`warm-${n}`, imageOf(n));
    for (let n = 0; n < 20; n++) await scene.destroy(`warm-${n}`);
    const there = [];
    const ladder = [...CURVE.filter((n) => n < containers), containers];
    for (const count of ladder) {
      const wanted = Array.from({ length: count - there.length }, (_, n) => there.length + n);
      const filled = await timed(() => eachAtOnce(wanted, async (n) => {
        await scene.provision(`c-${n}`, imageOf(n));
        there.push(`c-${n}`);
      }));
      const made = [];
      const gone = [];
      for (let n = 0; n < rounds; n++) {
        made.push(await timed(() => scene.provision(`one-${n}`, imageOf(n))));
        gone.push(await timed(() => scene.destroy(`one-${n}`)));
      }
      emit('provision', { containers: count, ...percentiles(made) });
      emit('destroy', { containers: count, ...percentiles(gone) });
      emit('fill', { containers: count, whole_ms: Math.round(filled), each_ms: Number((filled / Math.max(1, wanted.length)).toFixed(2)) });
      emit('recover', { containers: count, whole_ms: Math.round(await timed(() => scene.recover(there))) });
      emit('memory', { containers: count, ...scene.memory() });
    }
    const hundred = Array.from({ length: 100 }, (_, n) => `many-${n}`);
    let failed = 0;
    const each = [];
    const whole = await timed(() => Promise.all(hundred.map(async (id, n) => each.push(await timed(() => scene.provision(id, imageOf(n)).catch(() => failed++))))));
    emit('hundred_at_once', { containers, whole_ms: Math.round(whole), failed, ...percentiles(each) });
    emit('hundred_destroyed_at_once', { containers, whole_ms: Math.round(await timed(() => Promise.all(hundred.map((id) => scene.destroy(id))))) });
    await scene.stopService();
    emit('service_start', { containers, whole_ms: Math.round(await timed(() => scene.startService())) });
    const recovered = await timed(async () => {
      const { quarantined, destroyed } = await scene.recover(there);
      if (quarantined.length + destroyed.length > 0) throw new Error(`${quarantined.length} set aside, ${destroyed.length} destroyed`);
    });
    emit('recover_after_start', { containers, whole_ms: Math.round(recovered) });
    emit('memory_after_start', { containers, ...scene.memory() });
    emit('recover_none_known', { containers, whole_ms: Math.round(await timed(() => scene.recover(there.slice(0, 1)))) });
  } finally {
    await scene.end();
  }
}

const [out = '/dev/stdout', containers = 1000, images = 20, rounds = 100] = process.argv.slice(2);
main(out, Number(containers), Number(images), Number(rounds)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
