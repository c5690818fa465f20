/** A whole router in memory, with a manual clock and a seeded generator. */
import type { Adoption } from "../../src/conntrack/adopt.ts";
import { FlowTable } from "../../src/conntrack/flow_table.ts";
import { adoptFlows } from "../../src/dataplane/adopt_flows.ts";
import { Loop } from "../../src/dataplane/loop.ts";
import {
  DEFAULT_CONNTRACK,
  type InterfacePlan,
  type LimitsPlan,
  type PortPlan,
  type RouterPlan,
} from "../../src/dataplane/plan.ts";
import { Router } from "../../src/dataplane/router.ts";

import { MemoryIo, type SentFrame } from "../../src/io/memory_port.ts";
import { Arena, SLOT_BYTES } from "../../src/packet/arena.ts";
import { type ArpFields, arp, type Decoded, decode, ethernet, word } from "./frames.ts";
import { Action, planOf, type ShortPlan } from "./rules.ts";

export const GATEWAY_MAC = "02:00:00:00:01:01";
export const UPLINK_MAC = "02:00:00:00:02:01";
export const C1_MAC = "02:00:00:00:00:02";
export const C2_MAC = "02:00:00:00:00:03";
export const SERVER_MAC = "02:00:00:00:00:99";
export const BROADCAST = "ff:ff:ff:ff:ff:ff";

/** Ports of the default plan. */
export const Port = { C1: 0, C2: 1, WAN: 2 } as const;

const INTERFACES: InterfacePlan[] = [
  {
    index: 0,
    name: "lab",
    kind: "network",
    address: word("10.55.66.1"),
    prefixLength: 24,
    mac: GATEWAY_MAC,
    mtu: 1500,
  },
  { index: 1, name: "wan", kind: "uplink", address: word("203.0.113.1"), prefixLength: 24, mac: UPLINK_MAC, mtu: 1500 },
];

const PORTS: PortPlan[] = [
  { index: Port.C1, name: "c1", interface: 0 },
  { index: Port.C2, name: "c2", interface: 0 },
  { index: Port.WAN, name: "wan", interface: 1 },
];

/** One network of two containers, one uplink with a default route over 203.0.113.2, MASQUERADE, all accepted. */
export function defaultPlan(): ShortPlan {
  return {
    interfaces: INTERFACES.map((each) => ({ ...each })),
    ports: PORTS.map((each) => ({ ...each })),
    routes: [{ to: { address: 0, length: 0 }, nextHops: [{ interface: 1, via: word("203.0.113.2") }] }],
    sourceNat: [{ from: { address: word("10.55.66.0"), length: 24 }, out: 1 }],
    publish: [],
    conntrack: { ...DEFAULT_CONNTRACK },
    forward: { policy: Action.ACCEPT, rules: [] },
    input: { policy: Action.ACCEPT, rules: [] },
    macAgeingSeconds: 300,
    merging: { segments: true, datagrams: true },
  };
}

/** A seeded generator of 32-bit words (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return t ^ (t >>> 14);
  };
}

export interface Out extends Decoded {
  port: number;
  bytes: Uint8Array;
  vnetHeader: Uint8Array;
}

/** A frame that came out, decoded. */
export function decodeSent(sent: SentFrame): Out {
  const partial = (sent.vnetHeader[0] & 1) !== 0;
  return { ...decode(sent.bytes, { partial }), port: sent.port, bytes: sent.bytes, vnetHeader: sent.vnetHeader };
}

export interface HeirOptions {
  limits?: Partial<LimitsPlan>;
  seed?: number;
  slots?: number;
  harm?: (words: Int32Array) => void;
}

export class TestRouter {
  readonly arena: Arena;
  readonly io: MemoryIo;
  readonly router: Router;
  readonly loop: Loop;
  readonly flowMemory: ArrayBuffer;
  now = 1_000;
  /** What a router has adopted that was made with `heir`. */
  adoption: Adoption | undefined;

