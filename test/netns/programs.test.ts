/** Real programs through the router's NAT, over a good cable and over a bad one. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import {
  exec,
  execAsync,
  ip,
  must,
  namespace,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  veth,
} from "../support/netns.ts";
import { Address } from "./worlds.ts";

const PEERS = join(packageRoot(), "test/netns/peers");
const SECOND = "203.0.113.9";
const FILE_BYTES = 5_000_000;

const canRun = requireSystem(["ping", "nstat", "iperf3", "traceroute", "python3"], "real programs through NAT");

interface World {
  c1: string;
  c2: string;
  wan: string;
  tapir: RunningRouter;
}

function configuration(c1: string, c2: string, nat: string): string {
  return `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    ports:
      c1: { netns: ${c1}, ifname: eth0, address: ${Address.C1}, defaultRoute: true }
      c2: { netns: ${c2}, ifname: eth0, address: ${Address.C2}, defaultRoute: true }
uplinks:
  wan: { kind: packet, device: up0, address: ${Address.UPLINK}/24, gateway: ${Address.SERVER} }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ]${nat} }
`;
}

/** With a `seed`, a cable that loses, doubles and delays frames is between the router and the world outside. */
async function world(nat = "", seed?: number): Promise<World> {
  const [c1, c2, wan, router] = ["a", "b", "w", "r"].map((hint) => namespace(hint));
  const outside = { netns: wan, ifname: "eth0", address: `${Address.SERVER}/24` };
  if (seed === undefined) {
    veth(outside, { netns: router, ifname: "up0" });
  } else {
    const cable = namespace("i");
    veth(outside, { netns: cable, ifname: "left" });
    veth({ netns: router, ifname: "up0" }, { netns: cable, ifname: "right" });
    const words = [join(PEERS, "impair.mjs"), "left", "right", String(seed)];
    await spawnIn(cable, process.execPath, words).until(/ready/);
  }
  ip(wan, `address add ${SECOND}/24 dev eth0`);
  const tapir = await startRouter(configuration(c1, c2, nat), { netns: router });
  return { c1, c2, wan, tapir };
}

async function serve(netns: string, ...words: (string | number)[]): Promise<void> {
  await spawnIn(netns, process.execPath, [join(PEERS, "programs.mjs"), ...words.map(String)]).until(/listening/);
}

