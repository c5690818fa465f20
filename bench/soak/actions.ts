/**
 * What the soak does to a router. Traffic runs beside it, several at a time; disturbances come one after the other, each
 * undoes what it did to the world, and each must succeed: a refusal by the router is a failure of the soak.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { MOST_CAPTURES } from "../../src/dataplane/capture_ring.ts";
import type { Dice } from "./dice.ts";
import type { Container, SoakRouter } from "./router.ts";
import { type Agent, addNamespace, deleteNamespace, GATEWAY, ip, run, SERVER } from "./world.ts";

export interface Scene {
  dice: Dice;
  router: SoakRouter;
  routerNetns: string;
  /** Containers that stay, each with its agent. */
  residents: { container: Container; agent: Agent }[];
  /** Containers that come and go. */
  visitors: Container[];
  visits: number;
  /** Datagrams and pings without an answer: allowed, and told. */
  lost: number;
  /** Times that a client was connected, and the server not: allowed, and told. */
  again: number;
}

/**
 * Where nobody sends to: above the servers' ports and below those that clients take, for a flow that a change of rules
 * forbids in one direction ends.
 */
const UNUSED_PORTS = [10_000, 30_000] as const;
const RESTART_TRIES = 200;
const RESTART_PAUSE_MS = 50;
const OPEN_MS = 200;
const OPEN_TRIES = 20;
const MOST_VISITORS = 4;
/** Highest last byte of a visitor's address, and the lowest. */
const FIRST_VISITOR = 100;
const VISITOR_ADDRESSES = 100;

/** A transfer or a burst of datagrams of one of the residents; throws where a byte was wrong. */
export async function traffic(scene: Scene): Promise<string> {
  const { dice } = scene;
  const { agent, container } = dice.pick(scene.residents);
  const kind = dice.below(3) === 0 ? "udp" : "tcp";
  const sizes = kind === "tcp" ? [1, 1000, 20_000, 300_000, 2_000_000] : [16, 100, 1400];
  const up = kind === "tcp" ? dice.pick(sizes) : dice.between(1, 40);
  const order = { kind, seed: dice.below(1e9), up, down: dice.pick(sizes) } as const;
  const { problem, lost = 0, again = 0 } = await agent.do(order);
  scene.lost += lost;
  scene.again += again;
  if (problem !== undefined) throw new Error(`${container.name}: ${kind} ${JSON.stringify(order)}: ${problem}`);
  return kind;
}

type Disturbance = (scene: Scene) => Promise<void>;

async function attach(scene: Scene): Promise<void> {
  const { router, visitors } = scene;
  if (visitors.length >= MOST_VISITORS) return leave(scene);
  const visit = scene.visits++;
  const netns = await addNamespace(`v${visit}`);
  const address = `10.55.66.${FIRST_VISITOR + (visit % VISITOR_ADDRESSES)}`;
  const container = { name: `v${visit}`, netns, address };
  await router.api.ask("POST", "/v1/ports", { network: "lab", netns, name: container.name, address });
  visitors.push(container);
  router.wanted.containers.push(container);
  await untilAnswered(netns, GATEWAY);
}

async function untilAnswered(netns: string, address: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await run("ip", "netns", "exec", netns, "ping", "-n", "-c1", "-W1", address);
      return;
    } catch (error) {
      if (attempt === 20) throw error;
    }
  }
}

/** A visitor goes: detached in order, or with its namespace deleted under the router's hands. */
async function leave({ dice, router, visitors }: Scene): Promise<void> {
  if (visitors.length === 0) return;
  const [container] = visitors.splice(dice.below(visitors.length), 1);
  router.wanted.containers.splice(router.wanted.containers.indexOf(container), 1);
  const isInOrder = dice.below(2) === 0;
  if (!isInOrder) await deleteNamespace(container.netns);
  await router.api.ask("DELETE", `/v1/ports/${container.name}`);
  if (isInOrder) await deleteNamespace(container.netns);
}

async function reload({ dice, router }: Scene): Promise<void> {
  router.wanted.closed = Array.from({ length: dice.below(8) }, () => dice.between(...UNUSED_PORTS));
  if (dice.below(2) === 0) await router.reread();
  else await router.apply();
}

async function iptables({ dice, router }: Scene): Promise<void> {
  const rule = ["FORWARD", "-p", "tcp", "--dport", String(dice.between(...UNUSED_PORTS)), "-j", "DROP"];
  await router.api.ask("POST", "/v1/iptables", { words: ["-A", ...rule] });
  await router.api.ask("POST", "/v1/iptables", { words: ["-L", "-n", "-v"] });
  await router.api.ask("POST", "/v1/iptables", { words: ["-D", ...rule] });
}

const STREAMS = [
  "/v1/flows/events",
  "/v1/capture?filter=tcp",
  "/v1/capture?at=egress,drop&in=wan",
  "/v1/trace?rate=1000",
  "/v1/events",
];
const MOST_STREAMS = 3;

