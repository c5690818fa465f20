/**
 * The router: everything that the stages of the pipeline work on, put together. It holds state and no behaviour of
 * its own beyond taking a new plan; `pipeline.ts` is the walk, `loop.ts` moves the frames.
 *
 * `generation` is raised by every change of rules, routes or neighbours; a flow admitted under an older one is
 * admitted again before its next packet goes on.
 *
 * Longer than other files: it names every part once, and `apply` compares the old of each with the new.
 */
import { MacTable } from "../bridge/mac_table.ts";
import { tableToAdopt } from "../conntrack/adopt.ts";
import { FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord } from "../conntrack/flow_layout.ts";
import { type FlowId, FlowTable } from "../conntrack/flow_table.ts";
import { Fragments } from "../conntrack/fragments.ts";
import { Shares } from "../conntrack/shares.ts";
import { Timeouts } from "../conntrack/timeouts.ts";
import { Tracker } from "../conntrack/tracker.ts";
import { CompiledRules } from "../filter/compiled_rules.ts";
import { FilterKey } from "../filter/key.ts";
import type { Surroundings } from "../filter/names.ts";
import { emptyRuleSet } from "../filter/rule_set.ts";
import { meaningsOf } from "../filter/told_by_flow.ts";
import type { FrameIo } from "../io/port.ts";
import { HostFlows } from "../nat/host_flows.ts";
import { SourceNat } from "../nat/source_nat.ts";
import type { Arena } from "../packet/arena.ts";
import type { Frame } from "../packet/frame.ts";
import { STOP_REASONS } from "../packet/stop_reasons.ts";
import { Neighbours } from "../routing/neighbours.ts";
import { RouteEpochs } from "../routing/route_epochs.ts";
import { BURST_LIMIT } from "./burst.ts";
import type { Captures } from "./capture.ts";
import { Counter, Counters } from "./counters.ts";
import { DatagramGate } from "./datagrams.ts";
import { endBridgedWithoutFilter, endFlows, endFlowsOf, endRepublished } from "./end_flows.ts";
import type { Recorder } from "./explain/recorder.ts";
import type { Stage } from "./explain/rehearse.ts";
import { IcmpLimiter } from "./icmp_limiter.ts";
import { Impairments } from "./impairments.ts";
import { Interface, PortTable } from "./interfaces.ts";
import { LastDrops } from "./last_drops.ts";
import { Merger } from "./merge.ts";
import type { CounterCarry } from "./messages.ts";
import { NatTable } from "./nat_table.ts";
import type { ConntrackPlan, LimitsPlan, MergePlan, PortPlan, RouterPlan } from "./plan.ts";
import { timeoutsOf } from "./plan_conntrack.ts";
import { Police } from "./police.ts";
import { RandomSource } from "./random_source.ts";
import { type Judges, Rejudge } from "./rejudge.ts";
import { Routes } from "./routes.ts";
import { dropParked, noteLink, takeRouting } from "./routing.ts";

export interface RouterOptions {
  arena: Arena;
  io: FrameIo;
  plan: RouterPlan;
  limits: LimitsPlan;
  /** Uniformly distributed 32-bit words. */
  random: () => number;
  /** Milliseconds now, wrapped to a signed word. */
  now: number;
  portLimit: number;
  flowMemory?: ArrayBuffer;
  /** Another process has filled the flow memory: the caller has `adoptFlows` take what is there. */
  adopts?: boolean;
  counterMemory?: ArrayBuffer;
}

/** Flows keep the egress interface in 8 bits. */
const INTERFACE_LIMIT = 256;

/** Datagrams that may be put together from fragments at once. */
const MAX_REASSEMBLIES = 256;

/** Prefixes of a routing table, where no limit is given. */
const DEFAULT_ROUTES = 65_536;

/** Inside addresses that may have translated flows at once, where their number is limited. */
const MOST_HOSTS = 65_536;

export class Router {
  readonly arena: Arena;
  readonly memory: DataView;
  readonly frames: readonly Frame[];
  readonly io: FrameIo;
  readonly randomSource: RandomSource;
  readonly random: () => number;
  readonly counters: Counters;
  readonly lastDrops = new LastDrops();
  readonly ports: PortTable;
  readonly macs: MacTable;
  readonly neighbours: Neighbours;
  readonly flows: FlowTable;
  readonly tracker: Tracker;
  readonly sourceNat: SourceNat;
  readonly icmpLimiter: IcmpLimiter;
  readonly fragments: Fragments;
  readonly impairments: Impairments;
  readonly police: Police;
  /** Datagrams for the control process. */
  readonly datagrams: DatagramGate;
  /** Slots of the datagrams that this burst has completed. */
  readonly reassembled: number[] = [];
  /** The one key that is filled anew for each question to a chain. */
  readonly filterKey = new FilterKey();

