/** A source of choices that one number decides, so that a run can be had again. */
export interface Choices {
  readonly seed: number;
  /** A whole number from 0 up to, and without, `below`. */
  number(below: number): number;
  one<T>(of: readonly T[]): T;
  shuffled<T>(of: readonly T[]): T[];
}

/** Decided by FIMBRIA_TEST_SEED, else by the clock; a test prints the seed. */
export function choices(
  seed = Number(process.env['FIMBRIA_TEST_SEED'] ?? Date.now() % 0x1_0000_0000),
): Choices {
  let state = seed >>> 0;
  // A multiplicative congruence of full period; its high bits are the good ones.
  const number = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
  const shuffled = <T>(of: readonly T[]): T[] => {
    const list = [...of];
    for (let i = list.length - 1; i > 0; i--) {
      const j = number(i + 1);
      [list[i], list[j]] = [list[j]!, list[i]!];
    }
    return list;
  };
  return { seed, number, one: of => of[number(of.length)]!, shuffled };
}
