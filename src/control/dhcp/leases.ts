/**
 * The leases of all uplinks with `address: dhcp`. A lease belongs to a device and a hardware address: changes of the
 * configuration that leave those alone leave the lease alone, too.
 */
import type { DevicePlan } from "../configuration/devices.ts";
import type { Lease, LeasedAddress } from "./lease.ts";
import { describeLease, LeasedUplink, type LeaseHost, type LeaseView, type SavedLease } from "./leased_uplink.ts";

export interface LeasesHost {
  /** Addresses or routes have changed. */
  changed(): void;
  log(level: "info" | "warn", message: string): void;
}

export class Leases {
  private readonly host: LeasesHost;
  private readonly uplinks = new Map<string, LeasedUplink>();

  constructor(host: LeasesHost) {
    this.host = host;
  }

  /** What is leased, by the name of its uplink. */
  get addresses(): ReadonlyMap<string, LeasedAddress> {
    const leased = new Map<string, LeasedAddress>();
    for (const { plan, lease } of this.uplinks.values()) if (lease !== undefined) leased.set(plan.name, lease);
    return leased;
  }

  /** What the next process needs to go on with them. */
  get saved(): SavedLease[] {
    return [...this.uplinks.values()].flatMap(({ saved }) => saved ?? []);
  }

  /** Goes on with leases of an earlier process. They count from now on; `sync` lets go of those that nobody wants. */
  resume(saved: readonly SavedLease[]): void {
    for (const each of saved) {
      const uplink = new LeasedUplink(each.plan, this.uplinkHost());
      uplink.resume(each);
      this.uplinks.set(keyOf(each.plan), uplink);
    }
    for (const uplink of this.uplinks.values()) uplink.start();
  }

  /** Follows the devices of the configuration in force. */
  sync(devices: readonly DevicePlan[]): void {
    const wanted = new Map(devices.filter(({ isLeased }) => isLeased).map((plan) => [keyOf(plan), plan]));
    for (const [key, uplink] of this.uplinks) {
      if (wanted.has(key)) continue;
      uplink.close();
      this.uplinks.delete(key);
    }
    for (const [key, plan] of wanted) {
      if (this.uplinks.has(key)) continue;
      const uplink = new LeasedUplink(plan, this.uplinkHost());
      this.uplinks.set(key, uplink);
      uplink.start();
    }
  }

  /** What keeps an uplink from working; undefined for one that has its lease, or needs none. */
  problemOf(plan: DevicePlan): string | undefined {
    return plan.isLeased === true && this.uplinks.get(keyOf(plan))?.lease === undefined ? "no DHCP lease" : undefined;
  }

  isWaiting(name: string): boolean {
    return [...this.uplinks.values()].some(({ plan, lease }) => plan.name === name && lease === undefined);
  }

  /** The device can carry frames again. */
  linkIsBack(plan: DevicePlan): void {
    this.uplinks.get(keyOf(plan))?.linkIsBack();
  }

  view(plan: DevicePlan): LeaseView | undefined {
    return this.uplinks.get(keyOf(plan))?.view();
  }

  /** Gives all addresses back. */
  close(): void {
    for (const uplink of this.uplinks.values()) uplink.close();
    this.uplinks.clear();
  }

  private uplinkHost(): LeaseHost {
    return {
      log: (level, message) => this.host.log(level, message),
      changed: ({ plan, lease }, before) => {
        if (isSame(before, lease)) return;
        if (lease !== undefined) {
          this.host.log("info", `uplink ${plan.name}: leases ${describeLease(lease, plan.mac)}`);
        } else if (before !== undefined) this.host.log("warn", `uplink ${plan.name}: its DHCP lease has ended`);
        this.host.changed();
      },
    };
  }
}

/** A renewal changes nothing for the router. */
function isSame(one: Lease | undefined, other: Lease | undefined): boolean {
  const text = (lease: Lease | undefined): string | undefined =>
    lease && JSON.stringify([lease.address, lease.prefixLength, lease.routes]);
  return text(one) === text(other);
}

function keyOf({ name, netns, ifname, mac }: DevicePlan): string {
  return JSON.stringify([name, netns, ifname, mac]);
}