  constructor(
    plan: ShortPlan | RouterPlan = defaultPlan(),
    limits: Partial<LimitsPlan> = {},
    seed = 1,
    slots = 256,
    left?: { flowMemory: ArrayBuffer; counterMemory: ArrayBuffer; now: number },
  ) {
    const allLimits = { flows: 1024, macs: 256, neighbours: 64, ...limits };
    this.flowMemory = left?.flowMemory ?? new ArrayBuffer(FlowTable.bytesFor(allLimits.flows));
    this.now = left?.now ?? this.now;
    this.arena = new Arena(new ArrayBuffer(slots * SLOT_BYTES), slots);
    this.io = new MemoryIo(this.arena);
    this.router = new Router({
      arena: this.arena,
      io: this.io,
      plan: "rules" in plan ? plan : planOf(plan),
      limits: allLimits,
      random: seededRandom(seed),
      now: this.now | 0,
      portLimit: 64,
      flowMemory: this.flowMemory,
      ...(left === undefined ? {} : { counterMemory: left.counterMemory, adopts: true }),
    });
    if (left !== undefined) this.adoption = adoptFlows(this.router);
    for (const port of plan.ports) this.router.addPort(port);
    // The clock may stand between two milliseconds.
    this.loop = new Loop(
      this.router,
      () => Math.floor(this.now) | 0,
      () => Math.round((this.now % 1) * 1000),
    );
  }

  /** Another router, with what this one would leave if it ended now; `harm` is done to the flows' memory before. */
  heir(
    plan: ShortPlan | RouterPlan,
    { limits = {}, seed = 2, slots = 256, harm = () => {} }: HeirOptions = {},
  ): TestRouter {
    const flowMemory = this.flowMemory.slice(0);
    harm(new Int32Array(flowMemory));
    const counterMemory = this.router.counters.values.buffer.slice(0) as ArrayBuffer;
    return new TestRouter(plan, limits, seed, slots, { flowMemory, counterMemory, now: this.now });
  }

  apply(plan: ShortPlan): void {
    this.router.apply(planOf(plan));
  }

  /** Lets frames arrive as one burst and returns what comes out. */
  send(port: number, ...frames: Uint8Array[]): Out[] {
    for (const frame of frames) this.io.inject(port, frame);
    return this.turn();
  }

  /** Runs the loop once, with what has been injected. */
  turn(): Out[] {
    this.loop.turn(0);
    return this.io.takeSent().map(decodeSent);
  }

  /** Lets time pass, a tick of 100 ms at a time, and returns what the clock made come out. */
  advance(milliseconds: number): Out[] {
    const out: Out[] = [];
    const end = this.now + milliseconds;
    while (this.now < end) {
      this.now = Math.min(end, this.now + 100);
      out.push(...this.turn());
    }
    return out;
  }

  /** Makes the router know c1, c2 and the server, as their ARP requests for it do. */
  introduce(): void {
    this.arp(Port.C1, { operation: 1, senderMac: C1_MAC, sender: "10.55.66.2", target: "10.55.66.1" });
    this.arp(Port.C2, { operation: 1, senderMac: C2_MAC, sender: "10.55.66.3", target: "10.55.66.1" });
    this.arp(Port.WAN, { operation: 1, senderMac: SERVER_MAC, sender: "203.0.113.2", target: "203.0.113.1" });
  }

  arp(port: number, fields: Omit<ArpFields, "targetMac"> & { targetMac?: string }, destination = BROADCAST): Out[] {
    const packet = arp({ targetMac: "00:00:00:00:00:00", ...fields });
    return this.send(port, ethernet(destination, fields.senderMac, 0x0806, packet));
  }

  /** From c1 through the gateway. */
  fromC1(packet: Uint8Array): Out[] {
    return this.send(Port.C1, ethernet(GATEWAY_MAC, C1_MAC, 0x0800, packet));
  }

  fromC2(packet: Uint8Array): Out[] {
    return this.send(Port.C2, ethernet(GATEWAY_MAC, C2_MAC, 0x0800, packet));
  }

  fromServer(packet: Uint8Array): Out[] {
    return this.send(Port.WAN, ethernet(UPLINK_MAC, SERVER_MAC, 0x0800, packet));
  }

  /** Packets and bytes of each rule of a chain of the filter table, in turn, then those of the policy. */
  counters(name: string): number[] {
    const chain = this.router.rules.counted().filter.find((each) => each.name === name);
    return chain?.packets.flatMap((packets, index) => [packets, chain.bytes[index]]) ?? [];
  }

  /** How many frames stopped for a reason. */
  stopped(name: string): number {
    return this.router.counters.stopped(name);
  }
}
