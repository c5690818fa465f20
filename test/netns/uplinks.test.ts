/** Uplinks on real devices: TAPs that the router makes, several at once, links that go down and devices that go away. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import {
  execAsync,
  ip,
  must,
  namespace,
  ping,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  veth,
} from "../support/netns.ts";

const PEER = join(packageRoot(), "test/netns/peers/peer.mjs");

const canRun = requireSystem(["ping", "python3"], "uplinks");
const FAR = "192.0.2.9";

interface PortRow {
  name: string;
  state: string;
  mtu: number;
}

const portsOf = (router: RunningRouter): PortRow[] => JSON.parse(router.mustTapir("show", "ports", "-j")) as PortRow[];
const stateOf = (router: RunningRouter, name: string) => portsOf(router).find((row) => row.name === name)?.state;

async function eventually(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

/** A server in a namespace that takes and sends bytes. */
async function serve(netns: string, address: string): Promise<void> {
  await spawnIn(netns, process.execPath, [PEER, "serve", address, "8080"]).until(/listening/);
}

/** Moves bytes over TCP; whether they came as they were. */
async function moves(netns: string, direction: "up" | "down", address: string, bytes: number): Promise<boolean> {
  const { stdout, stderr } = await execAsync(netns, process.execPath, [PEER, direction, address, "8080", `${bytes}`]);
  if (stdout === "") throw new Error(stderr);
  const { hash, expected } = JSON.parse(stdout) as { hash: string; expected: string };
  return hash === expected;
}

/** Sends "first", waits for a line on its input, sends "second", and prints what the server says the hash of all is. */
const PAUSING_CLIENT = `
import socket, sys
s = socket.create_connection((sys.argv[1], 8080))
s.sendall(b"up\\nfirst")
print("paused", flush=True)
sys.stdin.readline()
s.sendall(b"second")
s.shutdown(socket.SHUT_WR)
print(s.makefile().read(), flush=True)
`;

const network = (c1: string) =>
  `version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: ${c1}, address: 10.55.66.2, defaultRoute: true } } } }\n`;

/** A router with two uplinks on veths, behind both of which the same far address is. */
async function twoUplinks() {
  const [c1, home, left, right] = [namespace("c"), namespace("r"), namespace("w"), namespace("v")];
  veth({ netns: home, ifname: "up0" }, { netns: left, ifname: "eth0", address: "203.0.113.2/24" });
  veth({ netns: home, ifname: "up1" }, { netns: right, ifname: "eth0", address: "198.51.100.2/24" });
  for (const outside of [left, right]) ip(outside, `address add ${FAR}/32 dev lo`);
  const text = `${network(c1)}uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 }
  wan2: { kind: packet, device: up1, address: 198.51.100.1/24, gateway: 198.51.100.2, metric: 10 }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan }, { from: 10.55.66.0/24, out: wan2 } ] }
`;
  return { c1, home, left, right, router: await startRouter(text, { netns: home }) };
}

describe.skipIf(!canRun)("two uplinks", () => {
  it("stand in for each other when a carrier is lost, a device is set down, or taken away and made again", async () => {
    const { c1, home, left, router } = await twoUplinks();
    const leaves = (name: string) => {
      const before = sentOf(router);
      if (!ping(c1, FAR)) return false;
      return sentOf(router)[name] > before[name];
    };
    expect(leaves("wan")).toBe(true);
    ip(left, "link set eth0 down");
    await router.until(/uplink wan: up0 has no carrier/);
    expect(stateOf(router, "wan")).toBe("down (up0 has no carrier)");
    expect(leaves("wan2")).toBe(true);
    ip(left, "link set eth0 up");
    await router.until(/uplink wan: up0 is up/);
    expect(leaves("wan")).toBe(true);
    ip(home, "link set up0 down");
    await router.until(/uplink wan: up0 is down/);
    expect(leaves("wan2")).toBe(true);
    ip(home, "link delete up0");
    await router.until(/port wan has failed \(its device is gone\)/);
    expect(leaves("wan2")).toBe(true);
    veth({ netns: home, ifname: "up0" }, { netns: left, ifname: "eth0", address: "203.0.113.2/24" });
    await router.until(/port wan works again/);
    await eventually(() => stateOf(router, "wan") === "up");
    expect(leaves("wan")).toBe(true);
  });

  it("follow their devices' MTU", async () => {
    const { c1, home, left, router } = await twoUplinks();
    for (const [netns, ifname] of [
      [home, "up0"],
      [left, "eth0"],
    ])
      ip(netns, `link set ${ifname} mtu 1300`);
    await eventually(() => portsOf(router).find(({ name }) => name === "wan")?.mtu === 1300);
    // What does not fit and must not be cut is told so.
    const said = await execAsync(c1, "ping", ["-n", "-c1", "-W2", "-M", "do", "-s", "1400", FAR]);
    expect(said.stdout + said.stderr).toContain("mtu = 1300");
    expect(ping(c1, FAR, "-M", "do", "-s", "1200")).toBe(true);
  });

  it("with none left, packets are told that there is no way; the flow goes on when the link is back", async () => {
    const { c1, home, left, router } = await twoUplinks();
    ip(home, "link set up1 down");
    await router.until(/uplink wan2: up1 is down/);
    await serve(left, FAR);
    const client = spawnIn(c1, "python3", ["-c", PAUSING_CLIENT, FAR]);
    await client.until(/paused/);
    ip(left, "link set eth0 down");
    await router.until(/uplink wan: up0 has no carrier/);
    expect(must(c1, "sh", ["-c", `ping -n -c1 -W2 ${FAR} || true`])).toContain("Net Unreachable");
    ip(left, "link set eth0 up");
    await router.until(/uplink wan: up0 is up/);
    client.child.stdin?.write("go on\n");
    const expected = createHash("sha256").update("firstsecond").digest("hex");
    await client.until(new RegExp(expected));
  });
});