  interfaces: (Interface | undefined)[] = [];
  /** 1 for an interface whose device is down; see `link_state.ts`. */
  readonly linkDown = new Uint8Array(INTERFACE_LIMIT);
  readonly routes: Routes;
  /** Which flows the changes of routes concern. */
  readonly epochs = new RouteEpochs();
  isBcp = false;
  /** Translated flows that one inside address may have; 0: any number. */
  private flowsPerHost = 0;
  readonly hostFlows: HostFlows;
  readonly rejudge: Rejudge;
  /**
   * For experiments: asked once about each IPv4 packet that is to go through the router, parsed and whole, before its
   * flow is looked up; false stops it. Costs a branch for each burst where there is none.
   */
  customStage: ((frame: Frame) => boolean) | undefined = undefined;
  rules: CompiledRules;
  nat: NatTable;
  /** What names in rules stand for, under the present plan. */
  surroundings: Surroundings;
  generation = 1;
  /** What the names in `rules` stand for, and other parts of the plan in force, as texts to compare with the next. */
  private meanings = "";
  private texts = { interfaces: "", others: "" };
  /** Told what frames meet, while somebody asks. */
  recorder: Recorder | undefined = undefined;
  /** Where frames go in place of the devices, while a frame is only rehearsed. */
  stage: Stage | undefined = undefined;

  /** Milliseconds, wrapped; set once per burst. */
  now: number;
  /** Entries waiting in the transmit arrays of `io`. */
  transmitCount = 0;
  /** The burst has brought frames of one flow one after the other. */
  hasRuns = false;
  private readonly merger: Merger;
  private merging: MergePlan = { segments: false, datagrams: false };
  /** Frames that the router itself made in this burst, to be sent by the loop. */
  readonly outbox = new Int32Array(BURST_LIMIT * 8);
  outboxCount = 0;
  /** There while somebody captures. */
  captures: Captures | undefined = undefined;

  constructor(options: RouterOptions) {
    const { arena, limits, plan } = options;
    const source = new RandomSource(options.random);
    const random = (): number => source.next();
    this.randomSource = source;
    this.arena = arena;
    this.memory = arena.memory;
    this.frames = arena.frames;
    this.io = options.io;
    this.random = random;
    this.now = options.now;
    this.counters = new Counters(options.counterMemory);
    this.ports = new PortTable(options.portLimit);
    this.impairments = new Impairments(arena, options.io, this.counters, random);
    this.police = new Police(options.portLimit);
    this.datagrams = new DatagramGate(options.portLimit, options.now);
    this.merger = new Merger(arena, options.io, options.portLimit);
    const ageingMs = plan.macAgeingSeconds * 1000;
    this.macs = new MacTable({ capacity: limits.macs, ageingMs, seed: random(), shares: new Shares() });
    this.neighbours = new Neighbours(limits.neighbours, arena.frames, arena.slotCount >> 1, random());
    const memory = options.flowMemory ?? new ArrayBuffer(FlowTable.bytesFor(limits.flows));
    this.flows =
      options.adopts === true
        ? tableToAdopt(memory, limits.flows, random())
        : new FlowTable(memory, limits.flows, random());
    this.tracker = new Tracker(this.flows, new Timeouts(), plan.conntrack);
    this.sourceNat = new SourceNat(this.flows, random);
    this.fragments = new Fragments(arena, Math.min(MAX_REASSEMBLIES, arena.slotCount >> 3), random());
    this.icmpLimiter = new IcmpLimiter(options.now, random());
    this.hostFlows = new HostFlows(Math.min(limits.flows, MOST_HOSTS), (address) => this.flows.hash(address, 0, 0, 0));
    this.flows.onRemove = (flow) => this.flowEnds(flow);
    this.rejudge = new Rejudge(this);
    this.routes = new Routes(limits.routes ?? DEFAULT_ROUTES, this.neighbours);
    this.surroundings = this.surroundingsOf(plan);
    this.rules = new CompiledRules(emptyRuleSet(), this.surroundings);
    this.nat = new NatTable(this.rules, [], this.surroundings);
    this.apply(plan);
  }

