/**
 * Has the kernel read objects from the disk that somebody will want next. A reader of many small files waits for the disk
 * once for each, one after the other; told beforehand, the disk works on several at once while the reader is at the first.
 * It answers nothing and fails nothing: what is not there any more, or too much at a time, is passed over.
 */
import * as fs from 'node:fs';
import { libc } from '../native/libc';

/** Objects at a time: each holds a thread of libuv's pool for its open(2), which may wait for the disk. */
const UNDER_WAY_MAX = 2;
/** Objects that wait their turn; a reader that is so far ahead of the disk gains nothing from more. */
const WAITING_MAX = 128;
/** Of each object; behind them the kernel's own read-ahead, which sees the reader by then, goes on. */
const AHEAD_BYTES_MAX = 1 << 20;

const FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

export class DiskAhead {
  readonly #waiting: string[] = [];
  #underWay = 0;

  /** `file`: path of an object. */
  touch(file: string): void {
    if (this.#waiting.length >= WAITING_MAX) this.#waiting.shift();
    this.#waiting.push(file);
    while (this.#underWay < UNDER_WAY_MAX && this.#waiting.length > 0) this.#next();
  }

  #next(): void {
    const file = this.#waiting.shift();
    if (file === undefined) return;
    this.#underWay += 1;
    fs.open(file, FLAGS, (error, fd) => {
      if (error !== null) return this.#done();
      libc().willNeed(fd, AHEAD_BYTES_MAX);
      fs.close(fd, () => this.#done());
    });
  }

  #done(): void {
    this.#underWay -= 1;
    this.#next();
  }
}
