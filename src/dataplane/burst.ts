/** How large bursts are. */

/** Frames of one burst: enough to spread the cost of a call, few enough to stay in the cache. */
export const BURST_FRAMES = 64;

/** Burst positions are bounded by this. */
export const BURST_LIMIT = 256;
