/** One container floods by its TAP; another one's paced traffic is counted, not timed. */
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import { exec, ip, namespace, ping, type RunningRouter, spawnIn, startRouter, veth } from "../support/netns.ts";

const FLOOD = join(packageRoot(), "test/netns/peers/flood.mjs");
const SERVER = "203.0.113.2";
const GATEWAY = "10.55.66.1";
/** More than is sent in the time of a test: it ends when it is told to. */
const MOST_FRAMES = 5_000_000;
const PINGS = 100;

let router: RunningRouter;
let c1: string;
let c2: string;

const configuration = (rateLimit: string) => `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    ports:
      c1: { netns: ${c1}, address: 10.55.66.2, defaultRoute: true${rateLimit} }
      c2: { netns: ${c2}, address: 10.55.66.3, defaultRoute: true }
uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: ${SERVER} }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
limits: { flows: 4096, macs: 512 }
`;

beforeAll(async () => {
  const outside = namespace("w");
  const inside = namespace("r");
  veth({ netns: outside, ifname: "eth0", address: `${SERVER}/24` }, { netns: inside, ifname: "up0" });
  c1 = namespace("a");
  c2 = namespace("b");
  router = await startRouter(configuration(""), { netns: inside });
  expect(ping(c1, GATEWAY)).toBe(true);
  expect(ping(c2, SERVER)).toBe(true);
});

/** Lets c1 flood as long as `body` takes; returns how many frames of it the router has read meanwhile. */
async function whileFlooding(body: () => void): Promise<number> {
  const [, gatewayMac] = ip(c1, `neigh show ${GATEWAY}`).match(/lladdr (\S+)/) ?? [];
  const flood = spawnIn(c1, process.execPath, [FLOOD, gatewayMac, "10.55.66.2", SERVER, String(MOST_FRAMES)]);
  await flood.until(/flooding/);
  const before = port("c1").rxFrames;
  body();
  const after = port("c1").rxFrames;
  expect(flood.child.exitCode).toBeNull();
  await flood.stop();
  return after - before;
}

interface Port {
  name: string;
  rxFrames: number;
  rxLimited: number;
}

function port(name: string): Port {
  return (show("ports") as Port[]).find((each) => each.name === name) as Port;
}

function show(table: string): unknown {
  return JSON.parse(router.mustTapir("show", table, "-j"));
}

/** Answers to pings that c2 sends, a hundred a second. */
function answered(): number {
  const { stdout } = exec(c2, "ping", ["-n", "-q", "-c", String(PINGS), "-i", "0.01", "-W", "2", SERVER]);
  return Number(stdout.match(/(\d+) received/)?.[1]);
}

describe("a container that floods by its TAP", () => {
  it("with new flows and made-up hardware addresses leaves the other one its share", async () => {
    let received = 0;
    let opened = 0;
    const flooded = await whileFlooding(() => {
      received = answered();
      for (let i = 0; i < 5; i++) if (ping(c2, SERVER, "-W2")) opened++;
    });
    expect(flooded).toBeGreaterThan(PINGS);
    expect(received).toBeGreaterThanOrEqual(0.9 * PINGS);
    expect(opened).toBe(5);
    const { flows, flowsReplaced, stations } = show("stats") as Record<string, number>;
    expect(flows).toBeLessThanOrEqual(4096);
    expect(stations).toBeLessThan(512);
    expect(flowsReplaced).toBeGreaterThan(0);
    expect((show("invariants") as { violations: string[] }).violations).toEqual([]);
  });

  it("is held to its rate limit, and told of in the list of ports", async () => {
    router.writeConfig(configuration(", rateLimit: { packetsPerSecond: 100 }"));
    router.mustTapir("apply", "-f", router.configFile);
    let received = 0;
    const flooded = await whileFlooding(() => {
      received = answered();
    });
    const { rxLimited } = port("c1");
    expect(received).toBeGreaterThanOrEqual(0.9 * PINGS);
    expect(rxLimited).toBeGreaterThan(0.5 * flooded);
    expect(router.mustTapir("show", "ports")).toMatch(/RX LIMITED/);
  });
});
