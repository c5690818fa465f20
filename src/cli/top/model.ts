/** What `tapir top` shows: rates, from two samples of a router's counters. */
import type { TopSample } from "../../control/top/top_api.ts";

export interface PortRates {
  name: string;
  interface: string;
  state: string;
  rxFrames: number;
  rxBits: number;
  txFrames: number;
  txBits: number;
  /** Frames that the device did not take or that were malformed. */
  lost: number;
}

/** Everything per second, unless its name says otherwise. */
export interface TopView {
  version: string;
  uptimeSeconds: number;
  /** Time between the two samples. */
  seconds: number;
  framesIn: number;
  framesOut: number;
  dropped: number;
  newFlows: number;
  /** Of the bursts between the samples; null where there was none. */
  framesPerBurst: number | null;
  /** Seconds that half, and 99 % of them, took at most: upper bounds of the buckets. */
  burstMedianSeconds: number | null;
  burst99Seconds: number | null;
  tables: { name: string; used: number; limit: number }[];
  processes: { name: string; cpu: number; residentBytes: number }[];
  /** Nanoseconds a frame; null where no burst was timed. */
  stages: { name: string; nanosecondsPerFrame: number | null }[];
  ports: PortRates[];
  /** Reasons that were met since the start, the busiest first; `count` is since the start. */
  drops: { reason: string; rate: number; count: number }[];
  flows: TopSample["flows"];
}

export function compareSamples(before: TopSample, after: TopSample): TopView {
  const seconds = Math.max(0.001, (after.atMs - before.atMs) / 1000);
  const rate = (now: number | undefined, then: number | undefined): number =>
    Math.max(0, (now ?? 0) - (then ?? 0)) / seconds;
  const counted = (name: string): number => rate(after.counters[name], before.counters[name]);
  const sizes = difference(after.burstFrames, before.burstFrames);
  const bursts = sizes.reduce((sum, count) => sum + count, 0);
  const times = difference(after.burstNanoseconds, before.burstNanoseconds);
  const drops = dropRates(before, after, rate);
  return {
    version: after.version,
    uptimeSeconds: after.uptimeSeconds,
    seconds,
    framesIn: counted("framesReceived"),
    framesOut: counted("framesSent"),
    dropped: drops.reduce((sum, drop) => sum + drop.rate, 0),
    newFlows: counted("flowsCreated"),
    framesPerBurst: bursts === 0 ? null : (counted("framesReceived") * seconds) / bursts,
    burstMedianSeconds: quantile(times, 0.5),
    burst99Seconds: quantile(times, 0.99),
    tables: after.tables,
    processes: after.processes.map(({ name, cpuSeconds, residentBytes }) => {
      const then = before.processes.find((each) => each.name === name)?.cpuSeconds ?? cpuSeconds;
      return { name, cpu: rate(cpuSeconds, then), residentBytes };
    }),
    stages: stageTimes(before, after),
    ports: after.ports.map((port) => portRates(port, before, rate)),
    drops,
    flows: after.flows,
  };
}

type Rate = (now: number | undefined, then: number | undefined) => number;

/** A port that was attached meanwhile has counted from nothing. */
function portRates(port: TopSample["ports"][number], before: TopSample, rate: Rate): PortRates {
  const then = before.ports.find((each) => each.name === port.name && each.interface === port.interface);
  return {
    name: port.name,
    interface: port.interface,
    state: port.state,
    rxFrames: rate(port.rxFrames, then?.rxFrames),
    rxBits: 8 * rate(port.rxBytes, then?.rxBytes),
    txFrames: rate(port.txFrames, then?.txFrames),
    txBits: 8 * rate(port.txBytes, then?.txBytes),
    lost: rate(port.txFull, then?.txFull) + rate(port.txErrors, then?.txErrors) + rate(port.rxErrors, then?.rxErrors),
  };
}

function dropRates(before: TopSample, after: TopSample, rate: Rate): TopView["drops"] {
  return after.drops
    .map(({ reason, count }) => {
      const then = before.drops.find((each) => each.reason === reason)?.count;
      return { reason, rate: rate(count, then), count };
    })
    .sort((a, b) => b.rate - a.rate || b.count - a.count);
}

function stageTimes(before: TopSample, after: TopSample): TopView["stages"] {
  return after.stages.map(({ name, nanoseconds, frames }) => {
    const then = before.stages.find((each) => each.name === name) ?? { nanoseconds: 0, frames: 0 };
    const timed = frames - then.frames;
    return { name, nanosecondsPerFrame: timed <= 0 ? null : (nanoseconds - then.nanoseconds) / timed };
  });
}

function difference(after: readonly number[], before: readonly number[]): number[] {
  return after.map((count, index) => Math.max(0, count - (before[index] ?? 0)));
}

/** Seconds: the upper bound (2^i ns) of the bucket that holds the quantile; null where nothing was counted. */
function quantile(counts: readonly number[], share: number): number | null {
  const all = counts.reduce((sum, count) => sum + count, 0);
  let below = 0;
  for (const [index, count] of counts.entries()) {
    below += count;
    if (count > 0 && below >= all * share) return 2 ** index / 1e9;
  }
  return null;
}
