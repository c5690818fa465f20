/**
 * The kernel's own NAT: a veth pair into a bridge with the gateway's address, iptables MASQUERADE and a FORWARD chain
 * that drops by default, a veth pair to the outside. `tuned` spreads the receive work over the processors (RPS), lets
 * veth merge segments (GRO) and keeps iptables away from bridged frames.
 *
 * It runs on the sender's processor, in the sender's system calls, unless RPS moves it. The receiver goes elsewhere.
 */
import { availableParallelism } from "node:os";
import {
  CONTAINER,
  CONTAINER_DEVICE,
  CONTAINERS,
  GATEWAY,
  hasCommand,
  OUTSIDE,
  OUTSIDE_DEVICE,
  readNumber,
  resolveNextHop,
  run,
  runIn,
  setSysctl,
  UPLINK,
  type World,
} from "../topology.ts";
import type { Engine, Running, StartOptions } from "./engine.ts";

const BRIDGE = "br0";
const INSIDE = "in0";
const UP = "up0";

function connect(world: World): void {
  const { container, router, outside } = world;
  const { name } = router;
  world.joinWithVeth(container, CONTAINER_DEVICE, router, INSIDE);
  world.joinWithVeth(outside, OUTSIDE_DEVICE, router, UP);
  run("ip", "-n", name, "link", "add", BRIDGE, "type", "bridge");
  run("ip", "-n", name, "link", "set", INSIDE, "master", BRIDGE);
  run("ip", "-n", name, "link", "set", BRIDGE, "up");
  run("ip", "-n", name, "addr", "add", `${GATEWAY}/24`, "dev", BRIDGE);
  run("ip", "-n", name, "addr", "add", `${UPLINK}/24`, "dev", UP);
  run("ip", "-n", name, "route", "add", "default", "via", OUTSIDE);
  world.configureContainer();
  world.configureOutside();
}

function addRules(world: World): void {
  const iptables = (...words: string[]) => runIn(world.router, "iptables", ...words);
  iptables("-t", "nat", "-A", "POSTROUTING", "-s", CONTAINERS, "-o", UP, "-j", "MASQUERADE");
  iptables("-P", "FORWARD", "DROP");
  iptables("-A", "FORWARD", "-i", BRIDGE, "-o", UP, "-j", "ACCEPT");
  const established = ["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED"];
  iptables("-A", "FORWARD", "-i", UP, "-o", BRIDGE, ...established, "-j", "ACCEPT");
  setSysctl(world.router, "net.ipv4.ip_forward", 1);
}

function tune(world: World, cpu: number | undefined): void {
  const mask = cpu === undefined ? (1 << availableParallelism()) - 1 : 1 << cpu;
  for (const device of [INSIDE, UP]) {
    // Its sysfs shows a namespace only to who mounts it there; `ip netns exec` does.
    const file = `/sys/class/net/${device}/queues/rx-0/rps_cpus`;
    run("ip", "netns", "exec", world.router.name, "sh", "-c", `echo ${mask.toString(16)} > ${file}`);
    if (hasCommand("ethtool")) runIn(world.router, "ethtool", "-K", device, "gro", "on");
  }
  try {
    setSysctl(world.router, "net.bridge.bridge-nf-call-iptables", 0);
  } catch {
    // Without br_netfilter there is nothing to keep away.
  }
}

function missing(): string | null {
  const absent = ["iptables", "nft"].filter((command) => !hasCommand(command));
  return absent.length === 0 ? null : `no ${absent.join(", ")} (Debian: iptables, nftables)`;
}

/** The kernel lets only the host's own namespace set it, and the bench touches nothing of the host. */
function maxFlows(): number {
  return readNumber("/proc/sys/net/netfilter/nf_conntrack_max") ?? 65_536;
}

async function start(world: World, _options: StartOptions): Promise<Running> {
  connect(world);
  addRules(world);
  const nextHop = resolveNextHop(world.container);
  return {
    container: world.container,
    address: CONTAINER,
    nextHop,
    seenAs: UPLINK,
    sinkCpu: 1,
    pids: [],
    stop: async () => {},
  };
}

export const kernel: Engine = {
  name: "kernel",
  title: "kernel bridge, iptables MASQUERADE and FORWARD rules, as they come",
  unavailable: missing,
  maxFlows,
  start,
};

export const kernelTuned: Engine = {
  name: "kernel-tuned",
  title: "the same with RPS, GRO on veth, and iptables off for bridged frames",
  unavailable: missing,
  maxFlows,
  start: async (world, options) => {
    const running = await start(world, options);
    tune(world, options.cpu);
    return { ...running, sinkCpu: 0 };
  },
};
