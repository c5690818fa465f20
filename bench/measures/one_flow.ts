/** One flow of small datagrams to an ordinary socket: where merging before the write (UDP segmentation offload) counts. */
import { finishProgram, pause, runProgram, startProgram } from "../processes.ts";
import { CONTAINER_DEVICE, OUTSIDE } from "../topology.ts";
import { datagramWarmUp, sendDatagrams, trialMs } from "./datagrams.ts";
import { type Case, type Context, type Finding, type Measure, RATE } from "./measure.ts";

/** Not the port of raw datagrams: these reach a socket. */
const PORT = 9002;

interface SocketReport {
  received: number;
  duplicates: number;
  reordered: number;
  damaged: number;
  rate: number;
}

async function oneFlow(context: Context, gro: boolean): Promise<Finding> {
  const sink = await startProgram("sink", {
    netns: context.world.outside.path,
    socket: true,
    gro,
    port: PORT,
    cpu: context.sinkCpu,
  });
  await runProgram("generator", {
    netns: context.running.container.path,
    device: CONTAINER_DEVICE,
    toMac: context.running.nextHop,
    from: context.running.address,
    to: OUTSIDE,
    port: PORT,
    ms: trialMs(context),
    cpu: context.loadCpu,
  });
  await pause(60);
  const report = await finishProgram<SocketReport>(sink);
  const problems = [];
  if (report.damaged > 0) problems.push(`${report.damaged} damaged payloads`);
  if (report.duplicates > 0) problems.push(`${report.duplicates} duplicates`);
  if (report.reordered > 0) problems.push(`${report.reordered} out of order`);
  return { values: { rate: report.rate / 1e6 }, problems };
}

function socketCase(gro: boolean): Case {
  const name = gro ? "to a socket with UDP_GRO" : "to a plain socket";
  return { name, flows: 1, isLong: true, metrics: [RATE], run: (context) => oneFlow(context, gro) };
}

async function onDevice(context: Context): Promise<Finding> {
  const trial = await sendDatagrams(context, { flows: 1, milliseconds: trialMs(context) });
  return { values: { rate: trial.receivedPerSecond / 1e6 }, problems: trial.problems };
}

export const oneFlowMeasure: Measure = {
  name: "one-flow",
  title: "One flow of small datagrams (60 B)",
  method:
    "As fast as the generator can; generator on the first processor, engine on the second. Counted on the outside's device (merged frames by the datagrams in them), and what the program of an ordinary socket read.",
  engines: ["forwarder", "forwarder-ring", "kernel", "kernel-tuned", "tapir"],
  placement: "pinned",
  trials: 4,
  isLong: false,
  warmUp: datagramWarmUp,
  cases: [
    { name: "counted on the device", flows: 1, metrics: [RATE], run: onDevice },
    socketCase(false),
    socketCase(true),
  ],
};
