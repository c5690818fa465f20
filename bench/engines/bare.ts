/** What is measured without a router: the load's own limits, and code that needs no network. */
import { CONTAINER, CONTAINER_DEVICE, CONTAINERS, macOf, OUTSIDE_DEVICE, run, type World } from "../topology.ts";
import type { Engine, Running } from "./engine.ts";

async function startCable(world: World): Promise<Running> {
  const { container, outside } = world;
  world.joinWithVeth(container, CONTAINER_DEVICE, outside, OUTSIDE_DEVICE);
  world.configureContainer();
  world.configureOutside();
  run("ip", "-n", outside.name, "route", "add", CONTAINERS, "dev", OUTSIDE_DEVICE);
  const nextHop = macOf(outside, OUTSIDE_DEVICE);
  return {
    container,
    address: CONTAINER,
    nextHop,
    seenAs: CONTAINER,
    sinkCpu: 1,
    pids: [],
    isStateless: true,
    stop: async () => {},
  };
}

export const cable: Engine = {
  name: "cable",
  title: "no router, one veth pair: what generator and receiver can do by themselves",
  unavailable: () => null,
  start: startCable,
};

export const memory: Engine = {
  name: "memory",
  title: "Tapir's code without devices",
  unavailable: () => null,
  start: async ({ container }) => ({
    container,
    address: CONTAINER,
    nextHop: "",
    seenAs: CONTAINER,
    sinkCpu: 0,
    pids: [],
    stop: async () => {},
  }),
};
