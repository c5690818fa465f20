/**
 * What the router does about its uplinks' devices: their routes leave and return with the link, their MTU is followed,
 * and a device that was taken away and has come back is opened again.
 */
import type { DevicePlan } from "../configuration/configuration.ts";
import type { OpenDevice } from "../devices.ts";
import { type Link, LinkWatch } from "./link_watch.ts";

/** An uplink's device as the router has it. */
export interface UplinkDevice {
  plan: DevicePlan;
  /** Index of the uplink's interface. */
  interface: number;
  /** Undefined while it has failed. */
  open: OpenDevice | undefined;
}

export interface LinkHost {
  uplinks(): UplinkDevice[];
  setLink(interfaceIndex: number, isUp: boolean): void;
  /** The MTU of an open device has changed, and is followed. */
  mtuChanged(): void;
  /** An open device is gone. */
  lost(plan: DevicePlan): void;
  /** What keeps an uplink from working although its link is up. */
  problemOf(plan: DevicePlan): string | undefined;
  /** The link of an uplink has come up. */
  linkIsBack(plan: DevicePlan): void;
  /** A device that has failed may be opened again. */
  retry(plan: DevicePlan): void;
  log(level: "info" | "warn", message: string): void;
}

export class UplinkLinks {
  private readonly host: LinkHost;
  private readonly watch: LinkWatch;
  /** Uplinks whose link is down, by the index of their port, with what is said of it. */
  private readonly down = new Map<number, string>();
  /** Ports whose device itself carries nothing. */
  private readonly linkless = new Set<number>();

  constructor(host: LinkHost) {
    this.host = host;
    this.watch = new LinkWatch(
      (netns, ifname) => this.heard(netns, ifname),
      (why) => host.log("warn", why),
      () => this.retryTaps(),
    );
  }

  /** Follows the uplinks of the configuration in force: after the start, and after each change. */
  sync(): void {
    const uplinks = this.host.uplinks();
    this.watch.setNamespaces(uplinks.map(({ plan }) => plan.netns));
    this.watch.refresh();
    for (const port of this.down.keys()) {
      if (!uplinks.some(({ plan }) => plan.port === port)) this.down.delete(port);
    }
    for (const uplink of uplinks) {
      const link = this.watch.get(uplink.plan.netns, uplink.plan.ifname);
      if (link !== undefined) this.take(uplink, link);
    }
  }

  /** What is wrong with the link of a port; undefined for one that is up, or not followed. */
  problemOf(port: number): string | undefined {
    return this.down.get(port);
  }

  /** A port has failed: nothing goes that way, until its device is there again, which it may be already. */
  deviceLost(plan: DevicePlan): void {
    const uplink = this.host.uplinks().find((each) => each.plan.port === plan.port);
    if (uplink === undefined) return;
    this.down.delete(plan.port);
    this.linkless.add(plan.port);
    this.host.setLink(uplink.interface, false);
    const link = this.watch.get(plan.netns, plan.ifname);
    if (link !== undefined && mayOpen(plan, link)) this.host.retry(plan);
  }

  close(): void {
    this.watch.close();
  }

  /** A namespace that is being made may have refused a TAP: there may be no further news of it. */
  private retryTaps(): void {
    for (const { plan, open } of this.host.uplinks()) {
      const link = this.watch.get(plan.netns, plan.ifname);
      const isElsewhere = plan.kind === "tap" && plan.netns !== undefined;
      if (isElsewhere && open === undefined && link !== undefined && mayOpen(plan, link)) this.host.retry(plan);
    }
  }

  private heard(netns: string | undefined, ifname: string): void {
    for (const uplink of this.host.uplinks()) {
      const { plan, open } = uplink;
      if (plan.netns !== netns) continue;
      const link = this.watch.get(netns, plan.ifname);
      // All of them are looked at once the first list is complete.
      if (link === undefined) return;
      // Whatever appears in a namespace says that the namespace is there again.
      if (plan.ifname === ifname || (plan.kind === "tap" && open === undefined)) this.take(uplink, link);
    }
  }

  private take({ plan, interface: index, open }: UplinkDevice, link: Link): void {
    if (open === undefined) {
      if (mayOpen(plan, link)) this.host.retry(plan);
      return;
    }
    // A packet socket that was told of its device's going down is not told of its end.
    if (!link.isThere || (open.ifindex !== undefined && open.ifindex !== link.ifindex)) {
      this.down.delete(plan.port);
      this.host.lost(plan);
      return;
    }
    const before = this.down.get(plan.port);
    if (link.isUp && this.linkless.delete(plan.port)) this.host.linkIsBack(plan);
    else if (!link.isUp) this.linkless.add(plan.port);
    const problem = problemOf(plan, link) ?? this.host.problemOf(plan);
    if (problem === undefined) this.down.delete(plan.port);
    else this.down.set(plan.port, problem);
    this.host.setLink(index, problem === undefined);
    if (problem !== before) {
      this.host.log(
        problem === undefined ? "info" : "warn",
        `uplink ${plan.name}: ${problem ?? `${plan.ifname} is up`}`,
      );
    }
    if (plan.mtu === 0 && open.mtu !== link.mtu) {
      open.mtu = link.mtu;
      this.host.mtuChanged();
    }
  }
}

/** What the router does not make itself has to be there; what it makes must not be. */
function mayOpen({ kind }: DevicePlan, { isThere }: Link): boolean {
  return isThere === (kind !== "tap");
}

function problemOf({ ifname }: DevicePlan, { isEnabled, isUp }: Link): string | undefined {
  if (isUp) return undefined;
  return isEnabled ? `${ifname} has no carrier` : `${ifname} is down`;
}
