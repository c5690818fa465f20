/**
 * Seeds of the model tests. They are fixed, so that every run does the same; `TAPIR_SEED` adds another one to look for
 * what these do not find.
 */
const added = Number(process.env.TAPIR_SEED ?? Number.NaN);

export const SEEDS: readonly number[] = [1, 8_080, 20_220_301, ...(Number.isInteger(added) ? [added] : [])];
