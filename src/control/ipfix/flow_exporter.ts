/**
 * What is exported of the flows, and when: both directions of a flow when it ends, and of one that goes on after each
 * active timeout, with what came since it was reported last. A direction without packets has no record.
 *
 * Ends are told by the dataplane's events. Flows that go on are found in the mapped table, a piece at each tick, so that
 * the whole of it is gone through ten times in an active timeout (but not more often than once a second).
 */
import { FlowEvent, type RecordedEvent } from "../../conntrack/events.ts";
import { ANY_NAT, FlowFlag, FlowWord, HeaderWord } from "../../conntrack/flow_layout.ts";
import { flowNumber } from "../../conntrack/format.ts";
import { Protocol } from "../../packet/ipv4.ts";
import type { IpfixPlan } from "../configuration/configuration.ts";
import type { FlowListener } from "../flow_events.ts";
import { countersOf, endReasonOf, lastSeen, writeAddresses, writeIdentifiers, writePorts } from "./flow_record.ts";
import { MessageBuilder } from "./message.ts";
import { Reported } from "./reported.ts";
import { EndReason, FLOW_TEMPLATE, ICMP_TEMPLATE, NAT_TEMPLATE, NatEvent } from "./templates.ts";

/** How often `tick` is to be called. */
export const TICK_MS = 250;
const PASSES = 10;
const SHORTEST_PASS_MS = 1000;
/** An IPv4 header and one of UDP. */
const UDP_OVERHEAD_BYTES = 28;
/** Entries that a tick or a piece of the last report looks at. */
const MOST_AT_ONCE = 65_536;

/** The flow table as the control process sees it (`FlowReader`). */
export interface FlowSource {
  readonly header: Int32Array;
  entry(flow: number): Int32Array | undefined;
}

export interface ExporterOptions {
  plan: IpfixPlan;
  flows: FlowSource;
  /** Milliseconds by `TcpState` and `TimeoutIndex`. */
  timeouts: Int32Array;
  send(message: Uint8Array, records: number): void;
  /** Milliseconds since 1970. */
  clock(): number;
  /** What the collector has been told by an exporter before this one. */
  reported?: Reported | undefined;
}

export class FlowExporter implements FlowListener {
  /** Events that were lost before they could be read: flows whose end is not reported. */
  eventsLost = 0;
  records = 0;
  private readonly options: ExporterOptions;
  private readonly builder: MessageBuilder;
  readonly reported: Reported;
  private next = 0;
  private flushAt: number;
  private templatesAt: number;

  constructor(options: ExporterOptions) {
    const { plan, send, clock } = options;
    this.options = options;
    this.reported = options.reported ?? new Reported();
    const templates = [FLOW_TEMPLATE, ICMP_TEMPLATE, ...(plan.natEvents ? [NAT_TEMPLATE] : [])];
    const limitBytes = plan.mtu - UDP_OVERHEAD_BYTES;
    this.builder = new MessageBuilder({ limitBytes, domain: plan.domain, templates, send, clock });
    this.flushAt = clock() + plan.intervalSeconds * 1000;
    this.templatesAt = clock() + plan.templateSeconds * 1000;
  }

  /** Kinds of events that it wants to be told. */
  get kinds(): number {
    return FlowEvent.DESTROY | (this.options.plan.natEvents ? FlowEvent.NEW : 0);
  }

  event({ kind, now, index, words, base, seconds, microseconds }: RecordedEvent): void {
    const wallMs = seconds * 1000 + Math.floor(microseconds / 1000);
    if (this.options.plan.natEvents) this.reportTranslation(kind, words, base, wallMs);
    if (kind !== FlowEvent.DESTROY) return;
    this.report({ words, base, index, now, wallMs }, endReasonOf(words, base, now));
    this.reported.forget(index);
  }

  lost(count: number): void {
    this.eventsLost += count;
  }

  /** What the clock wants: flows that have gone on for long, templates, records that have waited. */
  tick(): void {
    const { plan, flows, clock } = this.options;
    const passMs = Math.max(SHORTEST_PASS_MS, (plan.activeTimeoutSeconds * 1000) / PASSES);
    const entries = Math.ceil((flows.header[HeaderWord.HIGH_WATER] * TICK_MS) / passMs);
    this.lookAt(Math.min(entries, MOST_AT_ONCE));
    const now = clock();
    if (now >= this.templatesAt) {
      this.templatesAt = now + plan.templateSeconds * 1000;
      this.builder.repeatTemplates();
      this.builder.flush();
    }
    if (now < this.flushAt) return;
    this.flushAt = now + plan.intervalSeconds * 1000;
    this.builder.flush();
  }

