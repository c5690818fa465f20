/** The search for a rate that holds (the idea of MLRsearch: short trials, an interval that shrinks). */

/** The search ends when the interval is this share of its upper end. */
const RESOLUTION = 0.03;
/** What is delivered under overload may be less than what would pass without. */
const ABOVE_DELIVERED = 1.15;
const FIRST_GUESS = 0.7;
/** Frames in a second, and share of what is delivered under overload: an engine that does not hold this holds nothing. */
const LEAST = 1000;
const LEAST_SHARE = 1 / 16;

/**
 * The highest rate found for which `holds` said true, in frames in a second; 0 where none did. `delivered` is what came
 * through under overload.
 */
export async function searchRate(delivered: number, holds: (pps: number) => Promise<boolean>): Promise<number> {
  let low = 0;
  let high = delivered * ABOVE_DELIVERED;
  const least = Math.max(LEAST, delivered * LEAST_SHARE);
  while ((low > 0 || high >= least) && high - low > high * RESOLUTION) {
    const pps = low === 0 ? high * FIRST_GUESS : (low + high) / 2;
    if (await holds(pps)) low = pps;
    else high = pps;
  }
  return low;
}
