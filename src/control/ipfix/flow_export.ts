/**
 * Flow export as part of a running router: it exports where the configuration in force says, changes with it, and
 * reports what is left when the router ends. Its counters outlive a change.
 */

import { timeoutsOf } from "../../dataplane/plan_conntrack.ts";
import type { IpfixPlan, ResolvedPlan } from "../configuration/configuration.ts";
import { ExitCode, TapirError } from "../errors.ts";
import type { FlowEventHub } from "../flow_events.ts";
import { FlowExporter, type FlowSource, TICK_MS } from "./flow_exporter.ts";
import { UdpSender } from "./udp_sender.ts";

/** What is left of the flows when the router ends is reported for so long at most. */
const FINISH_MS = 2000;

export interface ExportCounters {
  records: number;
  messages: number;
  messagesFailed: number;
  /** Records that could not be sent. */
  recordsLost: number;
  /** Ends of flows that came faster than they could be read. */
  eventsLost: number;
}

type Hub = Pick<FlowEventHub, "add" | "remove" | "drain">;

interface Running {
  plan: IpfixPlan;
  exporter: FlowExporter;
  sender: UdpSender;
  timer: NodeJS.Timeout;
}

export class FlowExport {
  private readonly flows: FlowSource;
  private readonly hub: Hub;
  private readonly warn: (message: string) => void;
  private running: Running | undefined;
  private before: ExportCounters = { records: 0, messages: 0, messagesFailed: 0, recordsLost: 0, eventsLost: 0 };

  constructor(flows: FlowSource, hub: Hub, warn: (message: string) => void) {
    this.flows = flows;
    this.hub = hub;
    this.warn = warn;
  }

  get counters(): ExportCounters {
    return this.running === undefined ? this.before : sum(this.before, countersOf(this.running));
  }

  /** Exports as `resolved` says from now on. When it throws, it does what it did before. */
  async follow({ services, plan }: ResolvedPlan): Promise<void> {
    const { ipfix } = services;
    if (JSON.stringify(ipfix) === JSON.stringify(this.running?.plan)) return;
    const next = ipfix === undefined ? undefined : await this.start(ipfix, timeoutsOf(plan.conntrack).milliseconds);
    await this.replace(next);
  }

  /** Reports what is left; the flow table must still be there. */
  async stop(): Promise<void> {
    const { running } = this;
    if (running === undefined) return;
    const { exporter, sender } = running;
    this.hub.drain();
    const until = performance.now() + FINISH_MS;
    for (const _ of exporter.finish()) {
      await sender.idle();
      if (performance.now() < until) continue;
      this.warn("flow export: not all flows could be reported before the end");
      break;
    }
    await this.replace(undefined);
  }

  private async start(plan: IpfixPlan, timeouts: Int32Array): Promise<Running> {
    const sender = await UdpSender.open(plan.collector, this.warn).catch((error: Error) => {
      throw new TapirError(`export.ipfix.collector: ${error.message}`, ExitCode.FAILED);
    });
    const send = (message: Uint8Array, records: number): void => sender.send(message, records);
    // A collector that knows of a flow already is told what came since.
    const before = this.running;
    const isSame = JSON.stringify(before?.plan.collector) === JSON.stringify(plan.collector);
    const reported = isSame ? before?.exporter.reported : undefined;
    const exporter = new FlowExporter({ plan, flows: this.flows, timeouts, send, clock: Date.now, reported });
    // The templates, at once.
    exporter.flush();
    sender.onFailure = () => exporter.repeatTemplates();
    return { plan, exporter, sender, timer: setInterval(() => exporter.tick(), TICK_MS) };
  }

  /** One takes over from the other between two events. */
  private async replace(next: Running | undefined): Promise<void> {
    const { running: old, hub } = this;
    if (old !== undefined) this.before = sum(this.before, countersOf(old));
    this.running = next;
    const added = next === undefined ? undefined : hub.add(next.exporter, { kinds: next.exporter.kinds });
    const removed = old === undefined ? undefined : hub.remove(old.exporter);
    try {
      await added;
      await removed;
    } finally {
      if (old !== undefined) await this.close(old);
    }
  }

  private async close({ exporter, sender, timer }: Running): Promise<void> {
    clearInterval(timer);
    exporter.flush();
    await sender.idle();
    sender.close();
  }
}

function countersOf({ exporter, sender }: Running): ExportCounters {
  const { records, eventsLost } = exporter;
  const { messages, messagesFailed, recordsLost } = sender;
  return { records, messages, messagesFailed, recordsLost, eventsLost };
}

function sum(left: ExportCounters, right: ExportCounters): ExportCounters {
  return {
    records: left.records + right.records,
    messages: left.messages + right.messages,
    messagesFailed: left.messagesFailed + right.messagesFailed,
    recordsLost: left.recordsLost + right.recordsLost,
    eventsLost: left.eventsLost + right.eventsLost,
  };
}
