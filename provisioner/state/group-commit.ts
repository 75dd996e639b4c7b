/**
 * Changes that are asked for at the same time share one transaction, hence one wait for the disk: a hundred Provisions at
 * once would otherwise stand in line for two hundred of them. What each is promised stays the same: when its promise
 * resolves, its change is on disk.
 *
 * Each change has a savepoint of its own, so that one that throws takes back only itself. When the transaction itself is
 * lost (no space), all of them fail, and nothing of any is there.
 */
import type Database from 'better-sqlite3';

interface Change {
  readonly work: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  outcome?: { readonly value: unknown } | { readonly reason: unknown };
}

export class GroupCommit {
  #waiting: Change[] = [];

  constructor(private readonly db: Database.Database) {}

  /** Runs `work`, synchronous, in the transaction that ends this turn of the event loop. */
  run<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ work, resolve: resolve as (value: unknown) => void, reject });
      if (this.#waiting.length === 1) setImmediate(() => this.#commit());
    });
  }

  #commit(): void {
    const changes = this.#waiting;
    this.#waiting = [];
    try {
      this.db.transaction(() => changes.forEach((change) => this.#make(change)))();
    } catch (reason) {
      for (const change of changes) change.reject(reason);
      return;
    }
    for (const { outcome, resolve, reject } of changes) {
      if (outcome !== undefined && 'value' in outcome) resolve(outcome.value);
      else reject(outcome?.reason);
    }
  }

  #make(change: Change): void {
    try {
      change.outcome = { value: this.db.transaction(change.work)() };
    } catch (reason) {
      // SQLite has rolled everything back by itself: what went before is lost too.
      if (!this.db.inTransaction) throw reason;
      change.outcome = { reason };
    }
  }
}
