/**
 * Which flows a change of routes concerns, told without a look at the flows. The router's generation rises with every
 * change; a flow that was admitted under an older one is admitted again, but not when all that has changed since are
 * routes to elsewhere: for each /16 of the address space it is noted when a route that covers part of it has changed
 * last. So a routing daemon that moves thousands of routes costs the other flows one comparison each.
 *
 * Generations are signed words and wrap; they are compared by their difference.
 */
import type { Journal } from "../packet/journal.ts";

export class RouteEpochs {
  /** Generation of the last change of a route, for each /16. */
  private readonly changedAt = new Int32Array(1 << 16);
  /** Generation of the last change of anything else. */
  private allChangedAt = 0;

  /** Notes what a packet may change, to be put back when the journal is undone. */
  rehearse(journal: Journal): void {
    journal.numbers(this);
  }

  /** Something that concerns every flow has changed. */
  changeAll(generation: number): void {
    this.allChangedAt = generation;
  }

  /** The routes of a prefix have changed. */
  change(address: number, length: number, generation: number): void {
    const first = address >>> 16;
    if (length >= 16) this.changedAt[first] = generation;
    else this.changedAt.fill(generation, first, first + (1 << (16 - length)));
  }

  /** Whether a change after `generation` concerns what goes to `destination`. */
  concerns(destination: number, generation: number): boolean {
    return ((this.changedAt[destination >>> 16] - generation) | 0) > 0;
  }

  /** Whether a change after `generation` concerns everything. */
  concernsAll(generation: number): boolean {
    return ((this.allChangedAt - generation) | 0) > 0;
  }
}
