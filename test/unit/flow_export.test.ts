/** Flow export: messages as RFC 7011 has them, and records whose sums are what the flows counted. */
import { createSocket, type Socket } from "node:dgram";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { FlowEventReader, FlowEventWriter, ringBytes } from "../../src/conntrack/events.ts";
import { parseFilter } from "../../src/conntrack/filter.ts";
import { FlowTable } from "../../src/conntrack/flow_table.ts";
import { Timeouts } from "../../src/conntrack/timeouts.ts";
import { type IpfixPlan, parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { FlowReader } from "../../src/control/flows.ts";
import { FlowExport } from "../../src/control/ipfix/flow_export.ts";
import { FlowExporter } from "../../src/control/ipfix/flow_exporter.ts";
import { MessageBuilder } from "../../src/control/ipfix/message.ts";
import { FLOW_TEMPLATE, ICMP_TEMPLATE } from "../../src/control/ipfix/templates.ts";
import { removeMatching } from "../../src/dataplane/end_flows.ts";
import { echoReply, echoRequest, tcp, udp } from "../support/frames.ts";
import { type IpfixMessage, IpfixReader, type IpfixRecord } from "../support/ipfix.ts";
import { type Out, TestRouter } from "../support/router.ts";

const C1 = "10.55.66.2";
const SERVER = "203.0.113.2";
const UPLINK = "203.0.113.1";
const out = { source: C1, destination: SERVER };
const back = { source: SERVER, destination: UPLINK };
/** The wall clock when the router's is 0. */
const EPOCH = 1_800_000_000_000;

function planOf(text = ""): IpfixPlan {
  const { configuration, errors } = parseConfiguration(
    `version: 1
networks: { lab: { subnet: 10.55.66.0/24 } }
export: { ipfix: { collector: 127.0.0.1:4739${text} } }
`,
    "t",
  );
  if (configuration === undefined) throw new Error(JSON.stringify(errors));
  return resolvePlan(configuration).services.ipfix as IpfixPlan;
}

/** A router in memory whose flows are exported; time is the router's. */
class Exporting {
  readonly r = new TestRouter();
  readonly messages: IpfixMessage[] = [];
  readonly exporter: FlowExporter;
  private readonly reader = new IpfixReader();
  private readonly events: FlowEventReader;

  constructor(text = "") {
    const { r } = this;
    r.introduce();
    const memory = new ArrayBuffer(ringBytes(64));
    r.router.flows.events = new FlowEventWriter(memory, 64);
    this.events = new FlowEventReader(memory, 64);
    const { header, words } = r.router.flows;
    this.exporter = new FlowExporter({
      plan: planOf(text),
      flows: new FlowReader(header.buffer as ArrayBuffer, words.length / 32),
      timeouts: new Timeouts().milliseconds,
      send: (message) => this.messages.push(this.reader.read(message)),
      clock: () => EPOCH + r.now,
    });
  }

  /** What the control process does every few milliseconds. */
  work(): void {
    for (const event of this.events.read(1000)) {
      const wall = EPOCH + event.now;
      const stamped = { ...event, seconds: Math.floor(wall / 1000), microseconds: (wall % 1000) * 1000 };
      if ((event.kind & this.exporter.kinds) !== 0) this.exporter.event(stamped);
    }
    this.exporter.tick();
  }

  advance(milliseconds: number): void {
    for (let left = milliseconds; left > 0; left -= 250) {
      this.r.advance(Math.min(left, 250));
      this.work();
    }
  }

  get records(): IpfixRecord[] {
    return this.messages.flatMap(({ records }) => records);
  }

  /** Sum of a field over the records of a direction. */
  sum(field: string, source: string): number {
    const of = this.records.filter((record) => record.sourceIPv4Address === source);
    return of.reduce((total, record) => total + Number(record[field]), 0);
  }
}

/** The fields of c1's question to the server, as it came in and as it left. */
const dnsQuery = (leaving: Out) => ({
  sourceIPv4Address: C1,
  destinationIPv4Address: SERVER,
  postNATSourceIPv4Address: UPLINK,
  postNATDestinationIPv4Address: SERVER,
  sourceTransportPort: 5000,
  destinationTransportPort: 53,
  postNAPTSourceTransportPort: leaving.sourcePort,
  postNAPTDestinationTransportPort: 53,
});

describe("a flow that ends", () => {
  it("is a record for each direction, as its packets came in and as they left", () => {
    const e = new Exporting();
    e.advance(1000);
    const began = EPOCH + e.r.now;
    const [leaving] = e.r.fromC1(udp(out, 5000, 53, new Uint8Array(10)));
    e.r.now += 500;
    e.r.fromServer(udp(back, 53, leaving.sourcePort as number, new Uint8Array(100)));
    e.r.fromServer(udp(back, 53, leaving.sourcePort as number, new Uint8Array(100)));
    e.advance(32_000);
    const common = {
      flowStartMilliseconds: began,
      flowEndMilliseconds: began + 500,
      protocolIdentifier: 17,
      flowEndReason: 1,
      flowId: e.records[0].flowId,
    };
    expect(e.records).toEqual([
      {
        ...common,
        octetDeltaCount: 38,
        packetDeltaCount: 1,
        ...dnsQuery(leaving),
      },
      {
        ...common,
        octetDeltaCount: 256,
        packetDeltaCount: 2,
        sourceIPv4Address: SERVER,
        destinationIPv4Address: UPLINK,
        postNATSourceIPv4Address: SERVER,
        postNATDestinationIPv4Address: C1,
        sourceTransportPort: 53,
        destinationTransportPort: leaving.sourcePort,
        postNAPTSourceTransportPort: 53,
        postNAPTDestinationTransportPort: 5000,
      },
    ]);
  });

  it("is one record when nothing came back, and of ICMP one with type and code", () => {
    const e = new Exporting();
    e.r.fromC1(echoRequest(out, 7, 1));
    e.advance(32_000);
    expect(e.records).toHaveLength(1);
    expect(e.records[0]).toMatchObject({ icmpTypeCodeIPv4: 0x0800, protocolIdentifier: 1, packetDeltaCount: 1 });
    e.r.fromC1(echoRequest(out, 8, 1));
    e.r.fromServer(echoReply(back, 8, 1));
    e.advance(32_000);
    expect(e.records.map((record) => record.icmpTypeCodeIPv4)).toEqual([0x0800, 0x0800, 0]);
  });

  it("says why: closed, idle, or by somebody's hand", () => {
    const e = new Exporting(", activeTimeoutSeconds: 3600");
    const open = (port: number): void => {
      e.r.fromC1(tcp(out, port, 80, { flags: "S", sequence: 1 }));
      e.r.fromServer(tcp(back, 80, port, { flags: "SA", sequence: 1, acknowledgement: 2 }));
      e.r.fromC1(tcp(out, port, 80, { flags: "A", sequence: 2, acknowledgement: 2 }));
    };
    open(40_001);
    e.r.fromServer(tcp(back, 80, 40_001, { flags: "RA", sequence: 2, acknowledgement: 2 }));
    e.r.fromC1(tcp(out, 40_002, 80, { flags: "S", sequence: 1 }));
    open(40_003);
    removeMatching(e.r.router.flows, parseFilter({ proto: "tcp", sport: "40003" }), 0, e.r.now);
    e.advance(125_000);
    const reasons = e.records
      .filter((record) => record.sourceIPv4Address === C1)
      .map((record) => [record.sourceTransportPort, record.flowEndReason]);
    expect(reasons.sort()).toEqual([
      [40_001, 3],
      [40_002, 1],
      [40_003, 4],
    ]);
  });
});

describe("a flow that goes on", () => {
  it("is reported after each active timeout, and the sums are what it has counted", () => {
    const e = new Exporting(", activeTimeoutSeconds: 10");
    const [first] = e.r.fromC1(udp(out, 5000, 53, new Uint8Array(10)));
    let [sent, answered] = [1, 0];
    for (let second = 0; second < 35; second++) {
      e.r.fromC1(udp(out, 5000, 53, new Uint8Array(10)));
      sent++;
      if (second > 12) continue;
      e.r.fromServer(udp(back, 53, first.sourcePort as number, new Uint8Array(20)));
      answered++;
      e.advance(1000);
    }
    e.advance(25_000);
    const active = e.records.filter((record) => record.flowEndReason === 2);
    expect(active.length).toBeGreaterThanOrEqual(3);
    for (const record of active) {
      const lasted = Number(record.flowEndMilliseconds) - Number(record.flowStartMilliseconds);
      expect(lasted).toBeLessThanOrEqual(13_000);
    }
    e.advance(120_000);
    expect(e.sum("packetDeltaCount", C1)).toBe(sent);
    expect(e.sum("octetDeltaCount", C1)).toBe(sent * 38);
    expect(e.sum("packetDeltaCount", SERVER)).toBe(answered);
    expect(e.records.every((record) => Number(record.packetDeltaCount) > 0)).toBe(true);
    expect(new Set(e.records.map((record) => record.flowId)).size).toBe(1);
  });

  it("is no other flow that has its entry in the table now", () => {
    const e = new Exporting(", activeTimeoutSeconds: 5");
    for (let flow = 0; flow < 3; flow++) {
      for (let i = 0; i < 4; i++) {
        e.r.fromC1(udp(out, 5000 + flow, 53, new Uint8Array(10)));
        e.advance(3000);
      }
      e.advance(35_000);
    }
    expect(e.sum("packetDeltaCount", C1)).toBe(12);
  });

  it("is reported when the router ends", () => {
    const e = new Exporting();
    e.r.fromC1(udp(out, 5000, 53, new Uint8Array(10)));
    e.work();
    for (const _ of e.exporter.finish()) throw new Error("one piece");
    expect(e.records).toMatchObject([{ flowEndReason: 4, packetDeltaCount: 1 }]);
  });
});

describe("translation", () => {
  it("is reported as it begins and ends, where that is asked for", () => {
    const e = new Exporting(", natEvents: true");
    const began = EPOCH + e.r.now;
    const [leaving] = e.r.fromC1(udp(out, 5000, 53, new Uint8Array(10)));
    e.r.fromC1(echoRequest(out, 7, 1));
    e.advance(32_000);
    const events = e.records.filter((record) => record.natEvent !== undefined);
    expect(events.map((record) => [record.protocolIdentifier, record.natEvent])).toEqual([
      [17, 4],
      [1, 4],
      [17, 5],
      [1, 5],
    ]);
    expect(events[0]).toEqual({
      observationTimeMilliseconds: began,
      flowId: events[2].flowId,
      ...dnsQuery(leaving),
      protocolIdentifier: 17,
      natEvent: 4,
    });
    expect(events[1]).toMatchObject({ sourceTransportPort: 7, destinationTransportPort: 0 });
  });
});

describe("messages", () => {
  function building(limitBytes: number): { builder: MessageBuilder; messages: IpfixMessage[]; sent: number[] } {
    const messages: IpfixMessage[] = [];
    const sent: number[] = [];
    const reader = new IpfixReader();
    const builder = new MessageBuilder({
      limitBytes,
      domain: 4_000_000_000,
      templates: [FLOW_TEMPLATE, ICMP_TEMPLATE],
      send: (message, records) => {
        messages.push(reader.read(message));
        sent.push(records);
      },
      clock: () => 1_800_000_000_999,
    });
    return { builder, messages, sent };
  }

  it("begin with the templates, are never too long, and are numbered by the records before them", () => {
    const { builder, messages, sent } = building(512);
    for (let i = 0; i < 20; i++) builder.add(i % 3 === 0 ? ICMP_TEMPLATE : FLOW_TEMPLATE).u64(2 ** 40 + i);
    builder.flush();
    expect(messages[0]).toMatchObject({ sequence: 0, domain: 4_000_000_000, seconds: 1_800_000_000 });
    expect(messages.map(({ templates }) => templates.length)).toEqual([2, ...messages.slice(1).map(() => 0)]);
    let before = 0;
    for (const [index, { sequence, records, bytes }] of messages.entries()) {
      expect([sequence, sent[index]]).toEqual([before, records.length]);
      expect(bytes).toBeLessThanOrEqual(512);
      before += records.length;
    }
    expect(before).toBe(20);
    const starts = messages.flatMap(({ records }) => records.map((record) => Number(record.flowStartMilliseconds)));
    expect(starts).toEqual(Array.from({ length: 20 }, (_, index) => 2 ** 40 + index));
  });

  it("say the templates again when they are due, and nothing when there is nothing", () => {
    const { builder, messages } = building(1400);
    builder.flush();
    builder.flush();
    builder.add(FLOW_TEMPLATE);
    builder.repeatTemplates();
    builder.add(FLOW_TEMPLATE);
    builder.flush();
    expect(messages.map(({ templates, records }) => [templates.length, records.length])).toEqual([
      [2, 0],
      [0, 1],
      [2, 1],
    ]);
    expect(messages.map(({ sequence }) => sequence)).toEqual([0, 0, 1]);
  });
});

describe("a collector", () => {
  async function collector(): Promise<{ socket: Socket; port: number; next: () => Promise<IpfixMessage> }> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    onTestFinished(() => void socket.close());
    const reader = new IpfixReader();
    const next = (): Promise<IpfixMessage> =>
      new Promise((resolve) => socket.once("message", (message) => resolve(reader.read(message))));
    return { socket, port: (socket.address() as AddressInfo).port, next };
  }

  it("gets the templates at once, and follows a change of the configuration without losing or doubling a flow", async () => {
    const flows = new FlowReader(new ArrayBuffer(FlowTable.bytesFor(16)), 16);
    const listening: unknown[] = [];
    const hub = {
      add: async (listener: unknown) => void listening.push(listener),
      remove: async (listener: unknown) => void listening.splice(listening.indexOf(listener), 1),
      drain: () => {},
    };
    const said: string[] = [];
    const service = new FlowExport(flows, hub, (message) => said.push(message));
    onTestFinished(() => service.stop());
    const { port, next } = await collector();
    const resolved = (more = "") => {
      const { configuration } = parseConfiguration(
        `version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24 } }\nexport: { ipfix: { collector: 127.0.0.1:${port}${more} } }\n`,
        "t",
      );
      if (configuration === undefined) throw new Error("not valid");
      return resolvePlan(configuration);
    };
    const first = next();
    await service.follow(resolved());
    expect((await first).templates).toEqual([256, 257]);
    const [before] = listening as FlowExporter[];
    await service.follow(resolved());
    expect(listening).toEqual([before]);
    const second = next();
    await service.follow(resolved(", natEvents: true"));
    expect((await second).templates).toEqual([256, 257, 258]);
    const [after, ...others] = listening as FlowExporter[];
    expect(others).toEqual([]);
    expect(after).not.toBe(before);
    expect(after.reported).toBe(before.reported);
    expect(service.counters).toMatchObject({ messages: 2, messagesFailed: 0 });
    expect(said).toEqual([]);
  });
});

describe("the configuration of the export", () => {
  it.each([
    ["collector: 127.0.0.1", /has no port/],
    ["collector: 224.0.0.1:4739", /not a unicast address/],
    ["collector: collector.example:4739", /expected an IPv4 address and a port/],
    ["activeTimeoutSeconds: 5", /collector/],
    ["collector: 10.0.0.1:4739, mtu: 500", /576/],
  ])("is checked: %s", (text, expected) => {
    const { errors } = parseConfiguration(
      `version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24 } }\nexport: { ipfix: { ${text} } }\n`,
      "t",
    );
    expect(errors?.map(({ message, path }) => `${path} ${message}`).join("\n")).toMatch(expected);
  });
});
