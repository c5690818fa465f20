/**
 * Rate limit of the ICMP errors that the router sends (RFC 1812 4.3.2.8), with Linux's figures: over all at most
 * 1 000 a second with bursts of 50, and to one destination one a second with bursts of 6. Destinations share a small
 * table of buckets by keyed hash; two that fall into one bucket share its tokens.
 */
import type { Journal } from "../packet/journal.ts";

const GLOBAL_PER_SECOND = 1000;
const GLOBAL_BURST = 50;
const DESTINATION_INTERVAL_MS = 1000;
const DESTINATION_BURST = 6;
const BUCKETS = 1024;

export class IcmpLimiter {
  private readonly seed: number;
  private globalTokens = GLOBAL_BURST;
  private globalSince: number;
  /** Credit of each bucket in milliseconds, and when it was last counted. */
  private readonly credit = new Int32Array(BUCKETS).fill(DESTINATION_BURST * DESTINATION_INTERVAL_MS);
  private readonly since: Int32Array;

  constructor(now: number, seed: number) {
    this.seed = seed | 0;
    this.globalSince = now;
    this.since = new Int32Array(BUCKETS).fill(now);
  }

  /** Notes all that there is now, to be put back when the journal is undone. */
  rehearse(journal: Journal): void {
    journal.numbers(this);
    journal.arraysOf(this);
  }

  /** Whether an error may go to `destination` now; takes the tokens when it may. */
  allows(destination: number, now: number): boolean {
    const bucket = (Math.imul(destination ^ this.seed, 0x9e3779b1) >>> 22) & (BUCKETS - 1);
    const most = DESTINATION_BURST * DESTINATION_INTERVAL_MS;
    const elapsed = (now - this.since[bucket]) | 0;
    let credit = elapsed < 0 || elapsed > most ? most : this.credit[bucket] + elapsed;
    if (credit > most) credit = most;
    this.since[bucket] = now;
    this.credit[bucket] = credit;
    if (credit < DESTINATION_INTERVAL_MS || !this.takeGlobal(now)) return false;
    this.credit[bucket] = credit - DESTINATION_INTERVAL_MS;
    return true;
  }

  private takeGlobal(now: number): boolean {
    const elapsed = (now - this.globalSince) | 0;
    const gained = Math.floor((elapsed * GLOBAL_PER_SECOND) / 1000);
    if (elapsed < 0 || gained > 0) {
      this.globalTokens = elapsed < 0 ? GLOBAL_BURST : Math.min(GLOBAL_BURST, this.globalTokens + gained);
      this.globalSince = now;
    }
    if (this.globalTokens === 0) return false;
    this.globalTokens--;
    return true;
  }
}