  /** Takes a whole new plan, between two bursts. All or nothing: what can fail, fails before anything changes. */
  apply(plan: RouterPlan, carry?: CounterCarry): void {
    const around = this.surroundingsOf(plan);
    const meanings = meaningsOf(plan.rules, around);
    const hasSameRules = carry === undefined && plan.rules === this.rules.ruleSet && meanings === this.meanings;
    const rules = hasSameRules ? this.rules : new CompiledRules(plan.rules, around);
    const interfaces: (Interface | undefined)[] = [];
    for (const each of plan.interfaces) {
      interfaces[each.index] = new Interface(each, plan.ports, !rules.bridge.isOpen);
    }
    const texts = {
      interfaces: JSON.stringify(plan.interfaces),
      others: JSON.stringify([plan.routes, plan.policy, plan.neighbours, plan.conntrack]),
    };
    const hasSameJudges = hasSameRules && texts.interfaces === this.texts.interfaces;
    const nat = hasSameJudges ? this.nat : new NatTable(rules, interfaces, around);
    const isSame = hasSameJudges && texts.others === this.texts.others;
    const timeouts = timeoutsOf(plan.conntrack);
    if (carry !== undefined) rules.takeCounters(this.rules, carry.origins);
    else if (!hasSameRules) rules.carryCounters(this.rules);
    rules.setCounters(carry?.counted ?? []);
    const hasNewDestinations = this.changesDestinations(nat);
    const before: Judges = { rules: this.rules, interfaces: this.interfaces };

    for (let index = 0; index < this.interfaces.length; index++) {
      const before = this.interfaces[index];
      const after = interfaces[index];
      if (before !== undefined && after !== undefined) after.ports = before.ports;
      if (before !== undefined) this.endAddresses(before, after);
      if (after === undefined) this.linkDown[index] = 0;
    }
    this.interfaces = interfaces;
    this.ports.update(plan.ports);
    for (const port of plan.ports) {
      if (this.ports.interfaceOf[port.index] !== port.interface) continue;
      this.impairments.setPort(port, this.now);
      this.police.setPort(port, this.now);
    }
    if (!hasSameJudges) endBridgedWithoutFilter(this);
    if (!isSame) takeRouting(this, plan, nat);
    this.lastDrops.settle(this);
    rules.onLog = this.rules.onLog;
    this.rules = rules;
    this.nat = nat;
    this.flows.header[HeaderWord.DESTINATIONS] = nat.digest;
    this.surroundings = around;
    this.meanings = meanings;
    this.texts = texts;
    this.takeConntrack(plan.conntrack, timeouts);
    if (hasNewDestinations) endRepublished(this);
    this.merging = plan.merging;
    this.macs.setAgeing(plan.macAgeingSeconds * 1000);
    // Ports come and go without a flow being judged anew.
    if (isSame) return;
    this.raiseGeneration();
    if (!hasSameJudges) this.rejudge.begin(before, around);
  }

  private surroundingsOf({ interfaces, ports, rules }: RouterPlan): Surroundings {
    return { interfaces, ports, sets: rules.sets, addressTypeOf: (address) => this.routes.addressTypeOf(address) };
  }

  /** Whether flows may exist now whose destination would be translated otherwise with `next`. */
  private changesDestinations(next: NatTable): boolean {
    if (!this.nat.hasDestinations && !next.hasDestinations) return false;
    return this.nat.words !== next.words;
  }

  /** Takes a device into service. */
  addPort(plan: PortPlan): void {
    const owner = this.interfaces[plan.interface];
    if (owner === undefined) throw new RangeError(`port ${plan.name}: no interface ${plan.interface}`);
    this.ports.add(plan);
    this.impairments.setPort(plan, this.now);
    this.police.setPort(plan, this.now);
    owner.addPort(plan.index);
    noteLink(this, plan.interface);
  }

  /** Takes a device out of service: its stations are forgotten, its frames go nowhere. */
  removePort(port: number): void {
    const interfaceIndex = this.ports.interfaceOf[port];
    this.interfaces[interfaceIndex]?.removePort(port);
    this.ports.remove(port);
    this.impairments.removePort(port);
    this.police.removePort(port);
    this.macs.forgetPort(port);
    if (interfaceIndex >= 0) noteLink(this, interfaceIndex);
  }

  raiseGeneration(): void {
    this.generation = (this.generation + 1) | 0;
    this.epochs.changeAll(this.generation);
  }

