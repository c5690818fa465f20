/**
 * How fast is longest-prefix match, what does it take, and what does the worst update cost?
 *
 * Prefix lengths are drawn as in a full Internet table (about six in ten are /24). Where the prefixes lie decides how
 * well they compress: `clustered` puts more specifics next to each other inside blocks that share a next hop nine
 * times out of ten, as operators announce them; `scattered` puts every prefix anywhere, each with a next hop of its
 * own, which nobody's table looks like and which is the hard case. Addresses are uniformly random over 2^32.
 */
import { fileURLToPath } from "node:url";
import { LongestPrefixMatch } from "../src/routing/lpm.ts";

export type Placement = "clustered" | "scattered";

export interface LpmBenchmark {
  readonly routes: number;
  readonly placement: Placement;
  /** One thread, random addresses. */
  readonly lookupsPerSecond: number;
  /** What look-ups may read. */
  readonly memoryBytes: number;
  /** The exact routes, for updates and dumps: reserved, not touched. */
  readonly ribBytes: number;
  /** Over 2 000 of its routes and prefixes of every length from /0 to /32, inserted and removed. */
  readonly worstUpdateMs: number;
  readonly worstUpdate: string;
  /** Over the 2 000 routes. */
  readonly medianUpdateUs: number;
  readonly buildMs: number;
}

/** Routes of each length among a million, rounded from the public reports of the size of the Internet's table. */
const LENGTH_SHARES: readonly (readonly [length: number, share: number])[] = [
  [8, 16],
  [9, 14],
  [10, 40],
  [11, 100],
  [12, 300],
  [13, 600],
  [14, 1_200],
  [15, 2_100],
  [16, 13_900],
  [17, 8_600],
  [18, 14_300],
  [19, 26_000],
  [20, 45_000],
  [21, 53_000],
  [22, 112_000],
  [23, 105_000],
  [24, 617_830],
];
const NEXT_HOPS = 64;
const LOOKUPS = 4_000_000;
const LOOKUP_ROUNDS = 8;
const UPDATES = 2_000;
const DRAWS_PER_LENGTH = 16;
const UPDATE_REPEATS = 3;

interface RouteList {
  readonly addresses: Int32Array;
  readonly lengths: Uint8Array;
  readonly values: Uint16Array;
}

/** 32 random bits a call (xorshift), the same for the same seed. */
function randomWords(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  };
}

function maskOf(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length);
}

function drawLength(random: () => number): number {
  let point = (random() >>> 0) % 1_000_000;
  for (const [length, share] of LENGTH_SHARES) {
    if (point < share) return length;
    point -= share;
  }
  return 24;
}

/** An address of the unicast range, 1.0.0.0 to 223.255.255.255. */
function drawAddress(random: () => number): number {
  return ((1 + ((random() >>> 0) % 223)) << 24) | (random() & 0xffffff) | 0;
}

/** `count` different routes; a default route is the first. */
function drawRoutes(count: number, placement: Placement): RouteList {
  const random = randomWords(1);
  const routes = {
    addresses: new Int32Array(count),
    lengths: new Uint8Array(count),
    values: new Uint16Array(count),
  };
  const taken = new Set<number>();
  let made = 1;
  let block = 0;
  let blockLength = 0;
  let blockHop = 0;
  while (made < count) {
    if (placement === "scattered" || random() >>> 0 < 0x0c000000 || blockLength === 0) {
      block = drawAddress(random);
      blockLength = 14 + ((random() >>> 0) % 7);
      blockHop = (random() >>> 0) % NEXT_HOPS;
    }
    const length = drawLength(random);
    const inside = placement === "clustered" && length > blockLength;
    const address = inside
      ? block ^ (random() >>> blockLength)
      : placement === "clustered"
        ? block
        : drawAddress(random);
    const prefix = address & maskOf(length);
    const key = (prefix >>> 0) * 64 + length;
    if (taken.has(key)) {
      blockLength = 0;
      continue;
    }
    taken.add(key);
    routes.addresses[made] = prefix;
    routes.lengths[made] = length;
    const own = placement === "scattered" || (random() >>> 0) % 10 === 0;
    routes.values[made++] = own ? (random() >>> 0) % NEXT_HOPS : blockHop;
  }
  return routes;
}

/** Addresses are made on the fly, so that a list of them does not compete with the table for the cache. */
function lookUpRandom(table: LongestPrefixMatch, count: number): number {
  let address = 12_345;
  let sum = 0;
  for (let index = 0; index < count; index++) {
    address ^= address << 13;
    address ^= address >>> 17;
    address ^= address << 5;
    sum = (sum + table.lookup(address)) | 0;
  }
  return sum;
}

/** The best of some rounds: whatever else runs on the machine can only slow a round down. */
function measureLookups(table: LongestPrefixMatch): number {
  let best = 0;
  for (let round = 0; round < LOOKUP_ROUNDS; round++) {
    const start = performance.now();
    const sum = lookUpRandom(table, LOOKUPS);
    best = Math.max(best, (LOOKUPS * 1_000) / (performance.now() - start));
    if (sum !== lookUpRandom(table, LOOKUPS)) throw new Error("the same look-ups gave different answers");
  }
  return best;
}

