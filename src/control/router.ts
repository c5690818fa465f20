/**
 * A running router as the control process holds it: configuration, devices, shared memory, dataplane. There is one way
 * to change it: a whole new configuration, whose difference to the present one becomes actions (close and open
 * devices, apply the plan). Attaching and detaching a container edit the configuration and go the same way.
 *
 * Longer than other files: a change is devices, routes, services and plan, all or nothing, one change at a time. What only
 * asks the dataplane is in `dataplane_questions.ts`.
 */
import { constants } from "node:os";
import type { Adoption } from "../conntrack/adopt.ts";
import { parseFilter } from "../conntrack/filter.ts";
import { HeaderWord } from "../conntrack/flow_layout.ts";
import { FlowTable } from "../conntrack/flow_table.ts";
import { Counter, Counters } from "../dataplane/counters.ts";
import type { CounterCarry, Notice, PortRow, RuleLog } from "../dataplane/messages.ts";
import type { RouterPlan } from "../dataplane/plan.ts";
import type { RulesChange } from "../filter/iptables/edit.ts";
import type { RuleSet } from "../filter/rule_set.ts";
import { native, PORT_COUNTER_BYTES } from "../io/native.ts";
import { formatAddress } from "../packet/ipv4_address.ts";
import { CaptureHub } from "./captures.ts";
import { Changes } from "./changes.ts";
import {
  type Configuration,
  checkConfiguration,
  type DevicePlan,
  formatError,
  type ResolvedPlan,
  resolvePlan,
} from "./configuration/configuration.ts";
import { DataplaneProcess } from "./dataplane_process.ts";
import { DataplaneQuestions } from "./dataplane_questions.ts";
import { compareDevices, type DeviceChange, isPlanned } from "./device_change.ts";
import { checkSystem, closeDevice, failureOf, noNamespaceOf, type OpenDevice, openDevice } from "./devices.ts";
import type { LeaseView } from "./dhcp/leased_uplink.ts";
import { Leases } from "./dhcp/leases.ts";
import { compareConfigurations, compareOpen, type Difference } from "./difference.ts";
import { DataplaneDownError, ExitCode, TapirError } from "./errors.ts";
import type { LinkEvent } from "./events_api.ts";
import { FlowEventHub } from "./flow_events.ts";
import { FlowReader } from "./flows.ts";
import type { Cause } from "./history.ts";
import { withRules } from "./iptables.ts";
import { Routing } from "./routing/routing.ts";
import { Services } from "./services.ts";
import { Snapshots } from "./snapshot/snapshots.ts";
import { type Dataplane, type DataplaneEvent, Supervisor } from "./supervisor.ts";
import { DataplanePlace } from "./takeover/dataplane_place.ts";
import type { Estate } from "./takeover/estate.ts";
import { EstateKeeper } from "./takeover/estate_keeper.ts";
import type { Orphan } from "./takeover/orphan.ts";
import type { Upgrade } from "./takeover/upgrade.ts";
import type { RawCounters } from "./uplinks/raw/raw_uplink.ts";
import { type UplinkDevice, UplinkLinks } from "./uplinks/uplink_links.ts";

/** After a takeover, so long may the routes take that are followed; packets wait meanwhile, as far as devices have room. */
const FOLLOWED_MS = 1_000;

/** How long the dataplane polls before it sleeps. */
const SPIN_MICROSECONDS = Number(process.env.TAPIR_SPIN_MICROSECONDS ?? 50);

export interface RouterEvents {
  log(level: "info" | "warn" | "error", message: string): void;
  /** A packet has met a rule with LOG. */
  ruleLog(entry: RuleLog): void;
}