/** Frames that each port has sent. */
function sentOf(router: RunningRouter): Record<string, number> {
  const rows = JSON.parse(router.mustTapir("show", "ports", "-j")) as { name: string; txFrames: number }[];
  return Object.fromEntries(rows.map(({ name, txFrames }) => [name, txFrames]));
}

describe.skipIf(!canRun)("an uplink that is a TAP", () => {
  const config = (c1: string, wan: string) => `${network(c1)}uplinks:
  wan: { kind: tap, netns: ${wan}, ifname: out0, address: 203.0.113.1/24, gateway: 203.0.113.2, peerAddress: 203.0.113.2 }
nat:
  masquerade: [ { from: 10.55.66.0/24, out: wan } ]
`;

  it("is made in its namespace with the peer's address, and carries TCP in large segments both ways", async () => {
    const [c1, wan] = [namespace("c"), namespace("w")];
    const router = await startRouter(config(c1, wan));
    expect(ip(wan, "-4 -br address show dev out0")).toContain("203.0.113.2/24");
    expect(ping(c1, "203.0.113.2")).toBe(true);
    await serve(wan, "203.0.113.2");
    expect(await moves(c1, "up", "203.0.113.2", 8 << 20)).toBe(true);
    expect(await moves(c1, "down", "203.0.113.2", 16 << 20)).toBe(true);
    const rows = JSON.parse(router.mustTapir("show", "ports", "-j")) as {
      name: string;
      rxFrames: number;
      rxBytes: number;
    }[];
    const { rxFrames, rxBytes } = rows.find(({ name }) => name === "wan") as (typeof rows)[number];
    expect(rxBytes).toBeGreaterThan(16 << 20);
    // Far fewer frames than segments of 1500 bytes: they come as the sender's kernel hands them over.
    expect(rxFrames).toBeLessThan((16 << 20) / 1460 / 2);
  });

  it("is followed in its namespace, and made again when it or the namespace was taken away", async () => {
    const [c1, wan] = [namespace("c"), namespace("w")];
    const router = await startRouter(config(c1, wan));
    ip(wan, "link set out0 down");
    await router.until(/uplink wan: out0 is down/);
    expect(must(c1, "sh", ["-c", "ping -n -c1 -W2 203.0.113.2 || true"])).toContain("Net Unreachable");
    ip(wan, "link set out0 up");
    await router.until(/uplink wan: out0 is up/);
    expect(ping(c1, "203.0.113.2")).toBe(true);
    ip(wan, "link delete out0");
    await router.until(/port wan works again/);
    expect(ping(c1, "203.0.113.2")).toBe(true);
    // What `ip netns del` does first; the file is there still when the kernel tells of the namespace's end.
    must(undefined, "umount", ["--lazy", `/run/netns/${wan}`]);
    await router.until(/port wan has failed \(its namespace is gone\)/);
    ip(undefined, `netns del ${wan}`);
    ip(undefined, `netns add ${wan}`);
    ip(wan, "link set lo up");
    // The log says the same thing once in ten seconds.
    await eventually(() => stateOf(router, "wan") === "up");
    expect(ping(c1, "203.0.113.2")).toBe(true);
  });

  it("may be in the router's own namespace, where an address that the host has is no way past the rules", async () => {
    const [c1, home] = [namespace("c"), namespace("r")];
    const text = `${network(c1)}uplinks:
  wan: { kind: tap, ifname: out0, address: 203.0.113.1/24, peerAddress: 203.0.113.2 }
filter: { input: { policy: drop } }
`;
    await startRouter(text, { netns: home });
    expect(ping(c1, "203.0.113.2")).toBe(false);
    ip(home, "route add 10.55.66.0/24 via 203.0.113.1");
    expect(ping(c1, "203.0.113.2")).toBe(true);
    expect(ping(home, "203.0.113.1")).toBe(false);
  });
});
