/** All engines and all measures, in the order of the report. */
import { cable, memory } from "./engines/bare.ts";
import type { Engine } from "./engines/engine.ts";
import { forwarder, forwarderRing } from "./engines/forwarder.ts";
import { kernel, kernelTuned } from "./engines/kernel.ts";
import { ovs } from "./engines/ovs.ts";
import { pasta } from "./engines/pasta.ts";
import { slirp } from "./engines/slirp.ts";
import { tapir, tapirPacket, tapirVariants } from "./engines/tapir.ts";
import { capacity } from "./measures/capacity.ts";
import { ceiling } from "./measures/ceiling.ts";
import { frameSizes } from "./measures/frame_sizes.ts";
import { garbage } from "./measures/garbage.ts";
import { hooksMeasure, lpmMeasure, pipelineMeasure } from "./measures/in_memory.ts";
import { latency } from "./measures/latency.ts";
import type { Measure } from "./measures/measure.ts";
import { newFlowsMeasure } from "./measures/new_flows.ts";
import { oneFlowMeasure } from "./measures/one_flow.ts";
import { processorTimeMeasure } from "./measures/processor_time.ts";
import { rules } from "./measures/rules.ts";
import { manyFlowsMeasure, smallFrames, smallFramesOthers, smallFramesUnpinned } from "./measures/small_frames.ts";
import { tcpBulk } from "./measures/tcp_bulk.ts";
import { tcpRequests } from "./measures/tcp_requests.ts";

export const ENGINES: readonly Engine[] = [
  tapir,
  tapirPacket,
  ...tapirVariants,
  forwarder,
  forwarderRing,
  kernel,
  kernelTuned,
  slirp,
  pasta,
  ovs,
  cable,
  memory,
];

/** In the order of the report, and of what goes first where time is short. */
export const MEASURES: readonly Measure[] = [
  pipelineMeasure,
  lpmMeasure,
  hooksMeasure,
  ceiling,
  smallFrames,
  oneFlowMeasure,
  latency,
  newFlowsMeasure,
  tcpBulk,
  tcpRequests,
  garbage,
  manyFlowsMeasure,
  capacity,
  rules,
  processorTimeMeasure,
  smallFramesOthers,
  smallFramesUnpinned,
  ...frameSizes,
];