export class RunningRouter extends DataplaneQuestions {
  configuration: Configuration;
  resolved: ResolvedPlan;
  readonly flows: FlowReader;
  readonly flowEvents: FlowEventHub;
  /** The configurations that were in force, and the way back to them. */
  readonly changes: Changes;
  /** Told of ports that come, fail and go. */
  readonly portListeners = new Set<(event: LinkEvent) => void>();
  readonly routing: Routing;
  readonly services: Services;
  readonly snapshots: Snapshots;
  /** The dataplane's counters, as it writes them. */
  readonly counters: Counters;
  readonly captures: CaptureHub;
  private readonly devices = new Map<number, OpenDevice>();
  /** Why ports of the plan are out of service: they have no device in `devices`. */
  private readonly failed = new Map<number, string>();
  private readonly links: UplinkLinks;
  private readonly leases: Leases;
  protected readonly dataplane: Supervisor;
  /** Told when the dataplane has ended, and when another one has taken its place. */
  readonly dataplaneListeners = new Set<(event: DataplaneEvent) => void>();
  private readonly memoryFds: number[];
  /** Interfaces whose link is down, as the dataplane was told. */
  private readonly linksDown = new Set<number>();
  /** Where the dataplane is found should this process end; and the one that another process has left there. */
  private readonly place: DataplanePlace;
  private readonly estate: EstateKeeper;
  /** How this program becomes another one; undefined where it is not for a router to do that. */
  upgrade: Upgrade | undefined;
  private readonly events: RouterEvents;
  private lastChange: Promise<void> = Promise.resolve();
  /** While rules are changed: which counters the new ones begin with. */
  private carry: CounterCarry | undefined;
  /** The rules that the dataplane has, as a text; undefined when that is not known. */
  private rulesInForce: string | undefined;
  private isStopping = false;

  /**
   * Opens all devices and starts the dataplane; whatever was made is removed again when it fails. A dataplane that was
   * found at `place` is taken over with what it holds: then `configuration` has to be that of its estate.
   */
  static async start(
    configuration: Configuration,
    events: RouterEvents,
    place = new DataplanePlace(),
  ): Promise<RunningRouter> {
    const resolved = place.orphan?.resolve() ?? resolvePlan(configuration);
    checkSystem(resolved.devices);
    const devices = place.orphan?.claim(resolved.devices) ?? openAll(resolved.devices);
    let router: RunningRouter | undefined;
    try {
      router = new RunningRouter(configuration, resolved, devices, events, place);
      await router.begin();
      return router;
    } catch (error) {
      if (router === undefined) devices.forEach(closeDevice);
      else await router.stop();
      throw error;
    }
  }

  private constructor(
    configuration: Configuration,
    resolved: ResolvedPlan,
    devices: OpenDevice[],
    events: RouterEvents,
    place: DataplanePlace,
  ) {
    super();
    this.place = place;
    this.configuration = configuration;
    this.resolved = resolved;
    this.events = events;
    for (const device of devices) this.devices.set(device.plan.port, device);
    const capacity = resolved.limits.flows;
    const [flows, counters, ports] = place.orphan?.memory() ?? [
      native().createMemory("tapir-flows", FlowTable.bytesFor(capacity)),
      native().createMemory("tapir-counters", Counters.BYTES),
      native().createMemory("tapir-ports", PORT_COUNTER_BYTES),
    ];
    this.memoryFds = [flows.fd, counters.fd, ports.fd];
    this.flows = new FlowReader(flows.memory, capacity);
    this.counters = new Counters(counters.memory);
    this.dataplane = new Supervisor(
      {
        spawn: (told) => new DataplaneProcess(told, ports.fd),
        notice: (notice) => this.takeNotice(notice),
        log: (level, message) => events.log(level, message),
        revive: (dataplane) => this.revive(dataplane),
        changed: (event) => this.tellDataplane(event),
      },
      () => this.flows.header[HeaderWord.NOW],
    );
    this.leases = new Leases({
      changed: () => this.takeLeases(),
      log: (level, message) => events.log(level, message),
    });
    this.links = new UplinkLinks({
      uplinks: () => this.uplinks(),
      setLink: (index, isUp) => this.setLink(index, isUp),
      mtuChanged: () => this.takeMtu(),
      problemOf: (plan) => this.leaseProblemOf(plan),
      linkIsBack: (plan) => this.leases.linkIsBack(plan),
      lost: ({ port }) => this.fail(port, constants.errno.ENODEV),
      retry: (plan) => this.retry(plan),
      log: (level, message) => events.log(level, message),
    });
    this.routing = new Routing(resolved, {
      request: async (request) => {
        const result = await this.dataplane.request(request);
        this.estate.note();
        return result;
      },
      log: (level, message) => events.log(level, message),
      interfaces: () => this.resolved.plan.interfaces,
    });
    this.estate = new EstateKeeper({
      estate: () => this.describe(),
      request: (request, descriptors) => this.dataplane.request(request, descriptors),
    });
    this.flowEvents = new FlowEventHub((request, descriptors) => this.dataplane.request(request, descriptors));
    this.changes = new Changes(this);
    this.services = new Services(this);
    this.snapshots = new Snapshots(this);
    this.captures = new CaptureHub(
      (request, descriptors) => this.dataplane.request(request, descriptors),
      () => this.resolved,
    );
  }