/** Milliseconds of: putting a route in (or giving it another value), and taking it out. The table is as before after. */
function timeUpdate(table: LongestPrefixMatch, address: number, length: number): readonly [number, number] {
  const before = table.get(address, length);
  const start = performance.now();
  table.insert(address, length, (before + 1) % NEXT_HOPS);
  const middle = performance.now();
  table.remove(address, length);
  const end = performance.now();
  if (before >= 0) table.insert(address, length, before);
  return [middle - start, end - middle];
}

/** The same update several times; the quickest counts, as an interruption is not the update's. */
function quickestUpdate(table: LongestPrefixMatch, address: number, length: number): readonly [number, number] {
  let [insertion, removal] = timeUpdate(table, address, length);
  for (let repeat = 1; repeat < UPDATE_REPEATS; repeat++) {
    const again = timeUpdate(table, address, length);
    insertion = Math.min(insertion, again[0]);
    removal = Math.min(removal, again[1]);
  }
  return [insertion, removal];
}

interface UpdateTimes {
  readonly medianMs: number;
  readonly worstMs: number;
  readonly worst: string;
}

function measureUpdates(table: LongestPrefixMatch, routes: RouteList): UpdateTimes {
  const random = randomWords(7);
  const times: number[] = [];
  let worstMs = 0;
  let worst = "";
  const measure = (address: number, length: number): void => {
    const pair = quickestUpdate(table, address, length);
    times.push(...pair);
    const slower = Math.max(...pair);
    if (slower <= worstMs) return;
    worstMs = slower;
    worst = `${slower === pair[0] ? "insert" : "remove"} /${length}`;
  };
  for (let count = 0; count < UPDATES; count++) {
    const index = (random() >>> 0) % routes.addresses.length;
    measure(routes.addresses[index], routes.lengths[index]);
  }
  times.sort((a, b) => a - b);
  const medianMs = times[times.length >>> 1];
  for (let length = 0; length <= 32; length++) {
    for (let draw = 0; draw < DRAWS_PER_LENGTH; draw++) measure(drawAddress(random) & maskOf(length), length);
  }
  return { medianMs, worstMs, worst };
}

/** Lets the compiler see every kind of update before one is timed. */
function warmUp(): void {
  const random = randomWords(5);
  const table = new LongestPrefixMatch({ capacity: 4_096 });
  for (let count = 0; count < 40_000; count++) {
    const length = count % 500 === 0 ? (count / 500) % 16 : 17 + ((random() >>> 0) % 16);
    const address = 0x0a000000 | (random() & 0xfffff);
    if (table.size < 2_000) table.insert(address, length, count % 300);
    table.remove(0x0a000000 | (random() & 0xfffff), length);
    if (count % 500 === 0) table.remove(address, length);
  }
}

/** Builds a table of `routeCount` routes one by one in random order and measures it. */
export function benchmarkLpm(routeCount: number, placement: Placement = "clustered"): LpmBenchmark {
  warmUp();
  const routes = drawRoutes(routeCount, placement);
  const table = new LongestPrefixMatch({ capacity: Math.max(1_024, Math.ceil(routeCount * 1.04)) });
  const order = shuffledOrder(routeCount);
  const start = performance.now();
  for (const index of order) table.insert(routes.addresses[index], routes.lengths[index], routes.values[index]);
  const buildMs = performance.now() - start;
  const lookupsPerSecond = measureLookups(table);
  const memoryBytes = table.memoryBytes();
  const updates = measureUpdates(table, routes);
  return {
    routes: table.size,
    placement,
    lookupsPerSecond,
    memoryBytes,
    ribBytes: table.ribBytes(),
    worstUpdateMs: updates.worstMs,
    worstUpdate: updates.worst,
    medianUpdateUs: updates.medianMs * 1_000,
    buildMs,
  };
}

function shuffledOrder(count: number): Int32Array {
  const random = randomWords(3);
  const order = Int32Array.from({ length: count }, (_, index) => index);
  for (let index = count - 1; index > 0; index--) {
    const other = (random() >>> 0) % (index + 1);
    const kept = order[index];
    order[index] = order[other];
    order[other] = kept;
  }
  return order;
}

function main(): void {
  console.log("  routes  placement  M look-ups/s  memory MB  RIB MB  worst update ms      median update us  build ms");
  for (const placement of ["clustered", "scattered"] as const) {
    for (const count of [1, 10_000, 1_000_000]) {
      const result = benchmarkLpm(count, placement);
      const cells = [
        String(result.routes).padStart(8),
        placement.padStart(10),
        (result.lookupsPerSecond / 1e6).toFixed(1).padStart(13),
        (result.memoryBytes / 1e6).toFixed(2).padStart(10),
        (result.ribBytes / 1e6).toFixed(1).padStart(7),
        `${result.worstUpdateMs.toFixed(3)} (${result.worstUpdate})`.padStart(20),
        result.medianUpdateUs.toFixed(1).padStart(17),
        result.buildMs.toFixed(0).padStart(9),
      ];
      console.log(cells.join(" "));
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
