/** Makes and removes the namespaces of the lab and the wire between the router and the outside. */
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { ExitCode, TapirError } from "../../control/errors.ts";
import { native } from "../../io/native.ts";
import { Address, Netns, netnsPath, type Place, ROUTER_UPLINK, UPLINK } from "./places.ts";
import { Interrupted, type Processes } from "./processes.ts";

/** Longest wait for a device's carrier. The kernel hands them on once a second at worst, later on a busy machine. */
const CARRIER_MS = 10_000;

export class Topology {
  private readonly processes: Processes;
  private readonly made: string[] = [];

  constructor(processes: Processes) {
    this.processes = processes;
  }

  /** Throws, having made nothing, when a namespace of one of the lab's names is there already. */
  checkFree(): void {
    const taken = Object.values(Netns).filter((name) => existsSync(netnsPath(name)));
    if (taken.length === 0) return;
    const cure = taken.map((name) => `ip netns del ${name}`).join("; ");
    throw new TapirError(
      `${taken.join(", ")} exist${taken.length === 1 ? "s" : ""} already: end the other lab, or remove with: ${cure}`,
    );
  }

  async make(): Promise<void> {
    this.checkFree();
    for (const name of Object.values(Netns)) {
      await this.add(name);
      silenceIpv6(name);
      await this.ip("-n", name, "link", "set", "lo", "up");
    }
    // Ends with one index between them get their carrier up to a second later (linkwatch takes them for one device).
    await this.ip(
      ..."link add up0 index 10 netns tapir-router type veth peer name eth0 index 11 netns tapir-wan".split(" "),
    );
    for (const address of [`${Address.OUTSIDE}/24`, `${Address.SECOND_ROUTER}/24`]) {
      await this.ip("-n", Netns.WAN, "address", "add", address, "dev", "eth0");
    }
    await this.ip("-n", Netns.WAN, "address", "add", `${Address.FURTHER}/32`, "dev", "lo");
    for (const { netns, device } of [ROUTER_UPLINK, UPLINK]) await this.ip("-n", netns, "link", "set", device, "up");
    for (const place of [ROUTER_UPLINK, UPLINK]) await this.untilCarrying(place);
  }

  /** A device that is up drops what it is given to send until it has a queueing discipline. */
  private async untilCarrying({ netns, device }: Place): Promise<void> {
    const deadline = Date.now() + CARRIER_MS;
    for (;;) {
      const { stdout } = await this.processes.run(undefined, "ip", "-n", netns, "-o", "link", "show", "dev", device);
      if (/qdisc (?!noop).* state UP/.test(stdout)) return;
      if (Date.now() > deadline) throw new TapirError(`${device} in ${netns} gets no carrier`);
    }
  }

  /** Removes what was made, last-made first; never throws, and does not wait for the event loop. */
  remove(): void {
    for (const name of this.made.splice(0).reverse()) {
      if (existsSync(netnsPath(name))) spawnSync("ip", ["netns", "del", name]);
    }
  }

  private async add(name: string): Promise<void> {
    this.made.push(name);
    try {
      await this.ip("netns", "add", name);
    } catch (error) {
      // One that somebody else has made in the meantime is not ours to remove; an interrupted one is.
      if (!(error instanceof Interrupted)) this.made.pop();
      throw error;
    }
  }

  private async ip(...args: string[]): Promise<void> {
    const { status, stderr } = await this.processes.run(undefined, "ip", ...args);
    if (status === 0) return;
    const reason = stderr.trim().split("\n")[0];
    const command = `ip ${args.join(" ")}`;
    if (/Operation not permitted|Permission denied/.test(reason)) {
      throw new TapirError(`${command}: ${reason}: run the lab as root`, ExitCode.PRIVILEGE);
    }
    if (/Unknown device type|not supported/.test(reason)) {
      throw new TapirError(`${command}: ${reason}: the kernel lacks it (modprobe veth)`, ExitCode.PRIVILEGE);
    }
    throw new TapirError(`${command}: ${reason}`);
  }
}

/** Neighbour discovery would only clutter the captures. Where it cannot be turned off, it does no harm. */
function silenceIpv6(netns: string): void {
  native().inNamespace(netnsPath(netns), () => {
    for (const group of ["all", "default"]) {
      try {
        writeFileSync(`/proc/sys/net/ipv6/conf/${group}/disable_ipv6`, "1");
      } catch {
        return;
      }
    }
  });
}
