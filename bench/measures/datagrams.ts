/** A trial with raw datagrams: the generator sends from the container's device, the sink counts on the outside's. */
import { finishProgram, pause, runProgram, startProgram } from "../processes.ts";
import { CONTAINER_DEVICE, FAR, OUTSIDE, OUTSIDE_DEVICE, RAW_PORT } from "../topology.ts";
import type { Context, WarmUp } from "./measure.ts";

export interface Load {
  readonly flows: number;
  /** Length of the frames without FCS; "imix": 60, 590 and 1514 bytes, 7:4:1. */
  readonly size?: number | "imix";
  /** Frames in a second; undefined: as many as possible. */
  readonly pps?: number;
  readonly milliseconds: number;
  /** End after so many frames. */
  readonly count?: number;
  readonly random?: boolean;
  readonly firstFlow?: number;
}

interface GeneratorReport {
  offered: number;
  taken: number;
  skipped: number;
  seconds: number;
  cpuSeconds: number;
}

interface SinkReport {
  received: number;
  bytes: number;
  duplicates: number;
  reordered: number;
  damaged: number;
  badIpChecksum: number;
  badUdpChecksum: number;
  wrongSource: number;
  merged: number;
  frames: number;
  dropped: number;
  rate: number;
  rateSeconds: number;
  seconds: number;
}

export interface Trial {
  readonly offered: number;
  readonly offeredPerSecond: number;
  readonly received: number;
  /** Of their payloads. */
  readonly bytes: number;
  /** Received in a second, over the middle of the time. */
  readonly receivedPerSecond: number;
  /** From the first to the last. */
  readonly receivedSeconds: number;
  /** Share of what was offered. */
  readonly loss: number;
  readonly problems: string[];
}

/** The receiver is told when to end; by itself it does so much later. */
const SINK_SPARE_MS = 60_000;
/** How long the last frames may be under way. */
const SETTLE_MS = 60;
/** Flows of one destination; more need the outside's second network. */
const PORTS_OF_ADDRESS = 50_000;

function problemsOf(report: SinkReport): string[] {
  const counts = {
    "damaged payloads": report.damaged,
    "bad IPv4 checksums": report.badIpChecksum,
    "bad UDP checksums": report.badUdpChecksum,
    "frames with a source address that the engine should have translated": report.wrongSource,
    duplicates: report.duplicates,
    "frames that the receiver could not take": report.dropped,
  };
  return Object.entries(counts).flatMap(([what, count]) => (count === 0 ? [] : [`${count} ${what}`]));
}

/** Milliseconds of a trial of datagrams as fast as they go: short, since an engine has many of them. */
export function trialMs({ quick }: Context): number {
  return quick ? 700 : 900;
}

export async function sendDatagrams(context: Context, load: Load): Promise<Trial> {
  const { world, running } = context;
  const sink = await startProgram("sink", {
    netns: world.outside.path,
    device: OUTSIDE_DEVICE,
    port: RAW_PORT,
    source: running.seenAs,
    ms: load.milliseconds + SINK_SPARE_MS,
    cpu: context.sinkCpu,
  });
  const isImix = load.size === "imix";
  const last = (load.firstFlow ?? 0) + load.flows;
  const generated = await runProgram<GeneratorReport>("generator", {
    netns: running.container.path,
    device: CONTAINER_DEVICE,
    toMac: running.nextHop,
    from: running.address,
    to: last > PORTS_OF_ADDRESS ? FAR : OUTSIDE,
    port: RAW_PORT,
    flows: load.flows,
    firstFlow: load.firstFlow,
    random: load.random,
    imix: isImix,
    size: isImix ? undefined : load.size,
    pps: load.pps,
    count: load.count,
    ms: load.milliseconds,
    cpu: context.loadCpu,
  });
  await pause(SETTLE_MS);
  const report = await finishProgram<SinkReport>(sink);
  return {
    offered: generated.offered,
    offeredPerSecond: generated.offered / generated.seconds,
    received: report.received,
    bytes: report.bytes,
    receivedPerSecond: report.rate,
    receivedSeconds: report.seconds,
    loss: 1 - report.received / generated.offered,
    problems: problemsOf(report),
  };
}

/** The path of known flows, as fast as the generator can. */
export const datagramWarmUp: WarmUp = {
  kind: "datagrams",
  run: (context, milliseconds) => sendDatagrams(context, { flows: 64, milliseconds }),
};
