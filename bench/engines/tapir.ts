/** Tapir: `tapir run` with MASQUERADE and a FORWARD chain that drops by default, the kernel's rules in its own words. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ask } from "../../src/cli/client.ts";
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
import { type Engine, pinned, type Running, type StartOptions, type Variant } from "./engine.ts";

const TAPIR = join(packageRoot(), "dist/src/cli/main.js");
const PACKET_DEVICE = "up0";
/** The environment variable with which the control process starts the dataplane. */
export const FLAGS_VARIABLE = "TAPIR_DATAPLANE_FLAGS";
/** Long enough to send a datagram to each of four million flows before the first one is forgotten. */
const UDP_TIMEOUT_SECONDS = 300;
const LONG_LIVED_FLOWS = 2_000_000;

type UplinkKind = "tap" | "packet";

/** Rules that none of the load matches, each with a network and a port of its own. */
function strangeRules(count: number): string {
  return Array.from({ length: count }, (_, index) => {
    const to = `172.${16 + (index >> 12)}.${(index >> 4) & 255}.${(index & 15) << 4}/28`;
    return `      - { in: lab, out: wan, to: ${to}, proto: udp, dport: ${20_000 + index}, action: drop }\n`;
  }).join("");
}

function configuration(world: World, kind: UplinkKind, options: StartOptions, variant: Variant): string {
  const place = kind === "tap" ? `device: ${OUTSIDE_DEVICE}, netns: ${world.outside.name}` : `device: ${PACKET_DEVICE}`;
  const port = `netns: ${world.container.name}, ifname: ${CONTAINER_DEVICE}, address: ${CONTAINER}, defaultRoute: true`;
  const timeouts =
    options.flows > LONG_LIVED_FLOWS ? `conntrack: { timeouts: { udp_timeout: ${UDP_TIMEOUT_SECONDS} } }\n` : "";
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
${strangeRules(variant.rules ?? 0)}      - { in: lab, out: wan, action: accept }
      - { in: wan, out: lab, state: [established, related], action: accept }
${timeouts}limits: { flows: ${options.flows} }
control: { socket: ${socketOf(world)} }
`;
}

function socketOf(world: World): string {
  return join(world.folder, "tapir.sock");
}

async function countFlows(world: World): Promise<number> {
  const { count } = await ask<{ count: number }>(socketOf(world), "GET", "/v1/conntrack/count");
  return count;
}

async function startWith(
  kind: UplinkKind,
  world: World,
  options: StartOptions,
  variant: Variant = {},
): Promise<Running> {
  const file = join(world.folder, "tapir.yaml");
  writeFileSync(file, configuration(world, kind, options, variant));
  if (kind === "packet") world.joinWithVeth(world.outside, OUTSIDE_DEVICE, world.router, PACKET_DEVICE);
  const enter = [`--net=${world.router.path}`];
  // A dataplane that is loaded to stand by, once and for a second, would fall into the trial and take its processor.
  const environment = ["env", "TAPIR_STANDBY=0"];
  if (variant.flags !== undefined) environment.push(`${FLAGS_VARIABLE}=${variant.flags}`);
  const command = pinned(options.cpu, [...environment, process.execPath, TAPIR, "run", "-f", file]);
  const router = new Started("nsenter", [...enter, ...command]);
  await router.until(/\bready\b/);
  const pids = familyOf(router.pid);
  pids.forEach(raise);
  world.configureOutside();
  run("ip", "-n", world.container.name, "link", "set", CONTAINER_DEVICE, "up");
  return {
    container: world.container,
    address: CONTAINER,
    nextHop: resolveNextHop(world.container),
    seenAs: UPLINK,
    sinkCpu: 0,
    pids,
    countFlows: () => countFlows(world),
    output: () => router.output,
    stop: () => router.stop(),
  };
}

/** A router whose dataplane runs with other settings of V8, for profiles and traces. */
export function startTapir(world: World, options: StartOptions, variant: Variant): Promise<Running> {
  return startWith("tap", world, options, variant);
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

function variantOf(name: string, title: string, variant: Variant): Engine {
  return {
    name,
    title,
    unavailable,
    warmsUp: true,
    start: (world, options) => startWith("tap", world, options, variant),
  };
}

export const tapirVariants: readonly Engine[] = [
  variantOf("tapir-1000-rules", "Tapir with 1 000 more rules", { rules: 1000 }),
  variantOf("tapir-10000-rules", "Tapir with 10 000 more rules", { rules: 10_000 }),
  variantOf("tapir-traced", "Tapir, its dataplane with --trace-gc", { flags: "--trace-gc" }),
];
