/** Snapshots of a router on real TAPs: what survives its end and another start, and what a directory that fails does. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  exec,
  must,
  namespace,
  type Running,
  requireSystem,
  spawnIn,
  startRouter,
  TAPIR,
  tapir,
  temporaryFolder,
  veth,
} from "../support/netns.ts";

const canRun = requireSystem(["unshare"], "snapshots");

const configuration = (ports: string, directory: string): string => `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { ${ports} } } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 } }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
control: { snapshot: { directory: ${directory}, everySeconds: 3600 } }
`;

/** Answers what it gets over TCP with the same, and datagrams with the port that they seem to come from. */
const SERVER = `
  const net = require("net"), udp = require("dgram").createSocket("udp4");
  udp.on("message", (data, from) => udp.send(String(from.port), from.port, from.address));
  udp.bind(9000, "203.0.113.2", () =>
    net.createServer((socket) => socket.pipe(socket)).listen(8080, "203.0.113.2", () => console.log("listening")));`;

/** Keeps a connection and a datagram socket; with each line it sends by both, and prints both answers. */
const CLIENT = `
  const tcp = require("net").connect({ port: 8080, host: "203.0.113.2" });
  const udp = require("dgram").createSocket("udp4").bind(4000);
  let line = "", port = "";
  const tell = () => { if (line !== "" && port !== "") console.log(line + " by " + port); };
  tcp.on("data", (data) => { line = String(data); tell(); }).on("error", (error) => console.log(error.message));
  udp.on("message", (data) => { port = String(data); tell(); });
  process.stdin.on("data", (data) => {
    line = port = "";
    tcp.write(String(data).trim());
    udp.send("x", 9000, "203.0.113.2");
  });
  tcp.on("connect", () => console.log("connected"));`;

const node = (netns: string, script: string): Running => spawnIn(netns, process.execPath, ["-e", script]);

async function ask(client: Running, word: string): Promise<string> {
  client.child.stdin?.write(`${word}\n`);
  return (await client.until(new RegExp(`${word} by (\\d+)`)))[1];
}

describe.skipIf(!canRun)("a snapshot", () => {
  it("carries connections, translated ports, rules and routes from one router to the next", async () => {
    const [wan, netns, c1, c2] = [namespace("w"), namespace("r"), namespace("a"), namespace("b")];
    veth({ netns: wan, ifname: "eth0", address: "203.0.113.2/24" }, { netns, ifname: "up0" });
    const directory = temporaryFolder();
    const ports = [c1, c2].map(
      (name, i) => `c${i}: { netns: ${name}, address: 10.55.66.${i + 2}, defaultRoute: true }`,
    );
    const first = await startRouter(configuration(ports.join(", "), directory), { netns });
    await node(wan, SERVER).until(/listening/);
    const clients = [node(c1, CLIENT), node(c2, CLIENT)];
    for (const client of clients) await client.until(/connected/);
    const before = [await ask(clients[0], "one"), await ask(clients[1], "two")];
    expect(new Set(before).size).toBe(2);
    first.mustTapir("iptables", "-A", "FORWARD", "-p", "tcp", "--dport", "25", "-j", "DROP");
    first.mustTapir("route", "add", "198.51.100.0/24", "via", "203.0.113.9");
    expect(JSON.parse(first.mustTapir("snapshot", "-j"))).toMatchObject({ directory, flows: 4, torn: 0 });
    expect(first.mustTapir("snapshot", "--show")).toMatch(/every 3600 s to .*\nlast .*: 4 flows/);
    await first.stop();
    const file = join(directory, "configuration.yaml");
    expect(statSync(file).mode & 0o777).toBe(0o600);

    const second = await startRouter(readFileSync(file, "utf8"), { netns });
    expect(second.stderr() + second.stdout()).toMatch(/4 flows are restored from a snapshot \d+ s old/);
    // The containers' devices were gone meanwhile; TCP tries again, and finds the new ones with their old addresses.
    expect([await ask(clients[0], "three"), await ask(clients[1], "four")]).toEqual(before);
    expect(second.mustTapir("iptables", "-S", "FORWARD")).toContain("--dport 25 -j DROP");
    expect(second.mustTapir("route", "show")).toContain("198.51.100.0/24 via 203.0.113.9");
    expect(second.mustTapir("show", "invariants")).toContain("all hold");
    expect(JSON.parse(second.mustTapir("show", "stats", "-j"))).toMatchObject({ flowsRestored: 4, flowsCreated: 0 });
    await second.stop();

    // A damaged one is refused; the router runs all the same.
    const flows = join(directory, "flows.tapir");
    const bytes = readFileSync(flows);
    bytes[100] ^= 1;
    writeFileSync(flows, bytes);
    const third = await startRouter(readFileSync(file, "utf8"), { netns });
    expect(third.stderr() + third.stdout()).toMatch(/is not restored.*its checksum does not fit: it was damaged/);
    expect(third.mustTapir("conntrack", "-C").trim()).toBe("0");
  });

  it("that cannot be written is said, and leaves the router and the former one alone", async () => {
    const directory = temporaryFolder();
    const folder = temporaryFolder();
    const [file, socket] = [join(folder, "tapir.yaml"), join(folder, "sock")];
    writeFileSync(
      file,
      `version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24 } }
control: { snapshot: { directory: ${directory} } }\n`,
    );
    // A file system of two pages that nobody else sees, and that goes with the router.
    const script = `mount -t tmpfs -o size=12k tmpfs "$0" && exec "$@"`;
    const words = ["-m", "sh", "-c", script, directory, process.execPath, TAPIR, "run", "-f", file, "--socket", socket];
    const router = spawnIn(namespace("r"), "unshare", words);
    await router.until(/\bready\b/);
    const inside = (...command: string[]): string =>
      must(undefined, "nsenter", ["-t", String(router.child.pid), "-m", ...command]);
    const snapshot = () => tapir(["snapshot", "--socket", socket]);
    expect(snapshot()).toMatchObject({ status: 0 });
    const former = inside("sha256sum", join(directory, "flows.tapir"));
    exec(undefined, "nsenter", ["-t", String(router.child.pid), "-m", "dd", "if=/dev/zero", `of=${directory}/rest`]);
    expect(snapshot()).toMatchObject({ status: 1, stderr: expect.stringContaining("the disk is full") });
    expect(inside("sha256sum", join(directory, "flows.tapir"))).toBe(former);
    expect(inside("ls", directory)).not.toContain(".tmp");
    inside("rm", join(directory, "rest"));
    inside("mount", "-o", "remount,ro", directory);
    expect(snapshot()).toMatchObject({ status: 1, stderr: expect.stringContaining("its file system is read-only") });
    inside("umount", directory);
    inside("rmdir", directory);
    expect(snapshot()).toMatchObject({ status: 1, stderr: expect.stringContaining("there is no such directory") });
    expect(tapir(["show", "stats", "--socket", socket]).status).toBe(0);
    expect(await router.stop()).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });
});
