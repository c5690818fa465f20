/**
 * Open vSwitch with its userspace datapath and conntrack NAT, on veth pairs. It takes no offloads there, so they are
 * off, and neighbours are told to both sides: OpenFlow would have to answer ARP.
 */
import { join } from "node:path";
import { Started } from "../processes.ts";
import {
  CONTAINER,
  CONTAINER_DEVICE,
  GATEWAY,
  hasCommand,
  macOf,
  OUTSIDE_DEVICE,
  run,
  runIn,
  UPLINK,
  type World,
} from "../topology.ts";
import { type Engine, pinned, type Running, type StartOptions } from "./engine.ts";

const MAC = "02:00:00:00:00:01";
const INSIDE = "in0";
const UP = "up0";
const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";

function connect(world: World): void {
  const { container, router, outside } = world;
  world.joinWithVeth(container, CONTAINER_DEVICE, router, INSIDE);
  world.joinWithVeth(outside, OUTSIDE_DEVICE, router, UP);
  world.configureContainer();
  world.configureOutside();
  const forever = ["lladdr", MAC, "nud", "permanent", "dev"];
  run("ip", "-n", container.name, "neigh", "replace", GATEWAY, ...forever, CONTAINER_DEVICE);
  run("ip", "-n", outside.name, "neigh", "replace", UPLINK, ...forever, OUTSIDE_DEVICE);
  runIn(container, "ethtool", "-K", CONTAINER_DEVICE, "tx", "off");
  runIn(outside, "ethtool", "-K", OUTSIDE_DEVICE, "tx", "off");
}

/** MASQUERADE of what comes from inside; what comes from outside must belong to a connection. */
function flows(world: World): string[] {
  const rewrite = (mac: string) => `mod_dl_src:${MAC},mod_dl_dst:${mac},dec_ttl`;
  const up = `${rewrite(macOf(world.outside, OUTSIDE_DEVICE))},output:${UP}`;
  const down = `${rewrite(macOf(world.container, CONTAINER_DEVICE))},output:${INSIDE}`;
  return [
    "table=0,priority=0,actions=drop",
    `table=0,priority=10,in_port=${INSIDE},ip,actions=ct(zone=1,nat,table=1)`,
    `table=0,priority=10,in_port=${UP},ip,actions=ct(zone=1,nat,table=2)`,
    `table=1,priority=10,ip,ct_state=+trk+new,actions=ct(commit,zone=1,nat(src=${UPLINK}:1024-65535)),${up}`,
    `table=1,priority=10,ip,ct_state=+trk+est,actions=${up}`,
    `table=2,priority=10,ip,ct_state=+trk+est,actions=${down}`,
  ];
}

async function startDaemons(
  world: World,
  cpu: number | undefined,
): Promise<{ daemons: Started[]; switchSocket: string }> {
  const database = join(world.folder, "conf.db");
  const socket = join(world.folder, "db.sock");
  const control = join(world.folder, "switch.ctl");
  run("ovsdb-tool", "create", database, SCHEMA);
  const words = [database, `--remote=punix:${socket}`, `--unixctl=${join(world.folder, "db.ctl")}`];
  const server = await new Started("ovsdb-server", [...words, "-vconsole:info"]).until(/ovsdb-server \(Open vSwitch\)/);
  run("ovs-vsctl", "--no-wait", `--db=unix:${socket}`, "init");
  const vswitchd = ["ovs-vswitchd", `unix:${socket}`, `--unixctl=${control}`, "-vconsole:info"];
  const environment = ["env", `OVS_RUNDIR=${world.folder}`];
  const command = [`--net=${world.router.path}`, ...environment, ...pinned(cpu, vswitchd)];
  const datapath = await new Started("nsenter", command).until(/ovs-vswitchd \(Open vSwitch\)/);
  const ports = ["--", "add-port", "br0", INSIDE, "--", "add-port", "br0", UP];
  const bridge = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail-mode=secure"];
  run("ovs-vsctl", "--timeout=10", `--db=unix:${socket}`, ...bridge, ...ports);
  return { daemons: [datapath, server], switchSocket: `unix:${join(world.folder, "br0.mgmt")}` };
}

async function start(world: World, options: StartOptions): Promise<Running> {
  connect(world);
  const { daemons, switchSocket } = await startDaemons(world, options.cpu);
  for (const flow of flows(world)) run("ovs-ofctl", "add-flow", switchSocket, flow);
  return {
    container: world.container,
    address: CONTAINER,
    nextHop: MAC,
    seenAs: UPLINK,
    sinkCpu: 0,
    pids: daemons.map(({ pid }) => pid),
    stop: async () => {
      for (const daemon of daemons) await daemon.stop();
    },
  };
}

export const ovs: Engine = {
  name: "ovs",
  title: "Open vSwitch, userspace datapath with conntrack NAT, on veth",
  isFarOff: true,
  unavailable: () => {
    const absent = ["ovs-vswitchd", "ovsdb-server", "ovs-ofctl", "ethtool"].filter((command) => !hasCommand(command));
    return absent.length === 0 ? null : `no ${absent.join(", ")} (Debian: openvswitch-switch, ethtool)`;
  },
  start,
};