  get dataplanePid(): number | undefined {
    return this.dataplane.pid;
  }

  private async begin(): Promise<void> {
    const { orphan } = this.place;
    if (orphan !== undefined) this.routing.resume(orphan.estate.routing, this.resolved);
    const plan = { ...this.completePlan(this.resolved), routes: this.routing.sharedRoutes() };
    await this.dataplane.request(this.startWith(plan, orphan !== undefined), this.startDescriptors());
    this.rulesInForce = JSON.stringify(plan.rules);
    await this.routing.configure(this.resolved);
    let adoption: Adoption | undefined;
    if (orphan === undefined) await Snapshots.restore(this, (flows) => this.restoreFlows(flows));
    else adoption = await this.adoptFrom(orphan);
    await Promise.all([...this.devices.values()].map((device) => this.addPort(device, this.resolved)));
    if (orphan !== undefined) await this.completeTakeover(orphan.pid, adoption);
    this.leases.sync(this.resolved.devices);
    this.links.sync();
    await this.services.follow(this.resolved);
    this.snapshots.follow(this.resolved);
    this.dataplane.supervise();
    await this.estate.write();
  }

  /** Nobody forwards from when the orphan has stopped until the ports are added: all else is done before. */
  private async adoptFrom(orphan: Orphan): Promise<Adoption> {
    await this.routing.untilFollowed(FOLLOWED_MS);
    await orphan.stop();
    const adoption = this.dataplane.request({ type: "adopt" }) as Promise<Adoption>;
    this.leases.resume(orphan.estate.leases);
    return adoption;
  }

  /** What a dataplane gets with `start`. */
  private startDescriptors(): number[] {
    const [flows, counters] = this.memoryFds;
    const { listener } = this.place;
    return listener === undefined ? [flows, counters] : [flows, counters, listener];
  }

  private startWith(plan: RouterPlan, adopts: boolean) {
    const { limits } = this.resolved;
    return { type: "start", plan, limits, spinMicroseconds: SPIN_MICROSECONDS, adopts } as const;
  }

