/**
 * A running router as the control process holds it: configuration, devices, shared memory, dataplane. There is one way
 * to change it: a whole new configuration, whose difference to the present one becomes actions (close and open
 * devices, apply the plan). Attaching and detaching a container edit the configuration and go the same way.
 */
import { FlowTable } from "../conntrack/flow_table.ts";
import { Counters } from "../dataplane/counters.ts";
import type { Notice, PortRow, ShowTable } from "../dataplane/messages.ts";
import type { RouterPlan } from "../dataplane/plan.ts";
import { native } from "../io/native.ts";
import {
  type Configuration,
  checkConfiguration,
  type DevicePlan,
  formatError,
  type ResolvedPlan,
  resolvePlan,
} from "./configuration/configuration.ts";
import { DataplaneProcess } from "./dataplane_process.ts";
import { checkSystem, closeDevice, type OpenDevice, openDevice } from "./devices.ts";
import { ExitCode, TapirError } from "./errors.ts";
import { FlowReader } from "./flows.ts";

/** How long the dataplane polls before it sleeps. */
const SPIN_MICROSECONDS = Number(process.env.TAPIR_SPIN_MICROSECONDS ?? 50);

export interface RouterEvents {
  log(level: "info" | "warn" | "error", message: string): void;
  /** The dataplane has ended by itself; the router is of no use any more. */
  died(reason: string): void;
}

export class RunningRouter {
  configuration: Configuration;
  resolved: ResolvedPlan;
  readonly flows: FlowReader;
  private readonly devices = new Map<number, OpenDevice>();
  /** The errno that took a port out of service. */
  private readonly failed = new Map<number, number>();
  private readonly dataplane: DataplaneProcess;
  private readonly memoryFds: number[];
  private readonly events: RouterEvents;
  private lastChange: Promise<void> = Promise.resolve();