  /**
   * Reports what is left of all flows, because the router ends, in pieces; the caller sends in between. To be called
   * until it says that nothing is left.
   */
  *finish(): Generator<void> {
    const { flows, clock } = this.options;
    for (let index = 0; index < flows.header[HeaderWord.HIGH_WATER]; index++) {
      const words = flows.entry(index);
      const now = flows.header[HeaderWord.NOW];
      if (words !== undefined) this.report({ words, base: 0, index, now, wallMs: clock() }, EndReason.FORCED_END);
      if (index % MOST_AT_ONCE === MOST_AT_ONCE - 1) yield;
    }
    this.builder.flush();
  }

  /** The next message begins with the templates: a collector that was not there has not got them. */
  repeatTemplates(): void {
    this.builder.repeatTemplates();
  }

  /** Sends what waits. */
  flush(): void {
    this.builder.flush();
  }

  private lookAt(entries: number): void {
    const { flows, clock } = this.options;
    for (let left = entries; left > 0; left--) {
      if (this.next >= flows.header[HeaderWord.HIGH_WATER]) this.next = 0;
      const index = this.next++;
      const words = flows.entry(index);
      if (words === undefined) continue;
      const now = flows.header[HeaderWord.NOW];
      if (this.isDue(words, index, now)) {
        this.report({ words, base: 0, index, now, wallMs: clock() }, EndReason.ACTIVE_TIMEOUT);
      }
    }
  }

  private isDue(words: Int32Array, index: number, now: number): boolean {
    const { reportedAt } = this.reported.of(index, flowNumber(words, 0));
    const since = reportedAt ?? words[FlowWord.CREATED];
    return (now - since) >>> 0 >= this.options.plan.activeTimeoutSeconds * 1000;
  }

  private report(seen: Seen, reason: number): void {
    const { words, base, index, now } = seen;
    const number = flowNumber(words, base);
    const { counters: before, reportedAt } = this.reported.of(index, number);
    const counters = countersOf(words, base);
    for (const direction of [0, 1]) {
      const packets = counters[2 * direction] - before[2 * direction];
      const bytes = counters[2 * direction + 1] - before[2 * direction + 1];
      if (packets > 0) this.writeFlow(seen, direction, { packets, bytes, number, reason, since: reportedAt });
    }
    if (reason === EndReason.ACTIVE_TIMEOUT) this.reported.note(index, number, counters, now);
  }

  private writeFlow({ words, base, now, wallMs }: Seen, direction: number, counted: Counted): void {
    const protocol = words[base + FlowWord.STATUS] & 0xff;
    const began = wallMs - ((now - (counted.since ?? words[base + FlowWord.CREATED])) >>> 0);
    const ended = Math.max(began, wallMs - ((now - lastSeen(words, base, now, this.options.timeouts)) >>> 0));
    const writer = this.builder.add(protocol === Protocol.ICMP ? ICMP_TEMPLATE : FLOW_TEMPLATE);
    writer.u64(began).u64(ended).u64(counted.bytes).u64(counted.packets).u64(counted.number);
    writeAddresses(writer, words, base, direction);
    if (protocol === Protocol.ICMP) writer.u16(words[base + direction * 3 + FlowWord.PORTS] & 0xffff);
    else writePorts(writer, words, base, direction);
    writer.u8(protocol).u8(counted.reason);
    this.records++;
  }

  private reportTranslation(kind: number, words: Int32Array, base: number, wallMs: number): void {
    const status = words[base + FlowWord.STATUS];
    if ((status & ANY_NAT) === 0 || (status & FlowFlag.BRIDGED) !== 0) return;
    const writer = this.builder.add(NAT_TEMPLATE);
    writer.u64(wallMs).u64(flowNumber(words, base));
    writeAddresses(writer, words, base, 0);
    if ((status & 0xff) === Protocol.ICMP) writeIdentifiers(writer, words, base);
    else writePorts(writer, words, base, 0);
    const isNew = kind === FlowEvent.NEW;
    writer.u8(status & 0xff).u8(isNew ? NatEvent.NAT44_SESSION_CREATE : NatEvent.NAT44_SESSION_DELETE);
    this.records++;
  }
}

/** A flow as it was at a time of both clocks. */
interface Seen {
  words: Int32Array;
  base: number;
  /** Its entry in the table. */
  index: number;
  /** The dataplane's clock. */
  now: number;
  wallMs: number;
}

interface Counted {
  packets: number;
  bytes: number;
  number: number;
  reason: number;
  /** When it was reported before: the dataplane's clock. */
  since: number | undefined;
}
