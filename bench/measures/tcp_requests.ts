/** TCP connections that ask once and close. */
import { finishProgram, runProgram, startProgram } from "../processes.ts";
import { OUTSIDE } from "../topology.ts";
import type { Context, Finding, Measure } from "./measure.ts";

interface RequestsReport {
  completed: number;
  failed: number;
  damaged: number;
  perSecond: number;
}

async function requests(context: Context): Promise<Finding> {
  const server = await startProgram("tcpload", { netns: context.world.outside.path, server: true });
  try {
    const report = await runProgram<RequestsReport>("tcpload", {
      netns: context.running.container.path,
      to: OUTSIDE,
      requests: true,
      concurrent: 64,
      ms: context.quick ? 1300 : 2500,
    });
    const problems = [];
    if (report.failed > 0) problems.push(`${report.failed} connections failed`);
    if (report.damaged > 0) problems.push(`${report.damaged} answers were damaged`);
    return { values: { rate: report.perSecond / 1000 }, problems };
  } finally {
    await finishProgram(server);
  }
}

export const tcpRequests: Measure = {
  name: "tcp-requests",
  title: "TCP connect, request, close",
  method:
    "64 connections at once; each sends 64 bytes, is answered with 64 and closed by the client. Nothing is pinned. Completed in a second, without the first 300 ms.",
  engines: ["forwarder", "kernel", "kernel-tuned", "tapir", "slirp4netns", "pasta", "ovs"],
  placement: "unpinned",
  isLong: false,
  cases: [
    {
      name: "64 at once",
      flows: 240_000,
      metrics: [{ name: "rate", unit: "k/s", better: "higher" }],
      run: requests,
    },
  ],
};
