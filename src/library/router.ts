/**
 * A whole router in memory, for experiments and for tests of other programs: the same stages, tables and rules as those
 * of `tapir run`, on ports that are arrays, with a clock that stands still until it is told to go on, and a seeded
 * generator. The same input gives the same output, byte for byte. It needs no privilege and makes no device.
 */
import { EVERY_FLOW, matchesFlow, parseFilter } from "../conntrack/filter.ts";
import { FLOW_SHIFT, HeaderWord } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { type FlowView, viewFlow } from "../conntrack/format.ts";
import {
  type Configuration,
  checkConfiguration,
  formatError,
  parseConfiguration,
  type ResolvedPlan,
  resolvePlan,
} from "../control/configuration/configuration.ts";
import { Loop } from "../dataplane/loop.ts";
import type { LimitsPlan, RouterPlan } from "../dataplane/plan.ts";
import { Router } from "../dataplane/router.ts";
import { MemoryIo } from "../io/memory_port.ts";
import { Arena, SLOT_BYTES } from "../packet/arena.ts";
import { STOP_REASONS } from "../packet/stop_reasons.ts";
import { type Stage, stageOf } from "./stage.ts";

const SLOT_COUNT = 1024;
const PORT_LIMIT = 4096;
/** Tables of a router in memory are small, unless its configuration says otherwise. */
const LIMITS: LimitsPlan = { flows: 4096, macs: 1024, neighbours: 512 };
const TICK_MS = 100;
/** Turns after which frames that go round for ever are an error. */
const MOST_TURNS = 100_000;

export interface RouterOptions {
  /** YAML, or the same as data. */
  configuration: string | Configuration;
  /** Of the generator of ports, hashes and identifiers; 1 unless said. */
  seed?: number;
}

export interface SentFrame {
  /** Name of the port that it leaves by; an uplink's is the uplink's. */
  port: string;
  /** The Ethernet frame. */
  bytes: Uint8Array;
}

/** Throws a TypeError that says all that is wrong with the configuration, with line and column. */
export function createRouter(options: RouterOptions): MemoryRouter {
  return new MemoryRouter(options);
}

export class MemoryRouter {
  private readonly io: MemoryIo;
  private readonly router: Router;
  private readonly loop: Loop;
  private resolved: ResolvedPlan;
  private milliseconds = 0;

  constructor({ configuration, seed = 1 }: RouterOptions) {
    this.resolved = resolvePlan(read(configuration));
    const arena = new Arena(new ArrayBuffer(SLOT_COUNT * SLOT_BYTES), SLOT_COUNT);
    this.io = new MemoryIo(arena);
    this.router = new Router({
      arena,
      io: this.io,
      plan: planOf(this.resolved),
      limits: limitsOf(read(configuration)),
      random: seeded(seed),
      now: 0,
      portLimit: PORT_LIMIT,
    });
    for (const port of this.resolved.plan.ports) this.router.addPort(port);
    this.loop = new Loop(this.router, () => this.milliseconds | 0);
  }

  /** Names of the ports: containers' and uplinks'. */
  get ports(): string[] {
    return this.resolved.plan.ports.map(({ name }) => name);
  }

  /** Milliseconds since the router was made. */
  get now(): number {
    return this.milliseconds;
  }

  /** The router's own hardware address on a network or an uplink. */
  macOf(name: string): string {
    const found = this.resolved.plan.interfaces.find((each) => each.name === name);
    if (found === undefined) throw new TypeError(`no network or uplink is called ${name}`);
    return found.mac;
  }

  /** Lets Ethernet frames arrive at a port, as one burst, and returns what leaves. */
  send(port: string, ...frames: Uint8Array[]): SentFrame[] {
    const index = this.portOf(port);
    for (const frame of frames) this.io.inject(index, frame);
    return this.run();
  }

  /** Lets time pass, and returns what leaves meanwhile: answers to what has waited, requests of its own. */
  advance(milliseconds: number): SentFrame[] {
    const end = this.milliseconds + milliseconds;
    const sent: SentFrame[] = [];
    while (this.milliseconds < end) {
      this.milliseconds = Math.min(end, this.milliseconds + TICK_MS);
      sent.push(...this.run());
    }
    return sent;
  }

