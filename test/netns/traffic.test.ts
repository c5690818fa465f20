/**
 * Real traffic through the router, and the same scripts through the kernel's bridge and iptables: both must give the
 * same answers.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import { exec, execAsync, must, ping, requireSystem, spawnIn, temporaryFolder } from "../support/netns.ts";
import { Address, kernelWorld, tapirWorld, type World } from "./worlds.ts";

const PEER = join(packageRoot(), "test/netns/peers/peer.mjs");
const GIGABYTE = 1_000_000_000;

const canRun = requireSystem(["ping", "iptables"], "traffic through the router and through the kernel");
const canCapture = requireSystem(["ping", "tcpdump", "ethtool"], "captures on the uplink");

const WORLDS: [string, () => Promise<World>][] = [
  ["Tapir", () => tapirWorld()],
  ["the kernel", kernelWorld],
];

async function listen(netns: string, ...words: string[]): Promise<void> {
  await spawnIn(netns, process.execPath, [PEER, ...words]).until(/listening/);
}

async function peer<T>(netns: string, ...words: (string | number)[]): Promise<T> {
  const { stdout, stderr, status } = await execAsync(netns, process.execPath, [PEER, ...words.map(String)], {
    timeoutMs: 120_000,
  });
  if (status !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

describe.skipIf(!canRun).each(WORLDS)("through %s", (_, makeWorld) => {
  it("c1, c2, the gateway and the outside host reach whom they should", async () => {
    const world = await makeWorld();
    const reached = [
      ping(world.c1, Address.C2),
      ping(world.c2, Address.C1),
      ping(world.c1, Address.GATEWAY),
      ping(world.c1, Address.UPLINK),
      ping(world.c1, Address.SERVER),
      ping(world.c2, Address.SERVER),
      ping(world.wan, Address.UPLINK),
      ping(world.wan, Address.C1),
    ];
    expect(reached).toEqual([true, true, true, true, true, true, true, false]);
  });

  it("large pings go in fragments", async () => {
    const world = await makeWorld();
    expect(ping(world.c1, Address.SERVER, "-s", "4000")).toBe(true);
    expect(ping(world.c1, Address.GATEWAY, "-s", "9000")).toBe(true);
    expect(ping(world.c1, Address.SERVER, "-s", "1473", "-M", "do")).toBe(false);
  });

  it("the path is seen hop by hop", async () => {
    const world = await makeWorld();
    const { stdout } = exec(world.c1, "ping", ["-n", "-c1", "-W1", "-t1", Address.SERVER]);
    expect(stdout).toMatch(/From 10\.55\.66\.1 .*Time to live exceeded/);
  });

  it("an address that nobody has is unreachable", async () => {
    const world = await makeWorld();
    const { stdout } = exec(world.wan, "sh", [
      "-c",
      `ip route add 10.55.66.0/24 via ${Address.UPLINK}; ping -n -c1 -W4 10.55.66.77`,
    ]);
    expect(stdout).toMatch(/Destination Host Unreachable/);
  });

  it("a gigabyte of TCP goes up and down unharmed", async () => {
    const world = await makeWorld();
    await listen(world.wan, "serve", Address.SERVER, "8080");
    for (const direction of ["up", "down"]) {
      const { hash, expected } = await peer<{ hash: string; expected: string }>(
        world.c1,
        direction,
        Address.SERVER,
        8080,
        GIGABYTE,
      );
      expect(hash).toBe(expected);
    }
  }, 180_000);

  it("two hundred short connections at once are all answered", async () => {
    const world = await makeWorld();
    await listen(world.wan, "serve", Address.SERVER, "8080");
    const [first, second] = await Promise.all([
      peer(world.c1, "many", Address.SERVER, 8080, 100),
      peer(world.c2, "many", Address.SERVER, 8080, 100),
    ]);
    expect([first, second]).toEqual([
      { answered: 100, failed: 0 },
      { answered: 100, failed: 0 },
    ]);
  });

  it("UDP from the same port of two containers comes back to each", async () => {
    const world = await makeWorld();
    await listen(world.wan, "udp-serve", Address.SERVER, "5353");
    const ask = (netns: string, text: string) =>
      peer<{ answers: string[] }>(netns, "udp", Address.SERVER, 5353, 4000, text, 3);
    const first = await ask(world.c1, "one");
    const second = await ask(world.c2, "two");
    expect(first.answers.map((answer) => answer.split(" ")[2])).toEqual(["one-0", "one-1", "one-2"]);
    expect(second.answers.map((answer) => answer.split(" ")[2])).toEqual(["two-0", "two-1", "two-2"]);
    // Both come from the uplink's address; the first keeps its port, the second gets another.
    const sources = [first, second].map(({ answers }) => new Set(answers.map((answer) => answer.split(" ")[1])));
    expect([...sources[0]]).toEqual([`${Address.UPLINK}:4000`]);
    expect(sources[1].size).toBe(1);
    expect([...sources[1]][0]).toMatch(/^203\.0\.113\.1:(?!4000$)\d+$/);
  });

  it("a closed UDP port and a closed TCP port are reported", async () => {
    const world = await makeWorld();
    const udp = exec(world.c1, process.execPath, ["-e", closedUdp(Address.SERVER)]);
    expect(udp.stdout.trim()).toBe("ECONNREFUSED");
    const tcp = exec(world.c1, process.execPath, ["-e", closedTcp(Address.SERVER)]);
    expect(tcp.stdout.trim()).toBe("ECONNREFUSED");
    const gateway = exec(world.c1, process.execPath, ["-e", closedTcp(Address.GATEWAY)]);
    expect(gateway.stdout.trim()).toBe("ECONNREFUSED");
  });

  it("policy DROP lets nothing through, and the gateway still answers", async () => {
    const world = await makeWorld();
    expect(ping(world.c1, Address.SERVER)).toBe(true);
    await world.closeForward();
    expect(ping(world.c1, Address.SERVER)).toBe(false);
    expect(ping(world.c1, Address.GATEWAY)).toBe(true);
    expect(ping(world.c1, Address.C2)).toBe(true);
  });
});

/** Node cannot connect UDP sockets and report ICMP errors portably before 20; `connect` then `send` shows ECONNREFUSED. */
function closedUdp(address: string): string {
  return `const s=require('dgram').createSocket('udp4');s.on('error',e=>{console.log(e.code);process.exit()});
    s.connect(9,'${address}',()=>{s.send('x');const t=setInterval(()=>s.send('x'),50);setTimeout(()=>{console.log('silence');process.exit()},3000)})`;
}

