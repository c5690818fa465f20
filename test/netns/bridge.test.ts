/** Containers of one network on real devices: the bridge chain, isolation, and frames that claim to be another's. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import {
  exec,
  execAsync,
  must,
  namespace,
  ping,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
} from "../support/netns.ts";

const PEER = join(packageRoot(), "test/netns/peers/peer.mjs");
const canRun = requireSystem(["ping", "python3"], "containers of one network");

const ADDRESS = { c1: "10.55.66.2", c2: "10.55.66.3", c3: "10.55.66.4" } as const;
const MAC = { c1: "02:00:00:00:00:02", c2: "02:00:00:00:00:03", c3: "02:00:00:00:00:04" } as const;
type Name = keyof typeof ADDRESS;
const NAMES = Object.keys(ADDRESS) as Name[];

interface Lan extends Record<Name, string> {
  router: RunningRouter;
  /** Frames that ended with a reason, as `tapir show drops` has it. */
  drops(reason: string): number;
}

/** Three containers; `network` and `ports` are keys of the network and of single ports. */
async function lan(network: string, rest = "", ports: Partial<Record<Name, string>> = {}): Promise<Lan> {
  const places = { c1: namespace("a"), c2: namespace("b"), c3: namespace("c") };
  const lines = NAMES.map((name) => {
    const own = `netns: ${places[name]}, address: ${ADDRESS[name]}, mac: "${MAC[name]}", defaultRoute: true`;
    return `      ${name}: { ${own}${ports[name] === undefined ? "" : `, ${ports[name]}`} }`;
  });
  const text = `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
${network}    ports:
${lines.join("\n")}
${rest}`;
  const router = await startRouter(text);
  const drops = (reason: string): number => {
    const rows = JSON.parse(router.mustTapir("show", "drops", "-j")) as { reason: string; count: number }[];
    return rows.find((row) => row.reason === reason)?.count ?? -1;
  };
  return { ...places, router, drops };
}

/** Whether a TCP connection to a container's port 8080 comes about and brings something. */
async function connects(netns: string, address: string): Promise<boolean> {
  const script = `import socket,sys
s = socket.create_connection((sys.argv[1], 8080), 2)
sys.exit(0 if s.recv(5) == b"hello" else 1)`;
  return (await execAsync(netns, "python3", ["-c", script, address])).status === 0;
}

/** A server that says hello on port 8080. */
async function serve(netns: string): Promise<void> {
  const script = `import socket
s = socket.create_server(("0.0.0.0", 8080))
print("listening", flush=True)
while True:
    c, _ = s.accept()
    c.sendall(b"hello")
    c.close()`;
  await spawnIn(netns, "python3", ["-c", script]).until(/listening/);
}

/** Sends a frame, whatever it says, out of a container's device. */
function inject(netns: string, frame: string): void {
  const script = `import socket,sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.send(bytes.fromhex(sys.argv[1]))`;
  must(netns, "python3", ["-c", script, frame]);
}

const hex = (text: string): string =>
  text.includes(":")
    ? text.replaceAll(":", "")
    : text
        .split(".")
        .map((part) => Number(part).toString(16).padStart(2, "0"))
        .join("");

/** Gratuitous ARP: `address` is at `mac`; in a frame from `from`. Receivers believe it at once. */
const announcement = (from: string, mac: string, address: string): string =>
  `ffffffffffff${hex(from)}08060001080006040001${hex(mac)}${hex(address)}ffffffffffff${hex(address)}`;

/** What a container believes about an address. */
const neighbour = (netns: string, address: string): string => exec(netns, "ip", ["neigh", "show", address]).stdout;

describe.skipIf(!canRun)("the bridge chain on real devices", () => {
  it("lets c1 begin and c2 answer, and shows the flows", async () => {
    const rules = `filter:
  bridge:
    policy: drop
    rules:
      - { state: [established, related], action: accept }
      - { in: c1, out: c2, action: accept }
`;
    const { c1, c2, c3, router, drops } = await lan("", rules);
    await Promise.all([serve(c1), serve(c2)]);
    expect(ping(c1, ADDRESS.c2)).toBe(true);
    expect(ping(c2, ADDRESS.c1)).toBe(false);
    expect(ping(c1, ADDRESS.c3)).toBe(false);
    expect(drops("bridge-drop")).toBe(2);
    // In fragments, too.
    expect(ping(c1, ADDRESS.c2, "-s", "4000")).toBe(true);
    expect(await connects(c1, ADDRESS.c2)).toBe(true);
    expect(router.mustTapir("conntrack", "-L")).toMatch(
      /tcp .* src=10\.55\.66\.2 dst=10\.55\.66\.3 .* dport=8080 .*\[ASSURED\]/,
    );
    expect(await connects(c2, ADDRESS.c1)).toBe(false);
    // The gateway is nobody's station: it meets INPUT.
    expect(ping(c3, "10.55.66.1")).toBe(true);
    expect(router.mustTapir("show", "rules")).toMatch(/bridge/);
    expect(JSON.parse(router.mustTapir("show", "invariants", "-j")).violations).toEqual([]);
  });

  it("rejects so that programs notice at once", async () => {
    const rules = `filter:
  bridge:
    rules:
      - { proto: tcp, dport: 8080, action: reject, with: tcp-reset }
      - { proto: icmp, icmpType: echo-request, action: reject, with: icmp-admin-prohibited }
`;
    const { c1, c2 } = await lan("", rules);
    await serve(c2);
    const script = `import socket,sys
try:
    socket.create_connection((sys.argv[1], 8080), 10)
except ConnectionRefusedError:
    print("refused")`;
    expect(must(c1, "python3", ["-c", script, ADDRESS.c2])).toBe("refused\n");
    expect(exec(c1, "ping", ["-n", "-c1", "-W1", ADDRESS.c2]).stdout).toMatch(/From 10\.55\.66\.1 .*filtered/);
  });

  it("carries bulk traffic of established flows at full length", async () => {
    const rules =
      "filter: { bridge: { policy: drop, rules: [ { state: established, action: accept }, { in: c1, action: accept } ] } }\n";
    const { c1, c2 } = await lan("", rules);
    await spawnIn(c2, process.execPath, [PEER, "serve", ADDRESS.c2, "9000"]).until(/listening/);
    const words = [PEER, "up", ADDRESS.c2, "9000", "100000000"];
    const { stdout, stderr } = await execAsync(c1, process.execPath, words, { timeoutMs: 60_000 });
    expect(stderr).toBe("");
    const { hash, expected } = JSON.parse(stdout);
    expect(hash).toBe(expected);
  });
});

