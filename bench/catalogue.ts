/** All engines and all measures, in the order of the report. */
import { cable, memory } from "./engines/bare.ts";
import type { Engine } from "./engines/engine.ts";
import { forwarder } from "./engines/forwarder.ts";
import { kernel, kernelTuned } from "./engines/kernel.ts";
import { ovs } from "./engines/ovs.ts";
import { pasta } from "./engines/pasta.ts";
import { slirp } from "./engines/slirp.ts";
import { tapir, tapirPacket } from "./engines/tapir.ts";
import { lpmMeasure, pipelineMeasure } from "./measures/in_memory.ts";
import { latency } from "./measures/latency.ts";
import type { Measure } from "./measures/measure.ts";
import { newFlowsMeasure } from "./measures/new_flows.ts";
import { oneFlowMeasure } from "./measures/one_flow.ts";
import { processorTimeMeasure } from "./measures/processor_time.ts";
import {
  frameSizes,
  manyFlowsMeasure,
  smallFrames,
  smallFramesOthers,
  smallFramesUnpinned,
} from "./measures/small_frames.ts";
import { sustained } from "./measures/sustained.ts";
import { tcpBulk } from "./measures/tcp_bulk.ts";
import { tcpRequests } from "./measures/tcp_requests.ts";

export const ENGINES: readonly Engine[] = [
  tapir,
  tapirPacket,
  forwarder,
  kernel,
  kernelTuned,
  slirp,
  pasta,
  ovs,
  cable,
  memory,
];

export const MEASURES: readonly Measure[] = [
  pipelineMeasure,
  smallFrames,
  smallFramesUnpinned,
  smallFramesOthers,
  frameSizes,
  manyFlowsMeasure,
  sustained,
  oneFlowMeasure,
  tcpBulk,
  newFlowsMeasure,
  tcpRequests,
  latency,
  processorTimeMeasure,
  lpmMeasure,
];