  /** Changes to another configuration; flows go on as in a running router. Limits stay as they were. */
  apply(configuration: string | Configuration): void {
    const next = resolvePlan(read(configuration), this.resolved);
    const before = this.resolved.plan.ports;
    const after = next.plan.ports;
    for (const port of before) if (!after.some(({ index }) => index === port.index)) this.router.removePort(port.index);
    this.router.apply(planOf(next));
    for (const port of after) if (!before.some(({ index }) => index === port.index)) this.router.addPort(port);
    this.resolved = next;
    this.run();
  }

  /** The live flows, of a filter by conntrack(8)'s long options if one is given. */
  flows(words: Readonly<Record<string, string>> = {}): FlowView[] {
    const filter = Object.keys(words).length === 0 ? EVERY_FLOW : parseFilter(words);
    const { flows, now } = this.router;
    const found: FlowView[] = [];
    for (let flow = 0; flow < flows.header[HeaderWord.HIGH_WATER]; flow++) {
      const base = flow << FLOW_SHIFT;
      if (flows.isLive(flow as FlowId, now) && matchesFlow(filter, flows.words, base)) {
        found.push(viewFlow(flows.words, base, now));
      }
    }
    return found;
  }

  /** How many frames stopped for each reason that was met; `routed` and `switched` are reasons too. */
  stops(): Record<string, number> {
    const counted = STOP_REASONS.map(({ name }, index) => [name, this.router.counters.stops[index]] as const);
    return Object.fromEntries(counted.filter(([, count]) => count > 0));
  }

  /** Counters of the dataplane, by the names of `tapir show stats`. */
  counters(): Record<string, number> {
    return this.router.counters.named();
  }

  /**
   * Adds a stage of one's own, or with undefined takes it away: asked once about each IPv4 packet that is to go through
   * the router (what is switched inside a network is not), parsed and whole, before its flow is looked up. What it
   * refuses stops there, counted as `custom-stage`.
   */
  setStage(stage: Stage | undefined): void {
    const name = (index: number): string => this.resolved.plan.ports.find((port) => port.index === index)?.name ?? "";
    this.router.customStage = stage === undefined ? undefined : stageOf(this.router, stage, name);
  }

  /** Turns until nothing waits. */
  private run(): SentFrame[] {
    for (let turns = 0; ; turns++) {
      if (this.loop.turn(0) === 0 && !this.router.rejudge.isPending) break;
      if (turns > MOST_TURNS) throw new Error("the router does not come to rest");
    }
    const names = new Map(this.resolved.plan.ports.map(({ index, name }) => [index, name]));
    return this.io.takeSent().map(({ port, bytes }) => ({ port: names.get(port) ?? "", bytes }));
  }

  private portOf(name: string): number {
    const port = this.resolved.plan.ports.find((each) => each.name === name);
    if (port === undefined) throw new TypeError(`no port is called ${name}: there are ${this.ports.join(", ")}`);
    return port.index;
  }
}

function read(given: string | Configuration): Configuration {
  const result = typeof given === "string" ? parseConfiguration(given, "configuration") : checkConfiguration(given);
  if (result.errors === undefined) return result.configuration;
  throw new TypeError(result.errors.map(formatError).join("\n"));
}

/** There is no device to ask for an MTU, and nothing takes offloads. */
function planOf({ plan }: ResolvedPlan): RouterPlan {
  const interfaces = plan.interfaces.map((each) => (each.mtu === 0 ? { ...each, mtu: 1500 } : each));
  return { ...plan, interfaces, merging: { segments: false, datagrams: false } };
}

function limitsOf({ limits = {} }: Configuration): LimitsPlan {
  const { flows = LIMITS.flows, macs = LIMITS.macs, neighbours = LIMITS.neighbours } = limits;
  return { flows, macs, neighbours };
}

/** 32-bit words, evenly distributed (splitmix32). */
function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return z ^ (z >>> 15);
  };
}