function closedTcp(address: string): string {
  return `require('net').connect(9,'${address}').on('error',e=>console.log(e.code)).on('connect',()=>console.log('open'))`;
}

describe.skipIf(!canCapture)("what a capture on the uplink shows", () => {
  it("never an inside address while MASQUERADE is on, and only right checksums with offloads off", async () => {
    const world = await tapirWorld();
    // Without offloads every checksum on the wire is complete, so that it can be verified.
    for (const netns of [world.c1, world.c2, world.wan]) {
      must(netns, "ethtool", ["-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off"]);
    }
    // What the router merges is cut again before it is on the wire.
    must(world.router, "ethtool", ["-K", "up0", "tx", "off", "tso", "off", "gso", "off"]);
    const file = join(temporaryFolder(), "uplink.pcap");
    const words = ["-i", "eth0", "-n", "-U", "-w", file, "-s", "0", "--immediate-mode", "-B", "65536"];
    const capture = spawnIn(world.wan, "tcpdump", words);
    await capture.until(/listening on/);
    await listen(world.wan, "serve", Address.SERVER, "8080");
    await listen(world.wan, "udp-serve", Address.SERVER, "5353");
    const [{ hash, expected }] = await Promise.all([
      peer<{ hash: string; expected: string }>(world.c1, "up", Address.SERVER, 8080, 4_000_000),
      peer(world.c2, "many", Address.SERVER, 8080, 50),
      peer(world.c2, "udp", Address.SERVER, 5353, 4000, "word", 20),
    ]);
    expect(hash).toBe(expected);
    expect(ping(world.c1, Address.SERVER, "-s", "3000")).toBe(true);
    await capture.stop("SIGINT");

    const read = (filter: string, ...more: string[]): string[] =>
      must(undefined, "tcpdump", ["-r", file, "-n", ...more, ...filter.split(" ").filter((word) => word !== "")])
        .split("\n")
        .filter((line) => line !== "");
    expect(read("tcp").length).toBeGreaterThan(2_000);
    expect(read("udp").length).toBeGreaterThanOrEqual(40);
    expect(read("net 10.55.66.0/24")).toEqual([]);
    // What the router sent: tcpdump -vv verifies each checksum that it can see whole.
    const wrong = read("src host 203.0.113.1", "-vv").filter((line) => /incorrect|bad (cksum|udp)|wrong/.test(line));
    expect(wrong).toEqual([]);
  }, 120_000);

  it("the inside address, one hop on, while it is off", async () => {
    const world = await tapirWorld({ masquerade: false });
    const capture = spawnIn(world.wan, "tcpdump", ["-i", "eth0", "-n", "-v", "-l", "icmp"]);
    await capture.until(/listening on/);
    expect(ping(world.c1, Address.SERVER)).toBe(false);
    await capture.until(/ttl 63[\s\S]*10\.55\.66\.2 > 203\.0\.113\.2: ICMP echo request/);
  });
});