  /** Gives another dataplane what the last one had: memory, plan, routes, links, watchers, captures, and the devices. */
  private async revive(dataplane: Dataplane): Promise<string> {
    const { resolved } = this;
    this.predecessors++;
    const plan = { ...this.completePlan(resolved), routes: this.routing.sharedRoutes() };
    const ask: Dataplane["request"] = (request, descriptors) => dataplane.request(request, descriptors);
    const started = ask(this.startWith(plan, true), this.startDescriptors());
    const adoption = ask({ type: "adopt" }) as Promise<Adoption>;
    this.rulesInForce = JSON.stringify(plan.rules);
    const told: Promise<unknown>[] = [
      this.routing.tellAll(ask),
      this.flowEvents.resume(ask),
      this.captures.resume(ask),
    ];
    for (const index of this.linksDown) told.push(ask({ type: "set-link", interface: index, isUp: false }));
    // Last, in the order of the channel: nothing is forwarded before all else is as it was.
    await Promise.all([started, adoption, ...told]);
    await Promise.all([...this.devices.values()].map((device) => this.returnPort(ask, device, resolved)));
    this.estate.note();
    const { kept, torn, refused } = await adoption;
    if (refused !== undefined) return `the flows are lost (${refused})`;
    return torn === 0 ? `${kept} flows go on` : `${kept} flows go on, ${torn} were not whole`;
  }

  /** A device that the new dataplane cannot have is one that has failed. */
  private async returnPort(ask: Dataplane["request"], { plan, fd }: OpenDevice, resolved: ResolvedPlan): Promise<void> {
    const port = resolved.plan.ports.find((each) => each.index === plan.port);
    // The dataplane has ended in the middle of a change: what came with that goes with it.
    if (port === undefined) return;
    try {
      await ask({ type: "add-port", port, kind: plan.kind === "packet" ? "packet" : "tap" }, [fd]);
    } catch (error) {
      if (error instanceof DataplaneDownError) throw error;
      this.fail(plan.port, constants.errno.ENODEV);
    }
  }

  private tellDataplane(event: DataplaneEvent): void {
    if (event.state === "ended") this.counters.values[Counter.dataplaneRestarts]++;
    for (const listener of this.dataplaneListeners) listener(event);
  }

  private setLink(index: number, isUp: boolean): void {
    if (isUp) this.linksDown.delete(index);
    else this.linksDown.add(index);
    this.tell({ type: "set-link", interface: index, isUp });
  }

  /** Says what has been taken over, and opens what could not be. */
  private async completeTakeover(pid: number, adoption: Adoption | undefined): Promise<void> {
    const { kept = 0, torn = 0, refused } = adoption ?? {};
    const flows = refused === undefined ? `${kept} flows${torn === 0 ? "" : `, ${torn} torn`}` : `no flows: ${refused}`;
    this.log("info", `took over the dataplane of process ${pid}: ${this.devices.size} devices, ${flows}`);
    for (const plan of this.resolved.devices) {
      if (!this.devices.has(plan.port)) await this.tryToOpen(plan, this.resolved);
    }
  }

  /** What the next control process needs; undefined before there is anything, and where none can come. */
  private describe(): Estate | undefined {
    if (this.place.listener === undefined || this.rulesInForce === undefined) return undefined;
    const devices = [...this.devices.values()].map(({ fd: _, raw: __, ...saved }) => saved);
    const { configuration, leases, resolved, routing } = this;
    const { interfaces, ports } = resolved.plan;
    const former = { plan: { interfaces, ports }, devices: resolved.devices };
    return { configuration, former, devices, leases: leases.saved, routing: routing.saved };
  }

  /** Runs `work` with the dataplane left to itself, as the next control process is to find it. When it returns, all goes on. */
  leave(work: () => void): Promise<void> {
    return this.inTurn(async () => {
      if (this.isStopping) throw new TapirError("the router is ending");
      if (this.place.listener === undefined) throw new TapirError("nobody could take the dataplane over");
      await this.estate.write();
      await this.dataplane.dismissStandby();
      work();
    });
  }

  /**
   * Changes the router to another configuration, made from the present one; one change at a time. When it throws, the
   * old one is still in force. With `isLenient`, new devices that cannot be made are out of service, and no reason to fail.
   */
  change(
    edit: (present: Configuration) => Configuration,
    cause: Cause = { source: "api" },
    isLenient = false,
  ): Promise<void> {
    return this.inTurn(() => {
      const edited = edit(this.configuration);
      return this.changeTo(this.services.docker.keep(edited), cause, isLenient);
    });
  }

