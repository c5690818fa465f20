/** Datagrams for the router's DHCP server and DNS forwarder, and those that these send: the dataplane's part of it. */
import { describe, expect, it } from "vitest";
import { FlowFlag, FlowWord } from "../../src/conntrack/flow_layout.ts";
import { Counter } from "../../src/dataplane/counters.ts";
import { explain } from "../../src/dataplane/explain/explain.ts";
import type { OwnSocket, ReceivedDatagram } from "../../src/dataplane/messages.ts";
import { askServer, forgetServer, sendDatagram } from "../../src/dataplane/own_datagrams.ts";
import { concat, ethernet, udp, word } from "../support/frames.ts";
import {
  C1_MAC,
  decodeSent,
  defaultPlan,
  GATEWAY_MAC,
  type Out,
  Port,
  SERVER_MAC,
  TestRouter,
} from "../support/router.ts";
import { Action, type ShortPlan, StateBit } from "../support/rules.ts";

const BROADCAST = "ff:ff:ff:ff:ff:ff";
const SERVER = "203.0.113.53";
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

class World extends TestRouter {
  readonly handed: ReceivedDatagram[] = [];
  isFull = false;

  constructor(changes: Partial<ShortPlan> = {}, services = { dhcp: true, dns: true }) {
    const plan = { ...defaultPlan(), ...changes };
    const { dhcp, dns } = services;
    Object.assign(plan.interfaces[0], dhcp ? { dhcp: true } : {}, dns ? { dns: true } : {});
    super(plan);
    this.router.datagrams.onDatagram = (datagram) => {
      if (this.isFull) return false;
      this.handed.push(datagram);
      return true;
    };
    this.introduce();
  }

  /** Broadcast by c1, as a client without an address does. */
  discover(source = "0.0.0.0", ports: [number, number] = [68, 67], destination = "255.255.255.255"): Out[] {
    const packet = udp({ source, destination }, ...ports, text("discover"));
    return this.send(Port.C1, ethernet(BROADCAST, C1_MAC, 0x0800, packet));
  }

  ask(destination: string, port: number, payload = text("question")): Out[] {
    return this.fromC1(udp({ source: "10.55.66.2", destination }, 40_000, port, payload));
  }

  question(destination = SERVER): OwnSocket {
    return askServer(this.router, {
      destination: word(destination),
      destinationPort: 53,
      payload: Buffer.from("up").toString("base64"),
    });
  }

  sent(): Out[] {
    return this.io.takeSent().map(decodeSent);
  }

  /** What the server at `from` says to a socket. */
  answer({ source, sourcePort }: OwnSocket, from = SERVER, port = 53): Out[] {
    const to = [24, 16, 8, 0].map((shift) => (source >>> shift) & 0xff).join(".");
    return this.fromServer(udp({ source: from, destination: to }, port, sourcePort, text("answer")));
  }

  counter(name: "datagramsHanded" | "datagramsRefused"): number {
    return this.router.counters.values[Counter[name]];
  }
}

const payloadOf = ({ payload }: ReceivedDatagram): string => Buffer.from(payload, "base64").toString();

