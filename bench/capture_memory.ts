/**
 * What captures cost the pipeline in memory (L0): none, one whose expression selects no frame, at two hook points and at
 * all of them. Interleaved; of each the fastest of the runs.
 *
 *     node dist/bench/capture_memory.js [runs]
 */
import { Captures } from "../src/dataplane/capture.ts";
import { CAPTURE_MEMORY_BYTES, HOOK_NAMES, hookBits } from "../src/dataplane/capture_ring.ts";
import type { Router } from "../src/dataplane/router.ts";
import { compileExpression } from "../src/pcap_filter/expression.ts";
import { benchmarkPipeline } from "./pipeline_memory.ts";

const FLOWS = 1000;
const PACKETS = 2_000_000;

function capturing(hooks: readonly string[], expression: string): (router: Router) => void {
  return (router) => {
    const captures = new Captures(router.arena.slotCount);
    const program = Array.from(compileExpression(expression));
    captures.start(
      { capture: 0, hooks: hookBits(hooks), port: -1, interface: -1, snapBytes: 65_535, program },
      () => new ArrayBuffer(CAPTURE_MEMORY_BYTES),
    );
    router.captures = captures;
  };
}

const CASES: readonly [name: string, prepare: (router: Router) => void][] = [
  ["no capture", () => {}],
  ["ingress,egress, host 192.0.2.1", capturing(["ingress", "egress"], "host 192.0.2.1")],
  ["all six points, host 192.0.2.1", capturing(HOOK_NAMES, "host 192.0.2.1")],
];

const runs = Number(process.argv[2] ?? 3);
const best = CASES.map(() => Number.POSITIVE_INFINITY);
for (let run = 0; run < runs; run++) {
  for (const [index, [, prepare]] of CASES.entries()) {
    best[index] = Math.min(best[index], benchmarkPipeline(FLOWS, PACKETS, prepare).nanosecondsPerPacket);
  }
}
for (const [index, [name]] of CASES.entries()) {
  console.log(`${name.padEnd(34)} ${best[index].toFixed(1).padStart(7)} ns a packet`);
}