describe.skipIf(!canRun)("isolation on real devices", () => {
  it("keeps containers of a network apart, but for the one that is not isolated", async () => {
    const { c1, c2, c3, router } = await lan("    isolation: ports\n", "", { c3: "isolated: false" });
    expect(ping(c1, ADDRESS.c2)).toBe(false);
    expect(ping(c2, ADDRESS.c1)).toBe(false);
    expect([ping(c1, ADDRESS.c3), ping(c3, ADDRESS.c2), ping(c1, "10.55.66.1")]).toEqual([true, true, true]);
    // Nor does one that is attached later reach them, unless a reload lets it.
    const late = namespace("d");
    router.mustTapir("attach", "lab", "--netns", late, "--address", "10.55.66.5");
    expect([ping(late, ADDRESS.c1), ping(late, ADDRESS.c3)]).toEqual([false, true]);
    // Nor by way of the gateway.
    must(c1, "ip", ["route", "add", `${ADDRESS.c2}/32`, "via", "10.55.66.1"]);
    must(c2, "ip", ["route", "add", `${ADDRESS.c1}/32`, "via", "10.55.66.1"]);
    expect(ping(c1, ADDRESS.c2)).toBe(false);
    router.writeConfig(readFileSync(router.configFile, "utf8").replace("isolation: ports", "isolation: network"));
    router.child.kill("SIGHUP");
    await router.until(/has been read again/);
    expect([ping(c1, ADDRESS.c2), ping(c2, ADDRESS.c1)]).toEqual([true, true]);
  });
});

describe.skipIf(!canRun)("frames that claim to be another's", () => {
  it("stop at the port that they come in by, each for its reason", async () => {
    const { c1, c2, c3, drops } = await lan("    antiSpoofing: true\n");
    for (const [from, to] of [
      [c1, "c2"],
      [c2, "c3"],
      [c3, "c1"],
    ] as const)
      expect(ping(from, ADDRESS[to])).toBe(true);
    const before = neighbour(c2, ADDRESS.c3);
    // Another hardware address; another's address in ARP, and the gateway's; another's address in IPv4.
    inject(c1, announcement(MAC.c3, MAC.c3, ADDRESS.c3));
    inject(c1, announcement(MAC.c1, MAC.c1, ADDRESS.c3));
    inject(c1, announcement(MAC.c1, MAC.c1, "10.55.66.1"));
    const spoof = `import socket,sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
h = bytes.fromhex("4500001c0001000040110000") + socket.inet_aton(sys.argv[1]) + socket.inet_aton(sys.argv[2])
s.sendto(h + bytes.fromhex("0fa0003500080000"), (sys.argv[2], 0))`;
    must(c1, "python3", ["-c", spoof, ADDRESS.c3, ADDRESS.c2]);
    // The router has seen all of it by the time it answers.
    expect(ping(c1, "10.55.66.1")).toBe(true);
    expect([drops("mac-spoofed"), drops("arp-spoofed"), drops("address-spoofed")]).toEqual([1, 2, 1]);
    expect(neighbour(c2, ADDRESS.c3).split(" ").slice(0, 5)).toEqual(before.split(" ").slice(0, 5));
    expect(ping(c2, ADDRESS.c3)).toBe(true);
  });

  it("reach the others where nobody asked for protection, but never as the gateway", async () => {
    const { c1, c2, drops } = await lan("");
    expect(ping(c2, "10.55.66.1")).toBe(true);
    expect(ping(c2, ADDRESS.c3)).toBe(true);
    inject(c1, announcement(MAC.c1, MAC.c1, ADDRESS.c3));
    inject(c1, announcement(MAC.c1, MAC.c1, "10.55.66.1"));
    expect(ping(c1, ADDRESS.c2)).toBe(true);
    expect(neighbour(c2, ADDRESS.c3)).toContain(MAC.c1);
    expect(neighbour(c2, "10.55.66.1")).not.toContain(MAC.c1);
    expect(drops("arp-spoofed")).toBe(1);
  });

  it("are not those of a container that asks whether its address is free", async () => {
    const { c1, c2, drops } = await lan("    antiSpoofing: true\n");
    // A probe is a request whose sender has no address.
    inject(c1, `ffffffffffff${hex(MAC.c1)}08060001080006040001${hex(MAC.c1)}00000000000000000000${hex(ADDRESS.c1)}`);
    expect(ping(c1, ADDRESS.c2)).toBe(true);
    expect(ping(c2, ADDRESS.c1)).toBe(true);
    expect(drops("arp-spoofed")).toBe(0);
  });
});
