/** All engines and all measures, in the order of the report. */
import type { Engine } from "./engines/engine.ts";
import { forwarder } from "./engines/forwarder.ts";
import { kernel, kernelTuned } from "./engines/kernel.ts";
import { ovs } from "./engines/ovs.ts";
import { pasta } from "./engines/pasta.ts";
import { slirp } from "./engines/slirp.ts";
import { tapir, tapirPacket } from "./engines/tapir.ts";
import type { Measure } from "./measures/measure.ts";
import { smallFrames, smallFramesUnpinned } from "./measures/small_frames.ts";
import { tcpBulk } from "./measures/tcp_bulk.ts";

export const ENGINES: readonly Engine[] = [tapir, tapirPacket, forwarder, kernel, kernelTuned, slirp, pasta, ovs];

export const MEASURES: readonly Measure[] = [smallFrames, smallFramesUnpinned, tcpBulk];
