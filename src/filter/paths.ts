/**
 * Paths: which rules the packets of a flow have met. The packets of an admitted flow do not meet the rules again, but
 * each of them counts in every rule that let the first one pass: a flow keeps the number of its path, and a packet costs
 * one addition to the path's counters.
 *
 * Path 0 stands for "not known": what comes by it is counted by nobody. It is given out when there are too many
 * different paths; `overflows` says how often.
 */

import type { Journal } from "../packet/journal.ts";

/** Flows keep the number in 16 bits. */
const MOST_PATHS = 65_535;

export class Paths {
  overflows = 0;
  private counters = new Float64Array(2 * 1024);
  private rules: (readonly number[])[] = [[]];
  private readonly byHash = new Map<number, number[]>();

  /** Notes all that there is now, to be put back when the journal is undone. */
  rehearse(journal: Journal): void {
    const { rules, byHash } = this;
    const known = rules.length;
    journal.fields(this, "overflows", "counters");
    // A packet may make a path or two.
    journal.copy(this.counters, Math.min(this.counters.length, (known + 8) * 2));
    journal.later(() => {
      if (rules.length === known) return;
      rules.length = known;
      for (const [hash, paths] of byHash) {
        const kept = paths.filter((path) => path < known);
        if (kept.length === paths.length) continue;
        if (kept.length === 0) byHash.delete(hash);
        else byHash.set(hash, kept);
      }
    });
  }

  /** The number of the path of the first `count` rules of `trace`. */
  intern(trace: Int32Array, count: number): number {
    let hash = count;
    for (let i = 0; i < count; i++) hash = Math.imul(hash ^ trace[i], 0x01000193) ^ (hash >>> 15);
    const alike = this.byHash.get(hash);
    if (alike !== undefined) {
      for (let i = 0; i < alike.length; i++) if (this.isPath(alike[i], trace, count)) return alike[i];
    }
    return this.add(hash, trace, count);
  }

  /** The rule that a path ends at: the one that decided; -1 where it is not known. */
  last(path: number): number {
    return this.rules[path]?.at(-1) ?? -1;
  }

  /** Counts a packet on a path. */
  count(path: number, bytes: number): void {
    this.counters[path * 2]++;
    this.counters[path * 2 + 1] += bytes;
  }

  /** Adds what has come by each path to the counters of its rules (packets and bytes in turn), and begins anew. */
  settle(into: Float64Array): void {
    for (let path = 1; path < this.rules.length; path++) {
      for (const rule of this.rules[path]) {
        into[rule * 2] += this.counters[path * 2];
        into[rule * 2 + 1] += this.counters[path * 2 + 1];
      }
    }
    this.counters.fill(0);
  }

  private isPath(path: number, trace: Int32Array, count: number): boolean {
    const rules = this.rules[path];
    if (rules.length !== count) return false;
    for (let i = 0; i < count; i++) if (rules[i] !== trace[i]) return false;
    return true;
  }

  private add(hash: number, trace: Int32Array, count: number): number {
    const path = this.rules.length;
    if (path > MOST_PATHS) {
      this.overflows++;
      return 0;
    }
    this.rules.push(Array.from(trace.subarray(0, count)));
    const alike = this.byHash.get(hash);
    if (alike === undefined) this.byHash.set(hash, [path]);
    else alike.push(path);
    if (path * 2 >= this.counters.length) {
      const larger = new Float64Array(this.counters.length * 2);
      larger.set(this.counters);
      this.counters = larger;
    }
    return path;
  }
}