async function peer<T>(netns: string, ...words: (string | number)[]): Promise<T> {
  const args = [join(PEERS, "programs.mjs"), ...words.map(String)];
  const { stdout, stderr, status } = await execAsync(netns, process.execPath, args, { timeoutMs: 60_000 });
  if (status !== 0 || stdout === "") throw new Error(`${words.join(" ")}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

function expectSoundBooks({ tapir }: World): void {
  const { violations } = JSON.parse(tapir.mustTapir("show", "invariants", "-j")) as { violations: string[] };
  expect(violations).toEqual([]);
}

interface Iperf {
  end: { sum_sent: { bytes: number }; streams: { receiver: { bytes: number } }[] };
}

describe.skipIf(!canRun)("real programs through NAT", () => {
  it("iperf3 with sixteen streams, up and down", async () => {
    const w = await world();
    for (const direction of [[], ["-R"]]) {
      const server = spawnIn(w.wan, "iperf3", ["-s", "-1", "--forceflush"]);
      await server.until(/listening/);
      const words = ["-c", Address.SERVER, "-P", "16", "-n", "64M", "-J", ...direction];
      const { stdout, status } = await execAsync(w.c1, "iperf3", words, { timeoutMs: 60_000 });
      expect(status).toBe(0);
      const { end } = JSON.parse(stdout) as Iperf;
      // It stops once all has been sent; what is under way then is not received any more.
      expect(end.sum_sent.bytes).toBeGreaterThanOrEqual(60_000_000);
      expect(end.streams.map(({ receiver }) => receiver.bytes > 0)).toEqual(Array(16).fill(true));
      await server.ended;
    }
    expectSoundBooks(w);
  });

  it.each([1, 2])("downloads over HTTP arrive whole over a bad cable (seed %i)", async (seed) => {
    const w = await world("", seed);
    await serve(w.wan, "http-server", 8080, FILE_BYTES);
    const downloads = [1, 2, 3].map(() =>
      peer<{ same: boolean; client: string }>(w.c1, "http-client", Address.SERVER, 8080, FILE_BYTES),
    );
    const found = { same: true, client: Address.UPLINK };
    expect(await Promise.all(downloads)).toEqual([found, found, found]);
    // The cable was bad indeed.
    const [, resent] = /TcpRetransSegs +(\d+)/.exec(must(w.wan, "nstat", ["-az", "TcpRetransSegs"])) ?? [];
    expect(Number(resent)).toBeGreaterThan(0);
    expectSoundBooks(w);
  });

  it("FTP in passive mode", async () => {
    const w = await world();
    await serve(w.wan, "ftp-server", Address.SERVER, FILE_BYTES);
    const script = `
import ftplib
got = []
ftp = ftplib.FTP()
ftp.connect("${Address.SERVER}", 2121, 20)
ftp.login("a", "b")
ftp.retrbinary("RETR file", got.append)
ftp.quit()
print(sum(len(part) for part in got))`;
    const { stdout, stderr } = await execAsync(w.c1, "python3", ["-c", script], { timeoutMs: 60_000 });
    expect(stderr).toBe("");
    expect(Number(stdout)).toBe(FILE_BYTES);
  });

  it.each([
    ["UDP", []],
    ["ICMP", ["-I"]],
  ])("traceroute over %s sees the gateway, then the host", async (_, words) => {
    const w = await world();
    const stdout = must(w.c1, "traceroute", ["-n", "-q", "1", "-w", "2", ...words, Address.SERVER]);
    const hops = [...stdout.matchAll(/^ *(\d+) {2}(\S+)/gm)].map(([, hop, address]) => [hop, address]);
    expect(hops).toEqual([
      ["1", Address.GATEWAY],
      ["2", Address.SERVER],
    ]);
  });

  it("pings of 4000 bytes go and come in fragments", async () => {
    const w = await world();
    for (const address of [Address.SERVER, Address.GATEWAY]) {
      const { stdout } = exec(w.c1, "ping", ["-n", "-c", "3", "-i", "0.2", "-W", "2", "-s", "4000", address]);
      expect(stdout).toMatch(/3 packets transmitted, 3 received/);
    }
  });

  it.each([
    ["linux", { mapping: "endpoint-dependent", filtering: "address-and-port-dependent" }],
    ["bcp", { mapping: "endpoint-independent", filtering: "endpoint-independent" }],
  ])("a STUN client's verdict on the profile %s", async (profile, verdict) => {
    const w = await world(`, profile: ${profile}`);
    await serve(w.wan, "stun-server", Address.SERVER, SECOND);
    // Another host has the same source port towards one of the ends: only there it must give way.
    await peer(w.c2, "stun-occupy", Address.C2, 5000, SECOND);
    expect(await peer(w.c1, "stun-client", Address.C1, 5000, Address.SERVER, SECOND)).toEqual(verdict);
    expectSoundBooks(w);
  });

  it("a published HTTP server is reached from outside, from its neighbour and from itself, and moves", async () => {
    const to = (address: string): string => `, publish: [ { proto: tcp, on: wan, port: 8080, to: "${address}:80" } ]`;
    const w = await world(to(Address.C2));
    await serve(w.c2, "http-server", 80, 1000);
    const ask = (netns: string) =>
      peer<{ same?: boolean; client?: string; error?: string }>(netns, "http-client", Address.UPLINK, 8080, 1000);
    expect(await ask(w.wan)).toEqual({ same: true, client: Address.SERVER });
    expect(await ask(w.c1)).toEqual({ same: true, client: Address.UPLINK });
    expect(await ask(w.c2)).toEqual({ same: true, client: Address.UPLINK });

    w.tapir.writeConfig(configuration(w.c1, w.c2, to(Address.C1)));
    w.tapir.child.kill("SIGHUP");
    await w.tapir.until(/has been read again/);
    expect(await ask(w.wan)).toEqual({ error: "ECONNREFUSED" });
    await serve(w.c1, "http-server", 80, 1000);
    expect(await ask(w.wan)).toEqual({ same: true, client: Address.SERVER });
    expectSoundBooks(w);
  });
});