  /** Runs one piece of work after the other; one that fails holds up none behind it. */
  private inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.lastChange.then(work);
    this.lastChange = done.catch(() => {});
    return done;
  }

  /** What changing to a configuration that `checkConfiguration` accepts would do. */
  differenceTo(wanted: Configuration): Difference {
    const configuration = this.services.docker.keep(wanted);
    const next = this.resolve(configuration);
    const actions = compareConfigurations(this.configuration, configuration);
    const { opening } = this.compare(next);
    const lacking = opening.flatMap((plan) => noNamespaceOf(plan) ?? []);
    return { actions, ...compareOpen(this.resolved, next), problems: [...this.fixedIn(next), ...lacking] };
  }

  /** Changes the rules in force, and with them the configuration; the counters of what is not touched go on. */
  changeRules(edit: (present: RuleSet) => RulesChange, cause: Cause): Promise<void> {
    return this.inTurn(async () => {
      this.refuseWithoutLease();
      const { rules, ...carry } = edit(this.resolved.plan.rules);
      this.carry = carry;
      try {
        await this.changeTo(withRules(this.configuration, rules, this.resolved.publishedByPorts), cause, false);
      } finally {
        this.carry = undefined;
      }
    });
  }

  /** Rules become text: what an uplink publishes needs its address by then. */
  private refuseWithoutLease(): void {
    const waiting = this.configuration.nat?.publish?.find(({ on }) => this.leases.isWaiting(on));
    if (waiting === undefined) return;
    throw new TapirError(
      `uplink ${waiting.on} publishes ports and has no DHCP lease: rules can be changed once it has`,
    );
  }

  private async changeTo(configuration: Configuration, cause: Cause, isLenient: boolean): Promise<void> {
    const checked = checkConfiguration(configuration);
    if (checked.errors !== undefined) {
      throw new TapirError(checked.errors.map(formatError).join("\n"), ExitCode.CONFIGURATION);
    }
    if (this.isStopping) throw new TapirError("the router is ending");
    this.changes.refuseWhilePending(cause);
    const next = this.resolve(configuration);
    for (const problem of this.fixedIn(next)) throw new TapirError(problem);
    const change = this.compare(next);
    const former = { configuration: this.configuration, resolved: this.resolved };
    await this.switchTo(next, isLenient ? allRetried(change) : change);
    this.configuration = configuration;
    this.resolved = next;
    this.snapshots.follow(next);
    for (const port of this.failed.keys()) {
      if (!next.devices.some((plan) => plan.port === port)) this.failed.delete(port);
    }
    const retrying = isLenient ? allRetried(change).retrying : change.retrying;
    for (const plan of retrying) await this.tryToOpen(plan, next);
    this.leases.sync(next.devices);
    this.links.sync();
    await this.endFlowsOfGone(former.resolved);
    await this.estate.write();
    this.changes.record(cause, compareConfigurations(former.configuration, configuration));
  }

  /** The plan of a configuration that has been checked, with the addresses that are leased. */
  private resolve(configuration: Configuration): ResolvedPlan {
    try {
      return resolvePlan(configuration, this.resolved, this.leases.addresses);
    } catch (error) {
      // What a check without leases could not see: a subnet that overlaps, a second default route.
      if (error instanceof TypeError) throw new TapirError(error.message, ExitCode.CONFIGURATION);
      throw error;
    }
  }

  private leaseProblemOf(device: DevicePlan): string | undefined {
    const { ports, interfaces } = this.resolved.plan;
    const owner = ports.find(({ index }) => index === device.port)?.interface;
    const hasAddress = interfaces.find(({ index }) => index === owner)?.address !== 0;
    return this.leases.problemOf(device) ?? (hasAddress ? undefined : "its DHCP lease cannot be used");
  }

  /** Addresses have been leased or have ended: the same configuration is another plan. */
  private takeLeases(): void {
    this.inTurn(async () => {
      if (this.isStopping) return;
      const next = this.resolve(this.configuration);
      await this.switchTo(next, this.compare(next));
      this.resolved = next;
      this.estate.note();
      this.links.sync();
    }).catch((error: Error) => this.log("error", `the DHCP lease cannot be used: ${error.message}`));
  }

  private compare(next: ResolvedPlan): DeviceChange {
    const open = [...this.devices.values()].map(({ plan }) => plan);
    return compareDevices(open, new Set(this.failed.keys()), next.devices);
  }

  /** All or nothing: devices and plan. */
  private async switchTo(next: ResolvedPlan, change: DeviceChange): Promise<void> {
    const open = [...this.devices.values()];
    this.keep(openAll(change.opening));
    const undoRouting = this.routing.takePlan(next);
    try {
      for (const device of open) if (change.closing.includes(device.plan)) await this.removePort(device);
      this.keep(openAll(change.replacing));
      await this.applyPlan(next, this.carry);
      for (const plan of [...change.opening, ...change.replacing])
        await this.addPort(this.devices.get(plan.port), next);
      await this.routing.configure(next);
      await this.services.follow(next);
    } catch (error) {
      undoRouting();
      await this.restore();
      throw error;
    }
  }

  /** Opens a device that has come back. */
  private retry({ port }: DevicePlan): void {
    this.inTurn(async () => {
      const plan = this.resolved.devices.find((each) => each.port === port);
      if (plan === undefined || this.isStopping || !this.failed.has(port)) return;
      await this.tryToOpen(plan, this.resolved);
      if (this.failed.has(port)) return;
      this.estate.note();
      this.events.log("info", `port ${plan.name} works again`);
      await this.applyPlan(this.resolved).catch((error: Error) => this.log("error", `the dataplane: ${error.message}`));
      this.links.sync();
    }).catch((error: Error) => this.log("error", error.message));
  }

  /** A device's MTU is that of its interface, in the same plan. */
  private takeMtu(): void {
    this.inTurn(async () => {
      if (!this.isStopping) await this.applyPlan(this.resolved);
    }).catch((error: Error) => this.log("error", `the dataplane: ${error.message}`));
  }

  private uplinks(): UplinkDevice[] {
    const { plan, devices } = this.resolved;
    return plan.interfaces
      .filter(({ kind }) => kind === "uplink")
      .flatMap(({ index }) => {
        const port = plan.ports.find((each) => each.interface === index)?.index;
        const device = devices.find((each) => each.port === port);
        return device === undefined ? [] : { plan: device, interface: index, open: this.devices.get(device.port) };
      });
  }

  /** Tells the dataplane something of which only its death could be the failure. */
  private tell(request: Parameters<Dataplane["request"]>[0]): void {
    this.dataplane.request(request).catch((error: Error) => {
      if (!this.isStopping) this.events.log("error", `the dataplane: ${error.message}`);
    });
  }

  /** Sends the plan; its rules only when the dataplane has others: they may be many, and compiling them takes time. */
  private async applyPlan(resolved: ResolvedPlan, carry?: CounterCarry): Promise<void> {
    const { rules, ...plan } = this.completePlan(resolved);
    const text = JSON.stringify(rules);
    const isSame = text === this.rulesInForce && carry === undefined;
    this.rulesInForce = undefined;
    const sent = isSame ? plan : { ...plan, rules };
    await this.dataplane.request({ type: "apply", plan: sent, ...(carry === undefined ? {} : { carry }) });
    this.rulesInForce = text;
  }

  /** Ends the flows of containers that are there no more: the next one with the address is another. */
  private async endFlowsOfGone(former: ResolvedPlan): Promise<void> {
    const present = new Set(this.resolved.devices.map(({ address }) => address?.address));
    for (const { address } of former.devices) {
      if (address === undefined || present.has(address.address)) continue;
      const text = formatAddress(address.address);
      const filter = [...parseFilter({ src: text }), ...parseFilter({ "reply-src": text })];
      await this.removeFlowsQuietly(filter);
    }
  }

  /** What of a plan a running router cannot change to. */
  private fixedIn(next: ResolvedPlan): string[] {
    const { limits, socket } = this.resolved;
    const problems: string[] = [];
    if (JSON.stringify(next.limits) !== JSON.stringify(limits)) {
      problems.push("limits: cannot change while the router runs");
    }
    if (next.socket !== socket) problems.push("control.socket: cannot change while the router runs");
    return problems;
  }

  /** Goes back to the configuration in force after a change that failed in the middle. */
  private async restore(): Promise<void> {
    const { resolved } = this;
    try {
      for (const device of this.devices.values()) {
        if (!isPlanned(device.plan, resolved.devices)) await this.removePort(device);
      }
      await this.applyPlan(resolved);
      for (const plan of resolved.devices) {
        if (!this.devices.has(plan.port) && !this.failed.has(plan.port)) await this.tryToOpen(plan, resolved);
      }
      await this.services.follow(resolved);
    } catch (error) {
      // Only a dataplane that has died or hangs comes to this.
      this.events.log("error", `cannot go back to the former configuration: ${(error as Error).message}`);
    }
  }

  /** Opens a device that the router can do without: one that fails again is logged. */
  private async tryToOpen(plan: DevicePlan, resolved: ResolvedPlan): Promise<void> {
    try {
      this.keep(openAll([plan]));
      await this.addPort(this.devices.get(plan.port), resolved);
      this.failed.delete(plan.port);
    } catch (error) {
      const device = this.devices.get(plan.port);
      this.devices.delete(plan.port);
      if (device !== undefined) closeDevice(device);
      const why = (error as Error).message;
      // One that has failed before has been logged.
      if (!this.failed.has(plan.port)) {
        this.tellPort({ port: plan.name, state: "failed", why });
        this.events.log("error", `port ${plan.name} has failed (${why})`);
      }
      this.failed.set(plan.port, why);
    }
  }

  private keep(opened: readonly OpenDevice[]): void {
    for (const device of opened) this.devices.set(device.plan.port, device);
  }

  log(level: "info" | "warn" | "error", message: string): void {
    this.events.log(level, message);
  }

  /** Ports with their names, devices and counters. */
  async ports(): Promise<object[]> {
    const rows = (await this.show("ports")) as PortRow[];
    const { plan, devices } = this.resolved;
    return plan.ports.map((port, index) => {
      const device = devices[index];
      const { port: _, ...counters } = rows.find((row) => row.port === port.index) ?? { port: 0 };
      const why = this.failed.get(port.index);
      const link = this.links.problemOf(port.index);
      return {
        name: port.name,
        interface: plan.interfaces.find((each) => each.index === port.interface)?.name,
        kind: device.kind,
        device: device.ifname,
        namespace: device.netns ?? null,
        mtu: this.devices.get(port.index)?.mtu ?? device.mtu,
        ...withLease(this.leases.view(device)),
        state: why !== undefined ? `failed (${why})` : link === undefined ? "up" : `down (${link})`,
        ...counters,
        ...withLost(counters, this.devices.get(port.index)?.raw?.counters),
      };
    });
  }

  /** Ends the dataplane and closes all devices, which removes the TAPs. */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.dataplane.retire();
    this.changes.close();
    await this.lastChange;
    this.estate.close();
    this.links.close();
    this.leases.close();
    // A dataplane that has died has nothing more to tell.
    await this.services.stop().catch(() => {});
    this.flowEvents.close();
    await this.captures.close();
    this.routing.close();
    await this.dataplane.stop();
    await this.snapshots.stop();
    for (const device of this.devices.values()) closeDevice(device);
    this.devices.clear();
    for (const fd of this.memoryFds.splice(0)) native().closeDescriptor(fd);
  }

  private async addPort(device: OpenDevice | undefined, resolved: ResolvedPlan): Promise<void> {
    // One that has failed meanwhile needs no adding.
    if (device === undefined) return;
    const { plan, fd } = device;
    const port = resolved.plan.ports.find((each) => each.index === plan.port);
    if (port === undefined) throw new TapirError(`port ${plan.name} is not in the plan`);
    await this.dataplane.request({ type: "add-port", port, kind: plan.kind === "packet" ? "packet" : "tap" }, [fd]);
    this.tellPort({ port: plan.name, state: "up" });
  }

  private async removePort(device: OpenDevice): Promise<void> {
    await this.dataplane.request({ type: "remove-port", port: device.plan.port });
    // It may have failed while the dataplane was asked.
    if (this.devices.get(device.plan.port) !== device) return;
    this.devices.delete(device.plan.port);
    closeDevice(device);
    this.tellPort({ port: device.plan.name, state: "removed" });
  }

  private tellPort(event: LinkEvent): void {
    for (const listener of this.portListeners) listener(event);
  }

  /** The plan with the MTUs that only the devices know, and without the routes, which go by themselves. */
  private completePlan(resolved: ResolvedPlan): RouterPlan {
    const { routes: _, ...plan } = resolved.plan;
    const mtuOf = (index: number): number => {
      const port = plan.ports.find((each) => each.interface === index);
      return port === undefined ? 1500 : (this.devices.get(port.index)?.mtu ?? 1500);
    };
    const interfaces = plan.interfaces.map((each) => (each.mtu === 0 ? { ...each, mtu: mtuOf(each.index) } : each));
    const datagrams = plan.merging.datagrams && [...this.devices.values()].some(({ cutsDatagrams }) => cutsDatagrams);
    return { ...plan, ...this.routing.planned(), interfaces, merging: { ...plan.merging, datagrams } };
  }

  private takeNotice(notice: Notice): void {
    if (notice.notice === "log") {
      this.events.log(notice.level, notice.message);
      return;
    }
    if (notice.notice === "rule-log") this.events.ruleLog(notice.entry);
    else if (notice.notice === "datagram") this.services.network.take(notice.datagram);
    else this.fail(notice.port, notice.errno);
  }

  /** Takes a port out of service; the others go on. */
  private fail(port: number, errno: number): void {
    const device = this.devices.get(port);
    if (device === undefined) return;
    const why = failureOf(device.plan, errno);
    this.devices.delete(port);
    this.failed.set(port, why);
    this.estate.note();
    this.tellPort({ port: device.plan.name, state: "failed", why });
    this.events.log("error", `port ${device.plan.name} has failed (${why}); the others go on`);
    this.dataplane
      .request({ type: "remove-port", port })
      .catch(() => {})
      .finally(() => closeDevice(device));
    this.links.deviceLost(device.plan);
  }
}

/** The same, but what is new may fail. */
function allRetried({ closing, opening, replacing, retrying }: DeviceChange): DeviceChange {
  return { closing, opening: [], replacing: [], retrying: [...opening, ...replacing, ...retrying] };
}

function openAll(plans: readonly DevicePlan[]): OpenDevice[] {
  const opened: OpenDevice[] = [];
  try {
    for (const plan of plans) opened.push(openDevice(plan));
    return opened;
  } catch (error) {
    opened.forEach(closeDevice);
    throw error;
  }
}

function withLease(lease: LeaseView | undefined): { lease?: LeaseView } {
  return lease === undefined ? {} : { lease };
}

/** What a raw uplink loses in this process counts as its port's errors. */
function withLost(counters: Partial<PortRow>, lost: RawCounters | undefined): Partial<PortRow> {
  if (lost === undefined) return {};
  const { txErrors = 0, rxErrors = 0 } = counters;
  return { txErrors: txErrors + lost.sendErrors + lost.refused, rxErrors: rxErrors + lost.receiveFull };
}