  /** Counts a flow whose source is translated against the limit of its host; false when that is reached. */
  countHost(flow: FlowId): boolean {
    if (this.flowsPerHost === 0) return true;
    const base = flow << FLOW_SHIFT;
    const { words } = this.flows;
    if ((words[base + FlowWord.STATUS] & FlowFlag.SOURCE_NAT) === 0) return true;
    if (!this.hostFlows.add(words[base + FlowWord.SOURCE], this.flowsPerHost)) return false;
    words[base + FlowWord.STATUS] |= FlowFlag.HOST_COUNTED;
    return true;
  }

  /** Whether `address` is one of the router's own. */
  isOwnAddress(address: number): boolean {
    for (let i = 0; i < this.interfaces.length; i++) {
      if (this.interfaces[i]?.owns(address) === true) return true;
    }
    return false;
  }

  count(counter: number): void {
    this.counters.values[counter]++;
  }

  /** Hands a frame to a port; the slot's reference goes with it. */
  transmit(slot: number, port: number): void {
    if (this.transmitCount === this.io.transmitSlot.length) this.flush();
    this.io.transmitSlot[this.transmitCount] = slot;
    this.io.transmitPort[this.transmitCount] = port;
    this.transmitCount++;
  }

  /** Sends what waits, and frees it. */
  flush(): void {
    if (this.stage !== undefined) {
      this.stage.take(this, this.transmitCount);
      return;
    }
    if (this.impairments.isActive) this.transmitCount = this.impairments.depart(this.transmitCount);
    const count = this.transmitCount;
    if (count === 0) return;
    const merged = this.hasRuns && this.merging.segments ? this.merger.merge(count, this.merging.datagrams) : 0;
    this.hasRuns = false;
    this.captures?.egress(this, count);
    this.io.transmit(count);
    if (merged > 0) {
      this.merger.clear(count);
      this.counters.values[Counter.framesMerged] += merged;
    }
    for (let i = 0; i < count; i++) this.arena.release(this.io.transmitSlot[i]);
    this.counters.values[Counter.framesSent] += count;
    this.transmitCount = 0;
  }

  /** Queues a frame of the router's own. */
  post(slot: number): void {
    if (this.outboxCount === this.outbox.length) {
      this.count(Counter.ownFramesDropped);
      this.arena.release(slot);
      return;
    }
    this.outbox[this.outboxCount++] = slot;
    if (this.recorder !== undefined) this.recorder.posted(slot);
  }

  /** Reasons and how often each was met. */
  stopCounts(): { name: string; count: number }[] {
    return STOP_REASONS.map((reason, index) => ({ name: reason.name, count: this.counters.stops[index] }));
  }

  private flowEnds(flow: FlowId): void {
    const base = flow << FLOW_SHIFT;
    const { words } = this.flows;
    this.sourceNat.forget(flow);
    if ((words[base + FlowWord.STATUS] & FlowFlag.HOST_COUNTED) !== 0) {
      this.hostFlows.remove(words[base + FlowWord.SOURCE]);
    }
  }

  /** Ends what lived by addresses of an interface that it has no more. */
  private endAddresses(before: Interface, after: Interface | undefined): void {
    if (after === undefined || after.address !== before.address) this.dropNeighbours(before.index);
    for (const { address } of before.addresses) if (after?.owns(address) !== true) endFlowsOf(this, address);
  }

  private takeConntrack(plan: ConntrackPlan, timeouts: Timeouts): void {
    const isBcp = plan.profile === "bcp";
    // What holds of a mapping differs between the profiles: no flow of one lives on in the other.
    if (isBcp !== this.isBcp) endFlows(this.flows, () => true);
    this.isBcp = isBcp;
    this.flows.header[HeaderWord.PROFILE] = isBcp ? 1 : 0;
    this.sourceNat.setProfile(plan.profile);
    this.tracker.configure(timeouts, plan);
    // The flows of a host count from the time on that there is a limit.
    this.flowsPerHost = plan.flowsPerHost;
  }

  /** Forgets the neighbours of an interface; what waits for them is lost. */
  dropNeighbours(interfaceIndex: number): void {
    for (const neighbour of this.neighbours.indexes()) {
      if (this.neighbours.interfaceOf[neighbour] === interfaceIndex) dropParked(this, neighbour);
    }
    this.neighbours.forgetInterface(interfaceIndex);
  }
}
