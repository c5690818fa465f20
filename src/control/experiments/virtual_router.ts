/**
 * A router in memory whose time is not the world's: the dataplane as it runs on devices, with the same plan, a clock
 * that its user sets, and chance from a seed. The same frames at the same times give the same result.
 *
 * Theory of operation. `send` lets one frame arrive and runs the loop until nothing more comes out at that instant;
 * `advance` lets time pass, from one instant at which something may happen (a frame of an impairment is due, a
 * neighbour is asked again) to the next. Times are whole microseconds. Steps of idle time grow with its length, so that
 * a gap of days costs about a thousand of them; flows and neighbours tell by the clock whether they are over, whenever
 * they are looked at.
 *
 * The hosts around it are virtual: they answer ARP, and nothing else (see `virtual_hosts.ts`).
 */
import { Loop } from "../../dataplane/loop.ts";
import type { LimitsPlan } from "../../dataplane/plan.ts";
import { Router } from "../../dataplane/router.ts";
import { MemoryIo, type SentFrame } from "../../io/memory_port.ts";
import { Arena, SLOT_BYTES } from "../../packet/arena.ts";
import { type MacAddress, parseMac } from "../../packet/mac_address.ts";
import { STOP_REASONS } from "../../packet/stop_reasons.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { DEFAULT_MTU } from "../configuration/schema.ts";
import { seededWords } from "./seeded_words.ts";
import { answerArp, askArp, macBehindUplink, VirtualHosts, type VirtualPort } from "./virtual_hosts.ts";

const SLOTS = 1024;
const PORT_LIMIT = 4096;
/** The router's clock when the experiment begins; not 0, which some tables take for "never". */
const START_MS = 1000;
/** Steps of idle time: the first of these, or a hundredth of what has passed since something happened, up to a day. */
const STEP_MICROSECONDS = 100_000;
const LONGEST_STEP_MICROSECONDS = 86_400e6;
/** ARP questions and what follows from their answers, within one instant. */
const MOST_TURNS = 1000;

/** A frame that has come out of a port. */
export interface Came {
  port: string;
  bytes: Uint8Array;
  vnetHeader: Uint8Array;
}

/** Routes that a configuration which is applied later may have more. */
const SPARE_ROUTES = 1024;

/** What happened at one instant. */
export interface Happening {
  /** Microseconds since the beginning. */
  at: number;
  came: Came[];
  /** Names of the reasons why frames ended, done or dropped, in no particular order. */
  stops: string[];
}

export interface VirtualRouterOptions {
  seed: number;
  /** Whether the hosts around it answer ARP. */
  hosts: boolean;
}

export class VirtualRouter {
  resolved: ResolvedPlan;
  hosts: VirtualHosts;
  /** Microseconds since the beginning. */
  now = 0;
  readonly router: Router;
  private readonly io: MemoryIo;
  private readonly loop: Loop;
  private readonly answersArp: boolean;
  private stopsBefore: Float64Array;

  constructor(resolved: ResolvedPlan, { seed, hosts }: VirtualRouterOptions) {
    this.resolved = withMtus(resolved);
    this.hosts = new VirtualHosts(this.resolved);
    this.answersArp = hosts;
    const arena = new Arena(new ArrayBuffer(SLOTS * SLOT_BYTES), SLOTS);
    this.io = new MemoryIo(arena);
    this.router = new Router({
      arena,
      io: this.io,
      plan: this.resolved.plan,
      limits: modest(this.resolved),
      random: seededWords(seed),
      now: START_MS,
      portLimit: PORT_LIMIT,
    });
    for (const port of this.resolved.plan.ports) this.router.addPort(port);
    this.loop = new Loop(
      this.router,
      () => (START_MS + Math.floor(this.now / 1000)) | 0,
      () => this.now % 1000,
    );
    this.stopsBefore = this.router.counters.stops.slice();
  }

  /** Index of a port by its name. */
  portIndex(name: string): number {
    return this.resolved.plan.ports.find((port) => port.name === name)?.index ?? -1;
  }

  /** Each container's host says where it is, as a host that starts does; the router and the bridge know it then. */
  announceHosts(): void {
    for (const { name, interface: owner, mac, address } of this.hosts.ports) {
      if (mac !== undefined && address !== undefined) this.send(name, askArp(mac, address, owner.address));
    }
  }

