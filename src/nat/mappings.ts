/**
 * Endpoint-independent mappings (RFC 4787 4.1, RFC 5382 REQ-1, RFC 5508 REQ-1), for the `bcp` profile: an inside
 * address and port is one outside address and port, whoever the other end is, as long as any of its flows lives; and
 * no two inside ends share one (RFC 4787 REQ-3).
 *
 * Invariant: the references of a mapping are the live flows that carry the flag MAPPED and its two ends.
 */
import { HashIndex } from "../conntrack/hash_index.ts";
import type { Journal } from "../packet/journal.ts";

/** Words of a mapping. */
const Word = { PROTOCOL: 0, INSIDE: 1, OUTSIDE: 2, INSIDE_PORT: 3, OUTSIDE_PORT: 4, REFERENCES: 5, WORDS: 6 } as const;
const { PROTOCOL, INSIDE, OUTSIDE, INSIDE_PORT, OUTSIDE_PORT, REFERENCES, WORDS } = Word;

export class Mappings {
  private readonly words: Int32Array;
  private readonly inside: HashIndex;
  private readonly outside: HashIndex;
  private readonly hash: (a: number, b: number, c: number, d: number) => number;
  private readonly free: Int32Array;
  private freeCount: number;
  private journal: Journal | undefined = undefined;

  /** `hash` is keyed; there is a place for each of `capacity` flows. */
  constructor(capacity: number, hash: (a: number, b: number, c: number, d: number) => number) {
    this.words = new Int32Array(capacity * WORDS);
    this.inside = new HashIndex(new Int32Array(HashIndex.slotsFor(capacity) * 2));
    this.outside = new HashIndex(new Int32Array(HashIndex.slotsFor(capacity) * 2));
    this.hash = hash;
    this.free = Int32Array.from({ length: capacity }, (_, index) => capacity - 1 - index);
    this.freeCount = capacity;
  }

  /** Notes every change from now on, until the journal is undone. */
  rehearse(journal: Journal): void {
    journal.numbers(this);
    journal.fields(this, "journal");
    this.inside.rehearse(journal);
    this.outside.rehearse(journal);
    this.journal = journal;
  }

  /** Live mappings. */
  get size(): number {
    return this.inside.size;
  }

  /** The mapping of an inside end on an outside address; -1 when it has none. */
  findInside(protocol: number, inside: number, insidePort: number, outside: number): number {
    const hash = this.hash(inside, outside, insidePort, protocol);
    const { slots, mask } = this.inside;
    const { words } = this;
    for (let position = hash & mask; ; position = (position + 1) & mask) {
      const stored = slots[position * 2 + 1];
      if (stored === 0) return -1;
      const base = (stored - 1) * WORDS;
      if (
        words[base + INSIDE] === inside &&
        words[base + INSIDE_PORT] === insidePort &&
        words[base + OUTSIDE] === outside &&
        words[base + PROTOCOL] === protocol
      ) {
        return stored - 1;
      }
    }
  }

  /** The mapping that an outside address and port belongs to; -1 when it is free. */
  findOutside(protocol: number, outside: number, outsidePort: number): number {
    const hash = this.hash(outside, 0, outsidePort, protocol);
    const { slots, mask } = this.outside;
    const { words } = this;
    for (let position = hash & mask; ; position = (position + 1) & mask) {
      const stored = slots[position * 2 + 1];
      if (stored === 0) return -1;
      const base = (stored - 1) * WORDS;
      if (
        words[base + OUTSIDE] === outside &&
        words[base + OUTSIDE_PORT] === outsidePort &&
        words[base + PROTOCOL] === protocol
      ) {
        return stored - 1;
      }
    }
  }

  insideOf(mapping: number): number {
    return this.words[mapping * WORDS + INSIDE];
  }

  insidePortOf(mapping: number): number {
    return this.words[mapping * WORDS + INSIDE_PORT];
  }

  outsidePortOf(mapping: number): number {
    return this.words[mapping * WORDS + OUTSIDE_PORT];
  }

  referencesOf(mapping: number): number {
    return this.words[mapping * WORDS + REFERENCES];
  }

  /** One flow more: makes the mapping where there is none. The outside end is free, or this inside end's already. */
  retain(protocol: number, inside: number, insidePort: number, outside: number, outsidePort: number): void {
    let mapping = this.findInside(protocol, inside, insidePort, outside);
    if (mapping < 0) {
      mapping = this.free[--this.freeCount];
      this.journal?.words(this.words, mapping * WORDS, WORDS);
      const base = mapping * WORDS;
      this.words[base + PROTOCOL] = protocol;
      this.words[base + INSIDE] = inside;
      this.words[base + OUTSIDE] = outside;
      this.words[base + INSIDE_PORT] = insidePort;
      this.words[base + OUTSIDE_PORT] = outsidePort;
      this.words[base + REFERENCES] = 0;
      this.inside.insert(this.hash(inside, outside, insidePort, protocol), mapping);
      this.outside.insert(this.hash(outside, 0, outsidePort, protocol), mapping);
    }
    this.journal?.word(this.words, mapping * WORDS + REFERENCES);
    this.words[mapping * WORDS + REFERENCES]++;
  }

  /** One flow less: the last one ends the mapping. */
  release(protocol: number, inside: number, insidePort: number, outside: number): void {
    const mapping = this.findInside(protocol, inside, insidePort, outside);
    if (mapping < 0) return;
    const base = mapping * WORDS;
    this.journal?.word(this.words, base + REFERENCES);
    if (--this.words[base + REFERENCES] > 0) return;
    this.inside.remove(this.hash(inside, outside, insidePort, protocol), mapping);
    this.outside.remove(this.hash(outside, 0, this.words[base + OUTSIDE_PORT], protocol), mapping);
    this.journal?.word(this.free, this.freeCount);
    this.free[this.freeCount++] = mapping;
  }
}
