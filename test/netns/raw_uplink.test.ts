/** A raw uplink beside the host's own traffic: "host" is a namespace with an address on a veth to the outside. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import {
  exec,
  execAsync,
  ip,
  must,
  namespace,
  ping,
  requireSystem,
  spawnIn,
  startRouter,
  veth,
} from "../support/netns.ts";

const PEER = join(packageRoot(), "test/netns/peers/peer.mjs");
const HOST = "203.0.113.1";
const OUTSIDE = "203.0.113.2";

const canRun = requireSystem(["ping", "nft", "tcpdump", "python3", "raw-socket"], "raw uplinks");

const configuration = (c1: string) => `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: ${c1}, address: 10.55.66.2, defaultRoute: true } } } }
uplinks: { wan: { kind: raw, device: up0, address: ${HOST}/24 } }
nat:
  masquerade: [ { from: 10.55.66.0/24, out: wan } ]
  publish: [ { proto: tcp, on: wan, port: 8081, to: 10.55.66.2:8080 } ]
`;

async function world() {
  const [c1, host, outside] = [namespace("c"), namespace("h"), namespace("o")];
  veth(
    { netns: host, ifname: "up0", address: `${HOST}/24` },
    { netns: outside, ifname: "eth0", address: `${OUTSIDE}/24` },
  );
  ip(host, `route add default via ${OUTSIDE}`);
  ip(outside, "address add 192.0.2.9/32 dev lo");
  return { c1, host, outside, router: await startRouter(configuration(c1), { netns: host }) };
}

async function serve(netns: string, address: string): Promise<void> {
  await spawnIn(netns, process.execPath, [PEER, "serve", address, "8080"]).until(/listening/);
}

async function moves(netns: string, direction: string, address: string, port: number, bytes: number): Promise<boolean> {
  const words = [PEER, direction, address, `${port}`, `${bytes}`];
  const { stdout, stderr } = await execAsync(netns, process.execPath, words);
  if (stdout === "") throw new Error(stderr);
  const { hash, expected } = JSON.parse(stdout) as { hash: string; expected: string };
  return hash === expected;
}

const tables = (netns: string) => must(netns, "nft", ["list", "tables"]);

describe.skipIf(!canRun)("a raw uplink", () => {
  it("carries the containers' traffic under the host's address, beside the host's own; the kernel resets nothing", async () => {
    const { c1, host, outside, router } = await world();
    const capture = spawnIn(outside, "tcpdump", [
      "-n",
      "-l",
      "-i",
      "eth0",
      "tcp[tcpflags] & tcp-rst != 0 or icmp[0] == 3",
    ]);
    await capture.until(/listening on/);
    await serve(outside, OUTSIDE);
    await serve(c1, "10.55.66.2");
    expect(ping(c1, "192.0.2.9")).toBe(true);
    expect(ping(c1, OUTSIDE, "-s", "4000")).toBe(true);
    const all = [
      moves(c1, "up", OUTSIDE, 8080, 4 << 20),
      moves(c1, "down", OUTSIDE, 8080, 4 << 20),
      moves(host, "up", OUTSIDE, 8080, 4 << 20),
      moves(host, "down", OUTSIDE, 8080, 4 << 20),
      moves(outside, "down", HOST, 8081, 1 << 20),
    ];
    expect(await Promise.all(all)).toEqual([true, true, true, true, true]);
    const datagrams = must(c1, "python3", ["-c", UDP_CLIENT, OUTSIDE]);
    expect(datagrams.trim()).toBe("4");
    // The first datagram is what proves that the capture saw the others: an answer that the kernel is to give.
    expect(exec(outside, "python3", ["-c", UDP_PROBE, HOST, "9"]).stdout).toContain("refused");
    await capture.until(/udp port 9 unreachable/);
    const seen = capture
      .stdout()
      .split("\n")
      .filter((line) => line !== "" && !line.includes("udp port 9 unreachable"));
    expect(seen.filter((line) => line.includes(`IP ${HOST}`))).toEqual([]);
    const ports = [
      ...router.mustTapir("conntrack", "-L", "-p", "tcp").matchAll(/dst=203\.0\.113\.1 sport=8080 dport=(\d+)/g),
    ];
    expect(ports.length).toBeGreaterThan(0);
    for (const [, port] of ports) expect([Number(port) >= 40_000, Number(port) <= 49_999]).toEqual([true, true]);
  });

  it("leaves no table behind, and finds the one of a router that was killed", async () => {
    const { c1, host, router } = await world();
    expect(tables(host)).toContain("table ip tapir_203_0_113_1");
    await router.stop("SIGKILL");
    expect(tables(host)).toContain("table ip tapir_203_0_113_1");
    const next = await startRouter(configuration(c1), { netns: host });
    expect(ping(c1, OUTSIDE)).toBe(true);
    await next.stop();
    expect(tables(host)).toBe("");
  });

  it("follows its device, and refuses an address that the host has not", async () => {
    const { c1, host, outside, router } = await world();
    ip(outside, "link set eth0 down");
    await router.until(/uplink wan: up0 has no carrier/);
    ip(outside, "link set eth0 up");
    await router.until(/uplink wan: up0 is up/);
    expect(ping(c1, OUTSIDE)).toBe(true);
    await router.stop();
    ip(host, `address del ${HOST}/24 dev up0`);
    const again = startRouter(configuration(c1), { netns: host });
    await expect(again).rejects.toThrow(`up0 does not carry ${HOST}, which a raw uplink shares with the host`);
    expect(tables(host)).toBe("");
  });
});

/** Sends datagrams to four closed ports, and counts how many the far kernel refuses. */
const UDP_CLIENT = `
import socket, sys
refused = 0
for port in (11, 12, 13, 14):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((sys.argv[1], port))
    s.send(b"x")
    try: s.recv(1)
    except ConnectionRefusedError: refused += 1
print(refused)
`;

const UDP_PROBE = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b"x")
try: s.recv(1)
except ConnectionRefusedError: print("refused")
`;
