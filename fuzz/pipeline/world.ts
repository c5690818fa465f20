/** Worlds for frames: random configurations of a router in memory, with a second network beside the first. */
import type { RouterPlan } from "../../src/dataplane/plan.ts";
import { word } from "../../test/support/frames.ts";
import { randomPlan } from "../../test/support/random_world.ts";
import { TestRouter } from "../../test/support/router.ts";
import { Dice } from "../dice.ts";

/** Interface and port of the second network. */
export const SECOND = { interface: 2, port: 4, mac: "02:00:00:00:03:01", gateway: "10.77.0.1", host: "10.77.0.2" };

export const PORTS = 5;

export function planOfWorld(seed: number): RouterPlan {
  const dice = new Dice(seed);
  const plan = randomPlan(dice.below);
  plan.interfaces.push({
    index: SECOND.interface,
    name: "lan",
    kind: "network",
    address: word(SECOND.gateway),
    prefixLength: 24,
    mac: SECOND.mac,
    mtu: dice.pick([1500, 1500, 576, 68]),
    isolated: dice.once(5),
  });
  plan.ports.push({ index: SECOND.port, name: "d1", interface: SECOND.interface });
  if (dice.once(4)) plan.conntrack.liberal = dice.once(2);
  plan.merging = { segments: dice.once(2), datagrams: dice.once(2) };
  return plan;
}

/** A router with a plan of a world. Tables are small, so that they overflow. */
export function routerOfWorld(seed: number, plan: RouterPlan): TestRouter {
  const dice = new Dice(seed ^ 0x5bd1e995);
  const limits = { flows: dice.pick([4, 64, 256]), macs: dice.pick([3, 64]), neighbours: dice.pick([3, 16, 32]) };
  const r = new TestRouter(plan, { ...limits, routes: 64 }, seed, dice.pick([12, 48, 96]));
  if (!dice.once(4)) r.introduce();
  return r;
}
