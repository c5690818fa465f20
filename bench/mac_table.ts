/**
 * What does learning and finding a station cost? Nanoseconds a call, for frames of one station per port (the fast
 * path), of stations in random order behind their own ports, and of forged MACs that a full table refuses.
 */
import { fileURLToPath } from "node:url";
import { MacTable } from "../src/bridge/mac_table.ts";

export interface MacTableBenchmark {
  readonly stations: number;
  readonly learnSameNs: number;
  readonly learnRandomNs: number;
  readonly findRandomNs: number;
  readonly refuseNs: number;
}

const CALLS = 2_000_000;
const ROUNDS = 6;
const PORTS = 64;
const HIGH = 0x0242;
const AGEING_MS = 300_000;

/** The best of some rounds, in nanoseconds a call: whatever else runs can only slow a round down. */
function best(work: () => number): number {
  let shortest = Number.POSITIVE_INFINITY;
  let check = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    check ^= work();
    shortest = Math.min(shortest, performance.now() - start);
  }
  if (check === 0x5eed) console.log("");
  return (shortest * 1e6) / CALLS;
}

function learnMany(table: MacTable, mask: number, step: number): number {
  let sum = 0;
  let station = 0;
  for (let call = 0; call < CALLS; call++) {
    station = (station + step) & mask;
    sum += table.learn(0, HIGH, station, station & (PORTS - 1), 1);
  }
  return sum;
}

function findMany(table: MacTable, mask: number, step: number): number {
  let sum = 0;
  let station = 0;
  for (let call = 0; call < CALLS; call++) {
    station = (station + step) & mask;
    sum += table.find(0, HIGH, station, 1);
  }
  return sum;
}

function refuseMany(table: MacTable): number {
  let sum = 0;
  for (let call = 0; call < CALLS; call++) sum += table.learn(0, HIGH, ~call, 0, 1);
  return sum;
}

/** A full table of `stations`, which must be a power of two and at least 64. */
export function benchmarkMacTable(stations: number): MacTableBenchmark {
  const table = new MacTable({ capacity: stations, ageingMs: AGEING_MS, seed: 0x5eed });
  const mask = stations - 1;
  for (let station = 0; station < stations; station++) table.learn(0, HIGH, station, station & (PORTS - 1), 0);
  const oddStep = 0x9e3779b1 | 0;
  return {
    stations,
    learnSameNs: best(() => learnMany(table, PORTS - 1, 1)),
    learnRandomNs: best(() => learnMany(table, mask, oddStep)),
    findRandomNs: best(() => findMany(table, mask, oddStep)),
    refuseNs: best(() => refuseMany(table)),
  };
}

function main(): void {
  console.log("stations  learn same ns  learn random ns  find random ns  refuse ns");
  for (const stations of [64, 1_024, 16_384, 262_144]) {
    const result = benchmarkMacTable(stations);
    const cells = [
      String(stations).padStart(8),
      result.learnSameNs.toFixed(1).padStart(14),
      result.learnRandomNs.toFixed(1).padStart(16),
      result.findRandomNs.toFixed(1).padStart(15),
      result.refuseNs.toFixed(1).padStart(10),
    ];
    console.log(cells.join(" "));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