describe("a message to the DHCP server", () => {
  it("is handed over when a host without an address broadcasts it, and flooded like any broadcast", () => {
    const world = new World();
    const out = world.discover();
    expect(out.map(({ port }) => port)).toEqual([Port.C2]);
    expect(world.handed).toHaveLength(1);
    expect(world.handed[0]).toMatchObject({
      service: "dhcp",
      interface: 0,
      port: Port.C1,
      mac: C1_MAC,
      source: 0,
      destination: -1,
      sourcePort: 68,
      destinationPort: 67,
    });
    expect(payloadOf(world.handed[0])).toBe("discover");
  });

  it("is handed over when a client broadcasts it from its address, or sends it to the gateway", () => {
    const world = new World();
    const before = world.stopped("local");
    world.discover("10.55.66.2");
    world.fromC1(udp({ source: "10.55.66.2", destination: "10.55.66.1" }, 68, 67, text("renew")));
    expect(world.handed.map(payloadOf)).toEqual(["discover", "renew"]);
    expect(world.stopped("local")).toBe(before + 1);
  });

  it("is none on a network without a server, on an uplink, between other ports or with a wrong checksum", () => {
    expect(new World({}, { dhcp: false, dns: true }).discover()).toHaveLength(1);
    const world = new World();
    world.discover("0.0.0.0", [67, 68]);
    world.discover("0.0.0.0", [68, 67], "10.55.66.255");
    const packet = udp({ source: "0.0.0.0", destination: "255.255.255.255" }, 68, 67, text("discover"));
    world.send(Port.WAN, ethernet(BROADCAST, SERVER_MAC, 0x0800, packet));
    packet[packet.length - 1] ^= 1;
    world.send(Port.C1, ethernet(BROADCAST, C1_MAC, 0x0800, packet));
    expect(world.handed).toEqual([]);
    expect(world.stopped("martian-source")).toBe(1);
  });

  it("is heard where the bridge chain drops the broadcast", () => {
    const world = new World({ bridge: { policy: Action.DROP, rules: [] } });
    expect(world.discover()).toEqual([]);
    expect(world.handed.map(payloadOf)).toEqual(["discover"]);
  });

  it("is not told to anybody by a rehearsal, which says whose it would be", () => {
    const world = new World();
    const packet = udp({ source: "0.0.0.0", destination: "255.255.255.255" }, 68, 67, text("discover"));
    const frame = Buffer.from(ethernet(BROADCAST, C1_MAC, 0x0800, packet)).toString("base64");
    expect(JSON.stringify(explain(world.router, Port.C1, frame, false))).toContain("is for the network's DHCP server");
    expect(world.handed).toEqual([]);
    expect(world.counter("datagramsHanded")).toBe(0);
  });
});

describe("a question to the DNS forwarder", () => {
  it("is handed over when it comes to the gateway's port 53, and nowhere else", () => {
    const world = new World();
    expect(world.ask("10.55.66.1", 53)).toEqual([]);
    expect(world.handed.map(({ service }) => service)).toEqual(["dns"]);
    // Closed, as ever.
    expect(world.ask("10.55.66.1", 54)).toMatchObject([{ icmpType: 3, icmpCode: 3 }]);
    expect(world.ask("203.0.113.1", 53)).toMatchObject([{ icmpType: 3, icmpCode: 3 }]);
    expect(world.fromServer(udp({ source: SERVER, destination: "203.0.113.1" }, 5000, 53))).toHaveLength(1);
    expect(new World({}, { dhcp: true, dns: false }).ask("10.55.66.1", 53)).toMatchObject([{ icmpType: 3 }]);
    expect(world.handed).toHaveLength(1);
  });

  it("meets INPUT before", () => {
    const world = new World({ input: { policy: Action.DROP, rules: [] } });
    world.ask("10.55.66.1", 53);
    expect(world.handed).toEqual([]);
    expect(world.stopped("input-drop")).toBe(1);
  });

  it("is answered by the port and to the hardware address that it came from, and the flow has its reply", () => {
    const world = new World();
    world.ask("10.55.66.1", 53);
    const { service: _, ...asked } = world.handed[0];
    sendDatagram(world.router, {
      ...asked,
      source: asked.destination,
      destination: asked.source,
      sourcePort: asked.destinationPort,
      destinationPort: asked.sourcePort,
      payload: Buffer.from("answer").toString("base64"),
    });
    const [out] = world.sent();
    expect(out).toMatchObject({
      port: Port.C1,
      destinationMac: C1_MAC,
      sourceMac: GATEWAY_MAC,
      source: "10.55.66.1",
      destination: "10.55.66.2",
      sourcePort: 53,
      destinationPort: 40_000,
      bad: [],
    });
    expect(Buffer.from(out.payload ?? []).toString()).toBe("answer");
    expect(world.router.flows.count).toBe(1);
    expect(world.router.flows.words[FlowWord.STATUS] & FlowFlag.SEEN_REPLY).not.toBe(0);
  });

  it("is refused beyond what its port may ask, whatever others ask", () => {
    const world = new World();
    for (let asked = 0; asked < 300; asked++) world.ask("10.55.66.1", 53);
    expect(world.handed).toHaveLength(100);
    expect(world.stopped("service-limit")).toBe(200);
    expect(world.counter("datagramsRefused")).toBe(200);
    world.fromC2(udp({ source: "10.55.66.3", destination: "10.55.66.1" }, 40_000, 53, text("question")));
    expect(world.handed).toHaveLength(101);
    world.advance(1000);
    world.ask("10.55.66.1", 53);
    expect(world.handed).toHaveLength(102);
  });

  it("is refused where it is too long, or the control process does not keep up", () => {
    const world = new World();
    world.ask("10.55.66.1", 53, new Uint8Array(1400));
    expect(world.handed).toHaveLength(1);
    world.ask("10.55.66.1", 53, new Uint8Array(5000));
    expect(world.stopped("service-limit")).toBe(1);
    world.isFull = true;
    world.ask("10.55.66.1", 53);
    expect(world.stopped("service-limit")).toBe(2);
    expect(world.handed).toHaveLength(1);
  });

  it("is no datagram that its UDP header makes longer or shorter than it is", () => {
    const world = new World();
    const packet = udp({ source: "10.55.66.2", destination: "10.55.66.1" }, 40_000, 53, text("question"));
    for (const length of [0, 7, 9000]) {
      const harmed = packet.slice();
      // Without a checksum.
      harmed.set([length >> 8, length & 0xff, 0, 0], 24);
      world.fromC1(harmed);
    }
    for (const { payload } of world.handed) expect(Buffer.from(payload, "base64").length).toBeLessThanOrEqual(8);
  });
});

