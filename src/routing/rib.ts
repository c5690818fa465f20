/**
 * The routing information base: every route exactly as it was given, prefix to value. Longest-prefix match asks it
 * when a route comes or goes, and dumps are made from it; look-ups of packets never read it.
 *
 * Open addressing with linear probing, at most half full; removal closes the gap by shifting back what lies behind.
 * Two words a slot place: the address, and (length + 1) << 16 | value, where 0 means empty. All memory is reserved at
 * construction, but the system provides a page only when it is first written. The hash has no key: routes come from
 * the administrator, not from packets.
 */

/** A value must fit into 16 bits with one number to spare. */
export const MAX_ROUTE_VALUE = 0xfffe;

export interface RouteEntry {
  /** Host order, signed. */
  readonly address: number;
  readonly length: number;
  readonly value: number;
}

export class Rib {
  readonly capacity: number;
  size = 0;
  private readonly addresses: Int32Array;
  private readonly contents: Int32Array;
  private readonly mask: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    let places = 2;
    while (places < capacity * 2) places *= 2;
    this.mask = places - 1;
    this.addresses = new Int32Array(places);
    this.contents = new Int32Array(places);
  }

  /** The value of exactly this prefix, or -1. `address` has no bits beyond `length`. */
  get(address: number, length: number): number {
    const place = this.locate(address, length);
    const content = this.contents[place];
    return content === 0 ? -1 : content & 0xffff;
  }

  /** Adds or replaces; the caller has made sure that there is room. Returns the former value, or -1. */
  set(address: number, length: number, value: number): number {
    const place = this.locate(address, length);
    const content = this.contents[place];
    this.contents[place] = ((length + 1) << 16) | value;
    if (content !== 0) return content & 0xffff;
    this.addresses[place] = address;
    this.size++;
    return -1;
  }

  /** False when there is no such route. */
  delete(address: number, length: number): boolean {
    const { addresses, contents, mask } = this;
    let gap = this.locate(address, length);
    if (contents[gap] === 0) return false;
    for (let place = (gap + 1) & mask; contents[place] !== 0; place = (place + 1) & mask) {
      const home = hashOf(addresses[place], (contents[place] >>> 16) - 1);
      // It may move into the gap unless its home lies behind the gap (cyclically between gap and place).
      if (((place - home) & mask) < ((place - gap) & mask)) continue;
      addresses[gap] = addresses[place];
      contents[gap] = contents[place];
      gap = place;
    }
    contents[gap] = 0;
    this.size--;
    return true;
  }

  clear(): void {
    if (this.size !== 0) this.contents.fill(0);
    this.size = 0;
  }

  /** All routes by address, the shorter prefix first. Sorts a snapshot: for dumps. */
  *entries(): Generator<RouteEntry> {
    const keys = new Float64Array(this.size);
    let count = 0;
    // Ends with the last route: most memory of a table with few routes has never been touched.
    for (let place = 0; count < keys.length; place++) {
      const content = this.contents[place];
      if (content !== 0) keys[count++] = (this.addresses[place] >>> 0) * 64 + (content >>> 16) - 1;
    }
    keys.sort();
    for (const key of keys) {
      const address = Math.floor(key / 64) | 0;
      const length = key % 64;
      const value = this.get(address, length);
      if (value >= 0) yield { address, length, value };
    }
  }

  /** Bytes reserved. */
  memoryBytes(): number {
    return this.addresses.byteLength + this.contents.byteLength;
  }

  /** Place of a prefix, or the empty place where it would go. */
  private locate(address: number, length: number): number {
    const { addresses, contents, mask } = this;
    let place = hashOf(address, length) & mask;
    for (;;) {
      const content = contents[place];
      if (content === 0 || (addresses[place] === address && content >>> 16 === length + 1)) return place;
      place = (place + 1) & mask;
    }
  }
}

function hashOf(address: number, length: number): number {
  let hash = Math.imul(address ^ Math.imul(length, 0x61c88647), 0x21f0aaad);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a2d97);
  return hash ^ (hash >>> 15);
}
