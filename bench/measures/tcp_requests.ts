/** TCP connections that ask once and close. */
import { finishProgram, runProgram, startProgram } from "../processes.ts";
import { OUTSIDE } from "../topology.ts";
import type { Context, Finding, Measure, WarmUp } from "./measure.ts";

interface RequestsReport {
  completed: number;
  failed: number;
  damaged: number;
  perSecond: number;
}

export async function askAndClose(context: Context, milliseconds: number): Promise<RequestsReport> {
  const server = await startProgram("tcpload", { netns: context.world.outside.path, server: true });
  try {
    const place = { netns: context.running.container.path, to: OUTSIDE };
    return await runProgram<RequestsReport>("tcpload", { ...place, requests: true, concurrent: 64, ms: milliseconds });
  } finally {
    await finishProgram(server);
  }
}

async function requests(context: Context): Promise<Finding> {
  const report = await askAndClose(context, 1300);
  const problems = [];
  if (report.failed > 0) problems.push(`${report.failed} connections failed`);
  if (report.damaged > 0) problems.push(`${report.damaged} answers were damaged`);
  return { values: { rate: report.perSecond / 1000 }, problems };
}

/** Longer than what the program leaves out at the beginning. */
const LEAST_MS = 400;

const requestsWarmUp: WarmUp = {
  kind: "TCP requests",
  run: (context, milliseconds) => askAndClose(context, Math.max(LEAST_MS, milliseconds)),
};

export const tcpRequests: Measure = {
  name: "tcp-requests",
  title: "TCP connect, request, close",
  method:
    "64 connections at once; each sends 64 bytes, is answered with 64 and closed by the client. Nothing is pinned. Completed in a second, without the first 300 ms.",
  engines: ["forwarder", "forwarder-ring", "kernel", "kernel-tuned", "tapir", "slirp4netns", "pasta", "ovs"],
  placement: "unpinned",
  trials: 3,
  isLong: false,
  quickEngines: ["kernel", "tapir"],
  warmUp: requestsWarmUp,
  cases: [
    {
      name: "64 at once",
      flows: 240_000,
      metrics: [{ name: "rate", unit: "k/s", better: "higher" }],
      run: requests,
    },
  ],
};
