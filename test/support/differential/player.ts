/**
 * Plays the hosts of one world: sends what the steps say, answers ARP for every address that a host has, and records
 * what arrives where. Behind each step goes a fence: an ARP request for the router's address from the host that sent,
 * then from the others. Each answer proves that the router is done with all that came before it on that device, so
 * that everything a step makes the router send has arrived when the last fence is answered. Nothing waits for time.
 */
import { type ArpFields, arp, decode, ethernet } from "../frames.ts";
import { describeFlow, describeReceived, describeSent, Symbols, withoutCounts } from "./describe.ts";
import {
  GATEWAY,
  type HostName,
  type Hosts,
  isHostAddress,
  Mac,
  NEXT_HOP,
  SIDES,
  type Side,
  sideOf,
  UPLINK,
} from "./hosts.ts";
import type { Seen, Step } from "./talk.ts";
import { putTogether } from "./whole.ts";
import { Wire } from "./wire.ts";
import type { World } from "./worlds.ts";

const ARP_TYPE = 0x0806;
const FENCE_PATIENCE_MS = 10_000;
const NOBODY = "00:00:00:00:00:00";

/** What one step did: lines of text, the same in both worlds if they behave alike. */
export interface Outcome {
  step: string;
  /** Names of the hosts that received something, in order of `SIDES`. */
  reached: string;
  lines: string[];
}

export interface PlayOptions {
  /** Whether the packets and bytes of flows are told. */
  counted: boolean;
  /** Whether fragments that arrive are put together first. */
  whole: boolean;
}

interface Received {
  host: HostName;
  bytes: Uint8Array;
}

export class Player {
  readonly world: World;
  private readonly wire: Wire;
  private hosts: Hosts = { c1: "", c2: "", server: "", third: "" };
  private received: Received[] = [];
  private readonly last = new Map<HostName, Uint8Array>();
  private readonly lastPort = new Map<string, number>();
  /** The router's hardware address on each side, once it has told. */
  private readonly routerMac = new Map<Side, string>();
  private symbols = new Symbols();

  constructor(world: World) {
    this.world = world;
    this.wire = new Wire(world.devices);
  }

  close(): void {
    this.wire.close();
  }

  async play(hosts: Hosts, steps: readonly Step[], { counted, whole }: PlayOptions): Promise<Outcome[]> {
    this.hosts = hosts;
    this.last.clear();
    this.lastPort.clear();
    this.symbols = new Symbols();
    this.introduce();
    this.received = [];
    const outcomes: Outcome[] = [];
    let flows: string[] = [];
    for (const [index, step] of steps.entries()) {
      const sent = this.inject(step);
      if (whole) this.received = putTogether(this.received);
      const lines = this.received.map(({ host, bytes }) => `${host} gets ${describeReceived(bytes, this.symbols)}`);
      const now = (await this.flows()).map((flow) => (counted ? flow : withoutCounts(flow)));
      lines.push(...now.filter((line) => !flows.includes(line)).map((line) => `flow ${line}`));
      if (now.length < flows.length) lines.push(`flows: ${now.length}`);
      flows = now;
      const reached = this.received.map(({ host }) => host).join(" ");
      outcomes.push({ step: `${index + 1}: ${step.from} sends ${sent}`, reached, lines });
    }
    return outcomes;
  }

  /** Makes the router know where the hosts are, and this player where the router is. */
  private introduce(): void {
    for (const side of SIDES) this.fence(side);
    this.fence("wan", this.hosts.third, Mac.third);
    for (const side of SIDES) this.symbols.nameMac(this.macOf(side), side === "wan" ? "uplink" : "gateway");
  }

  private macOf(side: Side): string {
    return this.routerMac.get(side) ?? Mac.broadcast;
  }

  private inject(step: Step): string {
    const side = sideOf(step.from);
    const seen: Seen = { packet: (host) => this.packetOf(host), port: (host, to) => this.portOf(host, to) };
    const packet = typeof step.packet === "function" ? step.packet(seen) : step.packet;
    const destination = step.destinationMac ?? this.macOf(side);
    const frame = ethernet(destination, step.sourceMac ?? Mac[step.from], step.etherType ?? 0x0800, packet);
    const sent = describeSent(frame, this.symbols);
    this.received = [];
    this.wire.send(SIDES.indexOf(side), frame);
    this.fence(side);
    for (const other of SIDES) if (other !== side) this.fence(other);
    this.received.sort((left, right) => SIDES.indexOf(sideOf(left.host)) - SIDES.indexOf(sideOf(right.host)));
    for (const { host, bytes } of this.received) {
      if (!isIpv4(bytes)) continue;
      const arrived = bytes.subarray(14);
      this.last.set(host, arrived);
      const [source, destination] = portsOf(arrived);
      if (source < 0) continue;
      this.lastPort.set(host, source);
      this.lastPort.set(`${host} ${destination}`, source);
    }
    return sent;
  }