  /** Opens all devices and starts the dataplane; whatever was made is removed again when it fails. */
  static async start(configuration: Configuration, events: RouterEvents): Promise<RunningRouter> {
    const resolved = resolvePlan(configuration);
    checkSystem(resolved.devices);
    const devices = openAll(resolved.devices);
    let router: RunningRouter | undefined;
    try {
      router = new RunningRouter(configuration, resolved, devices, events);
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
  ) {
    this.configuration = configuration;
    this.resolved = resolved;
    this.events = events;
    for (const device of devices) this.devices.set(device.plan.port, device);
    const capacity = resolved.limits.flows;
    const flows = native().createMemory("tapir-flows", FlowTable.bytesFor(capacity));
    const counters = native().createMemory("tapir-counters", Counters.BYTES);
    this.memoryFds = [flows.fd, counters.fd];
    this.flows = new FlowReader(flows.memory, capacity);
    this.dataplane = new DataplaneProcess({
      notice: (notice) => this.takeNotice(notice),
      died: (reason) => events.died(reason),
    });
  }

  get dataplanePid(): number | undefined {
    return this.dataplane.pid;
  }

  private async begin(): Promise<void> {
    const { limits } = this.resolved;
    const plan = this.completePlan(this.resolved);
    await this.dataplane.request({ type: "start", plan, limits, spinMicroseconds: SPIN_MICROSECONDS }, this.memoryFds);
    for (const device of this.devices.values()) await this.addPort(device);
  }

  /**
   * Changes the router to another configuration, made from the present one; one change at a time. When it throws, the
   * old one is still in force.
   */
  change(edit: (present: Configuration) => Configuration): Promise<void> {
    const changed = this.lastChange.then(() => this.changeTo(edit(this.configuration)));
    this.lastChange = changed.catch(() => {});
    return changed;
  }

  private async changeTo(configuration: Configuration): Promise<void> {
    const checked = checkConfiguration(configuration);
    if (checked.errors !== undefined) {
      throw new TapirError(checked.errors.map(formatError).join("\n"), ExitCode.CONFIGURATION);
    }
    const next = resolvePlan(configuration, this.resolved);
    if (JSON.stringify(next.limits) !== JSON.stringify(this.resolved.limits)) {
      throw new TapirError("limits cannot change while the router runs");
    }
    const isSame = (plan: DevicePlan): boolean => {
      const open = this.devices.get(plan.port);
      return open !== undefined && JSON.stringify(open.plan) === JSON.stringify(plan) && !this.failed.has(plan.port);
    };
    const wanted = new Map(next.devices.map((plan) => [plan.port, plan]));
    const leaving = [...this.devices.values()].filter(({ plan }) => {
      const now = wanted.get(plan.port);
      return now === undefined || !isSame(now);
    });
    const coming = next.devices.filter((plan) => !isSame(plan));
    // What can fail comes first: devices of new names. Those that replace one of the same name have to wait for it.
    const replaced = new Set(leaving.map(({ plan }) => `${plan.netns} ${plan.ifname}`));
    const fresh = openAll(coming.filter((plan) => !replaced.has(`${plan.netns} ${plan.ifname}`)));
    for (const device of leaving) await this.removePort(device);
    const opened = [...fresh, ...openAll(coming.filter((plan) => !fresh.some((device) => device.plan === plan)))];
    for (const device of opened) this.devices.set(device.plan.port, device);
    await this.dataplane.request({ type: "apply", plan: this.completePlan(next) });
    this.configuration = configuration;
    this.resolved = next;
    for (const device of opened) await this.addPort(device);
  }

  show(table: ShowTable): Promise<unknown> {
    return this.dataplane.request({ type: "show", table });
  }

  flushFlows(): Promise<unknown> {
    return this.dataplane.request({ type: "flush-flows" });
  }

  /** Ports with their names, devices and counters. */
  async ports(): Promise<object[]> {
    const rows = (await this.show("ports")) as PortRow[];
    const { plan, devices } = this.resolved;
    return plan.ports.map((port, index) => {
      const device = devices[index];
      const { port: _, ...counters } = rows.find((row) => row.port === port.index) ?? { port: 0 };
      const errno = this.failed.get(port.index);
      return {
        name: port.name,
        interface: plan.interfaces.find((each) => each.index === port.interface)?.name,
        kind: device.kind,
        device: device.ifname,
        namespace: device.netns ?? null,
        mtu: this.devices.get(port.index)?.mtu ?? device.mtu,
        state: errno === undefined ? "up" : `failed (errno ${errno})`,
        ...counters,
      };
    });
  }

  /** Ends the dataplane and closes all devices, which removes the TAPs. */
  async stop(): Promise<void> {
    await this.dataplane.stop();
    for (const device of this.devices.values()) closeDevice(device);
    this.devices.clear();
    for (const fd of this.memoryFds.splice(0)) native().closeDescriptor(fd);
  }

  private async addPort(device: OpenDevice): Promise<void> {
    const port = this.resolved.plan.ports.find((each) => each.index === device.plan.port);
    if (port === undefined) throw new TapirError(`port ${device.plan.name} is not in the plan`);
    await this.dataplane.request({ type: "add-port", port, kind: device.plan.kind }, [device.fd]);
  }

  private async removePort(device: OpenDevice): Promise<void> {
    await this.dataplane.request({ type: "remove-port", port: device.plan.port });
    this.devices.delete(device.plan.port);
    this.failed.delete(device.plan.port);
    closeDevice(device);
  }

  /** The plan with the MTUs that only the devices know. */
  private completePlan(resolved: ResolvedPlan): RouterPlan {
    const { plan } = resolved;
    const mtuOf = (index: number): number => {
      const port = plan.ports.find((each) => each.interface === index);
      return port === undefined ? 1500 : (this.devices.get(port.index)?.mtu ?? 1500);
    };
    const interfaces = plan.interfaces.map((each) => (each.mtu === 0 ? { ...each, mtu: mtuOf(each.index) } : each));
    return { ...plan, interfaces };
  }

  private takeNotice(notice: Notice): void {
    if (notice.notice === "log") {
      this.events.log(notice.level, notice.message);
      return;
    }
    const device = this.devices.get(notice.port);
    this.failed.set(notice.port, notice.errno);
    const name = device?.plan.name ?? `number ${notice.port}`;
    this.events.log("error", `port ${name} has failed (errno ${notice.errno}): its device is gone; the others go on`);
    this.dataplane.request({ type: "remove-port", port: notice.port }).catch(() => {});
  }
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
