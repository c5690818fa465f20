/** Tapir: `tapir run` with MASQUERADE and a FORWARD chain that drops by default, the kernel's rules in its own words. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/io/package_root.ts";
import { familyOf, raise } from "../priority.ts";
import { Started } from "../processes.ts";
import {
  CONTAINER,
  CONTAINER_DEVICE,
  CONTAINERS,
  GATEWAY,
  OUTSIDE,
  OUTSIDE_DEVICE,
  resolveNextHop,
  run,
  UPLINK,
  type World,
} from "../topology.ts";
import { type Engine, pinned, type Running, type StartOptions } from "./engine.ts";

const TAPIR = join(packageRoot(), "dist/src/cli/main.js");
const PACKET_DEVICE = "up0";

type UplinkKind = "tap" | "packet";

function configuration(world: World, kind: UplinkKind, options: StartOptions): string {
  const place = kind === "tap" ? `device: ${OUTSIDE_DEVICE}, netns: ${world.outside.name}` : `device: ${PACKET_DEVICE}`;
  const port = `netns: ${world.container.name}, ifname: ${CONTAINER_DEVICE}, address: ${CONTAINER}, defaultRoute: true`;
  return `version: 1
networks:
  lab:
    subnet: ${CONTAINERS}
    gateway: ${GATEWAY}
    ports:
      c1: { ${port} }
uplinks:
  wan: { kind: ${kind}, ${place}, address: ${UPLINK}/24, gateway: ${OUTSIDE} }
nat:
  masquerade: [ { from: ${CONTAINERS}, out: wan } ]
filter:
  forward:
    policy: drop
    rules:
      - { in: lab, out: wan, action: accept }
      - { in: wan, out: lab, state: [established, related], action: accept }
limits: { flows: ${options.flows} }
control: { socket: ${join(world.folder, "tapir.sock")} }
`;
}

async function startWith(kind: UplinkKind, world: World, options: StartOptions): Promise<Running> {
  const file = join(world.folder, "tapir.yaml");
  writeFileSync(file, configuration(world, kind, options));
  if (kind === "packet") world.joinWithVeth(world.outside, OUTSIDE_DEVICE, world.router, PACKET_DEVICE);
  const enter = [`--net=${world.router.path}`];
  const command = pinned(options.cpu, [process.execPath, TAPIR, "run", "-f", file]);
  const router = new Started("nsenter", [...enter, ...command]);
  await router.until(/\bready\b/);
  const pids = familyOf(router.pid);
  pids.forEach(raise);
  world.configureOutside();
  run("ip", "-n", world.container.name, "link", "set", CONTAINER_DEVICE, "up");
  const nextHop = resolveNextHop(world.container);
  const stop = () => router.stop();
  return { container: world.container, address: CONTAINER, nextHop, seenAs: UPLINK, sinkCpu: 0, pids, stop };
}

const unavailable = (): string | null => (existsSync(TAPIR) ? null : "not built (npm run build)");

export const tapir: Engine = {
  name: "tapir",
  title: "Tapir, TAP to TAP",
  unavailable,
  warmsUp: true,
  start: (world, options) => startWith("tap", world, options),
};

export const tapirPacket: Engine = {
  name: "tapir-packet",
  title: "Tapir, TAP to a packet socket on a veth",
  unavailable,
  warmsUp: true,
  start: (world, options) => startWith("packet", world, options),
};