async function listen({ dice, router }: Scene): Promise<void> {
  const some = Array.from({ length: dice.between(1, MOST_STREAMS) }, () => dice.pick(STREAMS));
  await Promise.all(some.map((path) => router.api.listen(path, dice.between(20, 400))));
}

async function look({ router }: Scene): Promise<void> {
  const tables = ["ports", "fdb", "neighbours", "routes", "rules", "nat", "drops", "stats", "flows", "configuration"];
  await Promise.all(tables.map((table) => router.api.ask("GET", `/v1/${table}`)));
  const { violations } = await router.api.ask<{ violations: string[] }>("GET", "/v1/invariants");
  if (violations.length > 0) throw new Error(violations.join("; "));
}

async function uplink({ dice, routerNetns }: Scene): Promise<void> {
  await ip("-n", routerNetns, "link", "set", "up0", "down");
  await sleep(dice.between(10, 300));
  await ip("-n", routerNetns, "link", "set", "up0", "up");
}

/** The kernel forgets the routes of a device that goes down. */
async function device({ dice, residents }: Scene): Promise<void> {
  const { netns } = dice.pick(residents).container;
  await ip("-n", netns, "link", "set", "eth0", "down");
  await sleep(dice.between(10, 300));
  await ip("-n", netns, "link", "set", "eth0", "up");
  await ip("-n", netns, "route", "replace", "default", "via", GATEWAY);
}

async function ping(scene: Scene): Promise<void> {
  const { netns } = scene.dice.pick(scene.residents).container;
  const asked = run("ip", "netns", "exec", netns, "ping", "-n", "-c3", "-i0.01", "-W1", SERVER);
  await asked.catch(() => {
    scene.lost++;
  });
}

async function impair({ dice, router, residents }: Scene): Promise<void> {
  const { name } = dice.pick(residents).container;
  await router.api.ask("PUT", `/v1/impairments/${name}`, { direction: "both", loss: "5%", delay: "2ms" });
  await sleep(dice.between(10, 200));
  await router.api.ask("DELETE", `/v1/impairments/${name}`);
}

async function snapshot({ router }: Scene): Promise<void> {
  await router.api.ask("POST", "/v1/snapshot", {});
}

/** The dataplane is killed, and the next one has to be at work before anything else happens. */
async function kill({ router }: Scene): Promise<void> {
  const former = router.dataplanePid;
  if (former === undefined) throw new Error("there is no dataplane");
  process.kill(former, "SIGKILL");
  for (let attempt = 0; attempt < RESTART_TRIES; attempt++) {
    await sleep(RESTART_PAUSE_MS);
    const present = router.dataplanePid;
    const answer = await router.api.ask("GET", "/v1/invariants").catch(() => undefined);
    if (present !== undefined && present !== former && answer !== undefined) return;
  }
  throw new Error(`no other dataplane:\n${router.log}`);
}

async function endFlows({ dice, router }: Scene): Promise<void> {
  await router.api.ask("DELETE", `/v1/flows?proto=${dice.pick(["udp", "icmp"])}&quiet=1`);
}

export const KILL = "kill -9";

export const DISTURBANCES: Record<string, Disturbance> = {
  attach,
  leave,
  reload,
  iptables,
  listen,
  look,
  uplink,
  device,
  ping,
  impair,
  snapshot,
  "end flows": endFlows,
  [KILL]: kill,
};

/** Does each thing once: what is kept for the next time is there then. */
export async function warmUp(scene: Scene): Promise<void> {
  for (const disturbance of Object.values(DISTURBANCES)) await disturbance(scene);
}

/**
 * Each stream, and as many captures at a time as there may be: both processes keep what they have once mapped for them. A
 * capture that should have ended, and has not, is in the way of the last one.
 */
async function openAll({ router }: Scene): Promise<void> {
  for (const path of STREAMS) await router.api.listen(path, OPEN_MS);
  for (let attempt = 1; ; attempt++) {
    const captures = Array.from({ length: MOST_CAPTURES }, () => router.api.listen("/v1/capture", OPEN_MS));
    const outcomes = await Promise.allSettled(captures);
    const refused = outcomes.find(({ status }) => status === "rejected");
    if (refused === undefined) return;
    if (attempt === OPEN_TRIES)
      throw new Error(`${MOST_CAPTURES} captures cannot run at once: ${JSON.stringify(refused)}`);
    await sleep(OPEN_MS);
  }
}

/** Undoes what is left of all that: the world is as it was at the begin. */
export async function calm(scene: Scene): Promise<void> {
  while (scene.visitors.length > 0) await leave(scene);
  scene.router.wanted.closed = [];
  await scene.router.apply();
  await scene.router.untilComplete();
  await openAll(scene);
}
