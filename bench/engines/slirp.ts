/** slirp4netns: a TAP in the container, a TCP/IP stack in user space, ordinary sockets on the other side. */
import { Started } from "../processes.ts";
import { CONTAINER_DEVICE, CONTAINERS, hasCommand, resolveNextHop, UPLINK, type World } from "../topology.ts";
import { type Engine, pinned, type Running, type StartOptions } from "./engine.ts";

/** What slirp4netns gives to its guest: the network's hundredth address. */
const ADDRESS = "10.55.66.100";

async function start(world: World, options: StartOptions): Promise<Running> {
  const { container, router } = world;
  world.connectHost("up0");
  const words = ["--netns-type=path", "--mtu=1500", `--cidr=${CONTAINERS}`, "-c", container.path, CONTAINER_DEVICE];
  const command = pinned(options.cpu, ["slirp4netns", ...words]);
  const program = await new Started("nsenter", [`--net=${router.path}`, ...command]).until(/received tapfd/);
  return {
    container,
    address: ADDRESS,
    nextHop: resolveNextHop(container),
    seenAs: UPLINK,
    sinkCpu: 0,
    pids: [program.pid],
    stop: () => program.stop(),
  };
}

export const slirp: Engine = {
  name: "slirp4netns",
  title: "slirp4netns, MTU 1500",
  isFarOff: true,
  unavailable: () => (hasCommand("slirp4netns") ? null : "no slirp4netns (Debian: slirp4netns)"),
  start,
};
