/** Numbers that look random and are a pure function of a seed: the same seed, the same numbers, on every host. */

export interface Random {
  /** In [0, 1). */
  next(): number;
  /** A whole number in [low, high]. */
  whole(low: number, high: number): number;
  /** One of several, each as likely as its weight. */
  pick<T>(choices: ReadonlyArray<readonly [weight: number, value: T]>): T;
}

/** Mulberry32: 32 bits of state, enough for the order of some thousand events. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    whole: (low, high) => low + Math.floor(next() * (high - low + 1)),
    pick(choices) {
      let left = next() * choices.reduce((sum, [weight]) => sum + weight, 0);
      for (const [weight, value] of choices) if ((left -= weight) < 0) return value;
      return choices[choices.length - 1]![1];
    },
  };
}