  private packetOf(host: HostName): Uint8Array {
    const packet = this.last.get(host);
    if (packet === undefined) throw new Error(`${host} of the ${this.world.name} world has not received anything yet`);
    return packet;
  }

  private portOf(host: HostName, to?: number): number {
    const port = this.lastPort.get(to === undefined ? host : `${host} ${to}`);
    if (port === undefined) throw new Error(`${host} of the ${this.world.name} world has seen no port yet`);
    return port;
  }

  /** Asks for the router's address on one side and takes in everything until the answer. */
  private fence(side: Side, sender = this.addressOn(side), senderMac = macOn(side)): void {
    const target = side === "wan" ? UPLINK : GATEWAY;
    const request = arp({ operation: 1, senderMac, sender, targetMac: NOBODY, target });
    this.wire.send(SIDES.indexOf(side), ethernet(this.macOf(side), senderMac, ARP_TYPE, request));
    const deadline = performance.now() + FENCE_PATIENCE_MS;
    for (;;) {
      let isAnswered = false;
      for (const { port, bytes } of this.wire.receive(100)) {
        const answer = this.take(SIDES[port], bytes);
        if (answer === undefined || SIDES[port] !== side || answer.sender !== target) continue;
        if (answer.target === sender) isAnswered = true;
        this.routerMac.set(side, answer.senderMac);
      }
      if (isAnswered) return;
      if (performance.now() > deadline) throw new Error(`the ${this.world.name} world does not answer on ${side}`);
    }
  }

  private addressOn(side: Side): string {
    return side === "wan" ? NEXT_HOP : this.hosts[side];
  }

  /** Records a frame, or answers it if it asks for a host; returns the ARP reply that it is. */
  private take(side: Side, bytes: Uint8Array): ArpFields | undefined {
    const { arp: message, destinationMac } = decode(bytes);
    if (message === undefined) {
      if (!this.isBelated(bytes)) this.received.push({ host: side === "wan" ? onWan(destinationMac) : side, bytes });
      return undefined;
    }
    if (message.operation === 2) return message;
    const mac = this.ownerOf(side, message.target);
    if (mac !== undefined) {
      const { senderMac, sender, target } = message;
      const reply = arp({ operation: 2, senderMac: mac, sender: target, targetMac: senderMac, target: sender });
      this.wire.send(SIDES.indexOf(side), ethernet(senderMac, mac, ARP_TYPE, reply));
    }
    return undefined;
  }

  /** Whether a packet is for a host of an earlier scenario: what is sent when time is up for its fragments. */
  private isBelated(bytes: Uint8Array): boolean {
    const destination = [...bytes.subarray(30, 34)].join(".");
    return isIpv4(bytes) && isHostAddress(destination) && !Object.values(this.hosts).includes(destination);
  }

  private ownerOf(side: Side, address: string): string | undefined {
    if (side === "wan" && address === this.hosts.third) return Mac.third;
    return address === this.addressOn(side) ? macOn(side) : undefined;
  }

  /** The scenario's flows that are alive: Tapir lists those that have ended until it sweeps them. */
  private async flows(): Promise<string[]> {
    const addresses = Object.values(this.hosts);
    const mine = (line: string) => line.split(/[ =]/).some((word) => addresses.includes(word));
    return (await this.world.flows())
      .filter((line) => mine(line) && !/^\S+ +\d+ 0 /.test(line))
      .map((line) => describeFlow(line, this.symbols))
      .sort();
  }
}

function macOn(side: Side): string {
  return side === "wan" ? Mac.server : Mac[side];
}

function onWan(destinationMac: string): HostName {
  return destinationMac === Mac.third ? "third" : "server";
}

function isIpv4(frame: Uint8Array): boolean {
  return frame[12] === 8 && frame[13] === 0;
}

/** Source and destination port, or twice the ICMP identifier; -1 for ICMP errors and later fragments, which have none. */
function portsOf(packet: Uint8Array): [number, number] {
  const l4 = (packet[0] & 0xf) * 4;
  const isIcmp = packet[9] === 1;
  const isError = isIcmp && [3, 4, 5, 11, 12].includes(packet[l4]);
  const isLaterFragment = (((packet[6] & 0x1f) << 8) | packet[7]) !== 0;
  if (isError || isLaterFragment) return [-1, -1];
  const at = l4 + (isIcmp ? 4 : 0);
  const second = isIcmp ? at : at + 2;
  return [(packet[at] << 8) | packet[at + 1], (packet[second] << 8) | packet[second + 1]];
}