describe("a datagram to a station", () => {
  const datagram = {
    interface: 0,
    port: Port.C1,
    mac: BROADCAST,
    source: word("10.55.66.1"),
    destination: -1,
    sourcePort: 67,
    destinationPort: 68,
    payload: Buffer.from("offer").toString("base64"),
  };

  it("leaves by its port alone, broadcast or not", () => {
    const world = new World();
    sendDatagram(world.router, datagram);
    const out = world.sent();
    expect(out).toMatchObject([{ port: Port.C1, destinationMac: BROADCAST, destination: "255.255.255.255", bad: [] }]);
  });

  it("is lost and counted where its port is another's by now, or it is longer than the MTU", () => {
    const world = new World();
    const held = world.arena.heldSlots();
    sendDatagram(world.router, { ...datagram, port: Port.WAN });
    sendDatagram(world.router, { ...datagram, interface: 7 });
    sendDatagram(world.router, { ...datagram, payload: Buffer.alloc(1473).toString("base64") });
    expect(world.sent()).toEqual([]);
    expect(world.router.counters.values[Counter.ownFramesDropped]).toBe(3);
    expect(world.arena.heldSlots()).toBe(held);
  });
});

describe("a question to a server", () => {
  it("leaves from the uplink's address by a port of its own, and its answer is handed over", () => {
    const world = new World();
    world.arp(Port.WAN, { operation: 1, senderMac: SERVER_MAC, sender: SERVER, target: "203.0.113.1" });
    const socket = world.question();
    expect(world.sent()).toMatchObject([
      { port: Port.WAN, source: "203.0.113.1", destination: SERVER, sourcePort: socket.sourcePort, bad: [] },
    ]);
    expect(world.answer(socket)).toEqual([]);
    expect(world.handed).toMatchObject([{ service: "answer", interface: 1, port: Port.WAN, sourcePort: 53 }]);
    expect(payloadOf(world.handed[0])).toBe("answer");
  });

  it("waits for its next hop, which is asked for by ARP", () => {
    const world = new World();
    world.question();
    expect(world.sent()).toMatchObject([{ port: Port.WAN, arp: { operation: 1, target: SERVER } }]);
    const reply = { operation: 2, senderMac: SERVER_MAC, sender: SERVER, target: "203.0.113.1" } as const;
    const out = world.arp(Port.WAN, { ...reply, targetMac: "02:00:00:00:02:01" }, "02:00:00:00:02:01");
    expect(out).toMatchObject([{ destination: SERVER, destinationPort: 53, bad: [] }]);
  });

  it("has its answer let in by a rule for what is established, and by nothing else", () => {
    const established = { states: StateBit.ESTABLISHED, action: Action.ACCEPT };
    const world = new World({ input: { policy: Action.DROP, rules: [established] } });
    const socket = world.question();
    world.answer(socket, SERVER, 54);
    world.answer(socket, "203.0.113.54");
    world.answer({ ...socket, sourcePort: socket.sourcePort ^ 1 });
    expect(world.handed).toEqual([]);
    world.answer(socket);
    expect(world.handed).toHaveLength(1);
    const closed = new World({ input: { policy: Action.DROP, rules: [] } });
    closed.answer(closed.question());
    expect(closed.handed).toEqual([]);
  });

  it("is over when it is forgotten: what comes then finds a closed port", () => {
    const world = new World();
    const socket = world.question();
    expect(world.router.flows.count).toBe(1);
    forgetServer(world.router, socket);
    expect(world.router.flows.count).toBe(0);
    world.answer(socket);
    expect(world.handed).toEqual([]);
    // Of somebody else's flow, nothing is forgotten.
    world.fromC1(udp({ source: "10.55.66.2", destination: SERVER }, 5000, 53));
    forgetServer(world.router, { ...socket, source: word("203.0.113.1"), sourcePort: 5000 });
    expect(world.router.flows.count).toBeGreaterThanOrEqual(1);
  });

  it("never has the tuple of a translated flow, nor a translated flow its", () => {
    const world = new World();
    const used = new Set<number>();
    for (let round = 0; round < 200; round++) {
      const socket = world.question();
      expect(used.has(socket.sourcePort)).toBe(false);
      used.add(socket.sourcePort);
      world.sent();
      // A container's question from the same port is moved to another one.
      world.arp(Port.WAN, { operation: 1, senderMac: SERVER_MAC, sender: SERVER, target: "203.0.113.1" });
      const [out] = world.fromC1(udp({ source: "10.55.66.2", destination: SERVER }, socket.sourcePort, 53));
      expect(out.sourcePort).not.toBe(socket.sourcePort);
      used.add(out.sourcePort as number);
    }
    // The ports are spread.
    expect(Math.max(...used) - Math.min(...used)).toBeGreaterThan(30_000);
  });

  it("is refused where no route leads, the uplink has no address, or the address is the router's own", () => {
    const plan = defaultPlan();
    const noRoute = new World({ routes: [] });
    const held = noRoute.arena.heldSlots();
    expect(() => noRoute.question("198.51.100.1")).toThrow("no route to 198.51.100.1");
    expect(() => noRoute.question("203.0.113.1")).toThrow("no route");
    const [lab, wan] = plan.interfaces;
    const waiting = new World({ interfaces: [lab, { ...wan, address: 0, isLeased: true, further: [] }] });
    expect(() => waiting.question("203.0.113.53")).toThrow();
    expect(noRoute.arena.heldSlots()).toBe(held);
    expect(noRoute.router.flows.count).toBe(0);
  });

  it("uses ports of an address that is shared with the host that the router may have", () => {
    const plan = defaultPlan();
    const [lab, wan] = plan.interfaces;
    const shared = { ports: { first: 40_000, last: 40_003 }, echoIds: { first: 1, last: 2 } };
    const world = new World({ interfaces: [lab, { ...wan, shared }] });
    const ports = new Set([1, 2, 3, 4].map(() => world.question().sourcePort));
    expect([...ports].every((port) => port >= 40_000 && port <= 40_003)).toBe(true);
    expect(ports.size).toBe(4);
    expect(() => world.question()).toThrow("no source port is free");
  });

  it("may be asked of a server inside a network", () => {
    const world = new World();
    const socket = world.question("10.55.66.3");
    expect(world.sent()).toMatchObject([{ port: Port.C2, source: "10.55.66.1", destination: "10.55.66.3" }]);
    const answer = udp({ source: "10.55.66.3", destination: "10.55.66.1" }, 53, socket.sourcePort, text("answer"));
    expect(world.fromC2(answer)).toEqual([]);
    expect(world.handed).toMatchObject([{ service: "answer", port: Port.C2 }]);
  });
});

it("keeps the payload of a datagram that came in fragments", () => {
  const world = new World();
  const payload = new Uint8Array(1000).fill(7);
  const whole = udp({ source: "10.55.66.2", destination: "10.55.66.1", fragment: 0, id: 9 }, 40_000, 53, payload);
  const piece = (from: number, to: number, more: boolean): Uint8Array => {
    const bytes = concat(whole.slice(0, 20), whole.slice(20 + from, 20 + to));
    const view = new DataView(bytes.buffer);
    view.setUint16(2, bytes.length);
    view.setUint16(6, (more ? 0x2000 : 0) | (from >> 3));
    view.setUint16(10, 0);
    let sum = 0;
    for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
    view.setUint16(10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
    return bytes;
  };
  world.fromC1(piece(0, 504, true));
  expect(world.handed).toEqual([]);
  world.fromC1(piece(504, 1008, false));
  expect(Buffer.from(world.handed[0].payload, "base64")).toEqual(Buffer.from(payload));
});
