'use strict';
/**
 * A TCP proxy on loopback that makes a server look far away, and its network bad:
 *
 *     node test/support/delay-proxy.js LISTEN TARGET ONE_WAY_MS
 *
 * Both are ports of 127.0.0.1; LISTEN 0 takes a free one. It prints `listening PORT`, then obeys lines on its standard
 * input: `delay MS`, `cut` (connections are reset, new ones too), `stall` (nothing passes any more), `corrupt N` (a bit of
 * one of every N pieces of an answer is flipped, 0 for none), `flow` (all is well again). Each way takes the delay, a new
 * connection one round trip more, as its handshake would; bandwidth is not limited.
 */
const net = require('node:net');

/** Bytes on their way in one direction before its sender has to wait. */
const UNDER_WAY_BYTES = 8 << 20;

/** What comes in goes out `oneWayMs` later, in order; the end of the stream too. */
class DelayLine {
  #pieces = [];
  #bytes = 0;
  #timer = null;

  constructor(from, to, world, mangle) {
    this.from = from;
    this.to = to;
    this.world = world;
    from.on('data', (piece) => {
      this.#bytes += piece.length;
      if (this.#bytes > UNDER_WAY_BYTES) from.pause();
      this.#push(mangle(piece));
    });
    from.on('end', () => this.#push(null));
    to.on('drain', () => this.flush());
    to.on('close', () => clearTimeout(this.#timer));
  }

  #push(piece) {
    this.#pieces.push({ due: performance.now() + this.world.oneWayMs, piece });
    if (this.#timer === null) this.flush();
  }

  flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.world.mode === 'stall') return;
    while (this.#pieces.length > 0 && !this.to.destroyed && !this.to.writableNeedDrain) {
      const waitMs = this.#pieces[0].due - performance.now();
      if (waitMs > 0.5) {
        this.#timer = setTimeout(() => this.flush(), waitMs);
        return;
      }
      const { piece } = this.#pieces.shift();
      if (piece === null) {
        this.to.end();
        return;
      }
      this.#bytes -= piece.length;
      this.to.write(piece);
      if (this.#bytes <= UNDER_WAY_BYTES && this.from.isPaused()) this.from.resume();
    }
  }
}

/** Resolves to the proxy: `port`, `set(line)` as on standard input, `counters`, `close()`. */
async function startDelayProxy({ listen = 0, target, oneWayMs = 0 }) {
  const world = { oneWayMs, mode: 'flow', corruptOneOf: 0 };
  const counters = { connections: 0, corrupted: 0, answered: 0 };
  const sockets = new Set();
  const lines = new Set();
  let pieces = 0;

  const same = (piece) => piece;
  const answer = (piece) => {
    counters.answered += piece.length;
    pieces += 1;
    if (world.corruptOneOf === 0 || pieces % world.corruptOneOf !== 0) return piece;
    counters.corrupted += 1;
    const bad = Buffer.from(piece);
    // Near the end: in the body of a short answer, not in its headers.
    bad[Math.max(0, bad.length - 3)] ^= 1;
    return bad;
  };

  const server = net.createServer({ noDelay: true, pauseOnConnect: true }, (client) => {
    counters.connections += 1;
    client.on('error', () => client.destroy());
    if (world.mode === 'cut') return client.resetAndDestroy();
    sockets.add(client);
    const handshake = setTimeout(() => {
      const upstream = net.connect({ host: '127.0.0.1', port: target, noDelay: true, allowHalfOpen: true });
      sockets.add(upstream);
      const pair = [new DelayLine(client, upstream, world, same), new DelayLine(upstream, client, world, answer)];
      for (const line of pair) lines.add(line);
      const end = () => {
        sockets.delete(upstream);
        for (const line of pair) lines.delete(line);
        client.destroy();
        upstream.destroy();
      };
      upstream.on('error', end);
      upstream.on('close', end);
      client.on('close', end);
      client.resume();
    }, 2 * world.oneWayMs);
    client.on('close', () => {
      clearTimeout(handshake);
      sockets.delete(client);
    });
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(listen, '127.0.0.1', resolve));

  return {
    port: server.address().port,
    counters,
    set(line) {
      const [verb, value] = line.trim().split(/\s+/);
      if (verb === 'delay') world.oneWayMs = Number(value);
      else if (verb === 'corrupt') world.corruptOneOf = Number(value);
      else if (verb === 'cut' || verb === 'stall' || verb === 'flow') {
        world.mode = verb;
        if (verb === 'cut') for (const socket of sockets) socket.resetAndDestroy();
        if (verb === 'flow') {
          world.corruptOneOf = 0;
          for (const one of lines) one.flush();
        }
      } else throw new Error(`no such command: ${line}`);
    },
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

async function main([listen, target, oneWayMs]) {
  if (oneWayMs === undefined) throw new Error('usage: delay-proxy.js LISTEN TARGET ONE_WAY_MS');
  const proxy = await startDelayProxy({ listen: Number(listen), target: Number(target), oneWayMs: Number(oneWayMs) });
  process.stdout.write(`listening ${proxy.port}\n`);
  process.stdin.resume();
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => proxy.set(line));
}

module.exports = { startDelayProxy };
if (require.main === module) {
  main(process.argv.slice(2)).catch((error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
}