  /** Hardware addresses of a host that sends by a port, and of whom it sends to: a host of its network, or the router. */
  addressing(port: VirtualPort, source: number, destination: number): { hostMac: MacAddress; nextHopMac: MacAddress } {
    const own = port.interface;
    const isNeighbour = (each: VirtualPort): boolean =>
      each.interface.index === own.index && each.address === destination && each.name !== port.name;
    const neighbour = this.hosts.ports.find(isNeighbour);
    return { hostMac: port.mac ?? macBehindUplink(source), nextHopMac: neighbour?.mac ?? parseMac(own.mac) };
  }

  /** Lets a frame arrive at a port now. */
  send(port: string, frame: Uint8Array, vnetHeader?: Uint8Array): Happening {
    this.io.inject(this.portIndex(port), frame, vnetHeader);
    return this.settle();
  }

  /** Lets time pass until `end`, and tells of each instant at which something happened. */
  *advance(end: number): Generator<Happening> {
    let idleSince = this.now;
    while (this.now < end) {
      const longer = Math.min(LONGEST_STEP_MICROSECONDS, Math.floor((this.now - idleSince) / 100));
      const step = Math.max(STEP_MICROSECONDS, longer);
      this.now = Math.min(end, this.now + this.idleMicroseconds(step));
      const happened = this.settle();
      if (happened.came.length === 0 && happened.stops.length === 0) continue;
      idleSince = this.now;
      yield happened;
    }
  }

  /** Takes another configuration; ports that are new are there, those that are gone are not. */
  apply(resolved: ResolvedPlan): void {
    const next = withMtus(resolved);
    const before = this.resolved.plan.ports;
    const isOf = (ports: typeof before, index: number): boolean => ports.some((port) => port.index === index);
    for (const { index } of before) if (!isOf(next.plan.ports, index)) this.router.removePort(index);
    this.router.apply(next.plan);
    for (const port of next.plan.ports) if (!isOf(before, port.index)) this.router.addPort(port);
    this.resolved = next;
    this.hosts = new VirtualHosts(next);
  }

  /** Until the next time that anything is due: whole microseconds, at least one. */
  private idleMicroseconds(most: number): number {
    const { impairments } = this.router;
    if (!impairments.isActive) return most;
    return Math.min(most, Math.max(1, Math.ceil(impairments.idleMs(most / 1000) * 1000)));
  }

  /** Runs the loop until nothing more happens at this instant. */
  private settle(): Happening {
    const came: Came[] = [];
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      const count = this.loop.turn(0);
      const sent = this.io.takeSent();
      for (const frame of sent) this.take(frame, came);
      if (count === 0 && sent.length === 0) break;
    }
    return { at: this.now, came, stops: this.takeStops() };
  }

  private take(sent: SentFrame, came: Came[]): void {
    const name = this.resolved.plan.ports.find(({ index }) => index === sent.port)?.name ?? String(sent.port);
    came.push({ port: name, bytes: sent.bytes, vnetHeader: sent.vnetHeader });
    const answer = this.answersArp ? answerArp(this.hosts, name, sent.bytes) : undefined;
    if (answer !== undefined) this.io.inject(sent.port, answer);
  }

  /** Reasons that have been met since this was asked last, once for each frame. */
  private takeStops(): string[] {
    const { stops } = this.router.counters;
    const names: string[] = [];
    for (const [index, { name }] of STOP_REASONS.entries()) {
      for (let count = this.stopsBefore[index]; count < stops[index]; count++) names.push(name);
    }
    this.stopsBefore = stops.slice();
    return names;
  }
}

/** Tables no larger than an experiment needs: those of routes take long to make. */
function modest({ plan, limits }: ResolvedPlan): LimitsPlan {
  return { ...limits, routes: Math.min(limits.routes, plan.routes.length + SPARE_ROUTES) };
}

/** There is no device to ask for its MTU. */
function withMtus(resolved: ResolvedPlan): ResolvedPlan {
  const interfaces = resolved.plan.interfaces.map((each) => (each.mtu === 0 ? { ...each, mtu: DEFAULT_MTU } : each));
  // Frames are told apart: nothing is merged.
  const merging = { segments: false, datagrams: false };
  return { ...resolved, plan: { ...resolved.plan, interfaces, merging } };
}
