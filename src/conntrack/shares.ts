/**
 * Shares: how much of a pool (flows, stations, neighbours, waiting frames) each port has taken, and whether it may take
 * more.
 *
 * Theory of operation: dynamic thresholds (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory
 * packet switches", 1998). A port may take from the pool as long as it holds no more than `FREE_FACTOR` times what is
 * still free. So a port that is alone gets nearly everything (128 of 129 parts), several that want all get equal parts,
 * and whoever comes later always finds something free: no number is configured, and nobody has to give anything back.
 *
 * Port -1 stands for the router itself and for what was taken over from a table whose takers are not known: it may
 * always take. Nothing is allocated after construction.
 */
import type { Journal } from "../packet/journal.ts";

/** Ports have numbers below this. */
const MOST_PORTS = 4096;
/** How many times what is free one port may hold. */
const FREE_FACTOR = 128;

export class Shares {
  /** By port plus one. */
  private readonly held = new Int32Array(MOST_PORTS + 1);

  /** Notes all that there is now, to be put back when the journal is undone. */
  rehearse(journal: Journal): void {
    journal.copy(this.held);
  }

  /** Whether a port may take one more, where `free` are left. */
  mayTake(port: number, free: number): boolean {
    return port < 0 || this.held[port + 1] <= free * FREE_FACTOR;
  }

  heldBy(port: number): number {
    return this.held[port + 1];
  }

  take(port: number): void {
    this.held[port + 1]++;
  }

  give(port: number): void {
    this.held[port + 1]--;
  }

  /** `count` were taken by nobody knows whom. */
  takeOver(count: number): void {
    this.held[0] += count;
  }
}
