/** The limit: a C program that carries frames between two TAPs and touches nothing. */
import { native } from "../../src/io/native.ts";
import { startProgram } from "../processes.ts";
import { CONTAINER, CONTAINER_DEVICE, GATEWAY, macOf, OUTSIDE_DEVICE, run, type World } from "../topology.ts";
import type { Engine, Running, StartOptions } from "./engine.ts";

async function start(world: World, options: StartOptions, ring = false): Promise<Running> {
  const { container, outside } = world;
  const program = await startProgram("forwarder", {
    a: `tap:${container.path}:${CONTAINER_DEVICE}`,
    b: `tap:${outside.path}:${OUTSIDE_DEVICE}`,
    cpu: options.cpu,
    ring,
  });
  world.configureContainer();
  world.configureOutside();
  // It answers no ARP and changes no MAC: each side is told the other's.
  const nextHop = macOf(outside, OUTSIDE_DEVICE);
  const neighbour = ["nud", "permanent", "dev"];
  run("ip", "-n", container.name, "neigh", "replace", GATEWAY, "lladdr", nextHop, ...neighbour, CONTAINER_DEVICE);
  run("ip", "-n", outside.name, "route", "add", CONTAINER, "dev", OUTSIDE_DEVICE);
  const mac = macOf(container, CONTAINER_DEVICE);
  run("ip", "-n", outside.name, "neigh", "replace", CONTAINER, "lladdr", mac, ...neighbour, OUTSIDE_DEVICE);
  return {
    container,
    address: CONTAINER,
    nextHop,
    seenAs: CONTAINER,
    sinkCpu: 0,
    pids: [program.pid],
    isStateless: true,
    stop: () => program.stop(),
  };
}

export const forwarder: Engine = {
  name: "forwarder",
  title: "the limit: a C forwarder, TAP to TAP, that touches nothing",
  unavailable: () => null,
  start: (world, options) => start(world, options),
};

export const forwarderRing: Engine = {
  name: "forwarder-ring",
  title: "the same C forwarder, its reads and writes by io_uring as Tapir's are",
  unavailable: () => (native().hasRing() ? null : "this kernel has no io_uring, or forbids it"),
  start: (world, options) => start(world, options, true),
};
