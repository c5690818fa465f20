/** Faults on real devices, under paced streams of numbered datagrams: what is lost, and what goes on. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import {
  exec,
  ip,
  must,
  namespace,
  ping,
  requireSystem,
  spawnIn,
  TAPIR,
  tapir,
  temporaryFolder,
} from "../support/netns.ts";
import { Address, tapirWorld, type World } from "./worlds.ts";

const canRun = requireSystem(["ping", "python3", "prlimit"], "faults");

/** Takes numbered datagrams and, at a line on its input, prints how many different ones came. */
const RECEIVER = `
import socket, sys, threading
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
s.bind((sys.argv[1], 7000))
seen = set()
def take():
    while True:
        seen.add(s.recv(64))
        if len(seen) == int(sys.argv[2]): print("all", flush=True)
threading.Thread(target=take, daemon=True).start()
print("listening", flush=True)
for line in sys.stdin: print("seen", len(seen), flush=True)
`;

/** Sends so many numbered datagrams, one each ten milliseconds. */
const SENDER = `
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(sys.argv[2])):
    s.sendto(b"%d" % number, (sys.argv[1], 7000))
    if number == 20: print("under way", flush=True)
    time.sleep(0.01)
print("sent", flush=True)
`;

async function stream(world: World, count: number, from = world.c1) {
  const receiver = spawnIn(world.wan, "python3", ["-c", RECEIVER, Address.SERVER, `${count}`]);
  await receiver.until(/listening/);
  const sender = spawnIn(from, "python3", ["-c", SENDER, Address.SERVER, `${count}`]);
  await sender.until(/under way/);
  return { receiver, sender };
}

async function eventually(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

/** The process that a router keeps for its devices. */
function dataplaneOf(control: number): number {
  const children = readFileSync(`/proc/${control}/task/${control}/children`, "utf8").trim().split(" ").map(Number);
  const found = children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("dataplane/main.js"));
  if (found === undefined) throw new Error("no dataplane");
  return found;
}

const stateOf = (pid: number) => /State:\s+(\w)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];

describe.skipIf(!canRun)("under load", () => {
  let world: World;
  let control: number;
  const router = () => {
    if (world.tapir === undefined) throw new Error("no router");
    return world.tapir;
  };

  beforeAll(async () => {
    world = await tapirWorld();
    control = router().child.pid as number;
    if (!existsSync(`/proc/${control}`)) throw new Error("no control process");
    expect(ping(world.c1, Address.SERVER)).toBe(true);
    expect(ping(world.c2, Address.SERVER)).toBe(true);
  });

  it("a control process that is stopped loses no packet, and answers again when it goes on", async () => {
    process.kill(control, "SIGSTOP");
    try {
      await eventually(() => stateOf(control) === "T");
      const { receiver, sender } = await stream(world, 200);
      await sender.until(/sent/);
      await receiver.until(/all/);
      // A new flow is admitted, too.
      expect(ping(world.c2, Address.SERVER)).toBe(true);
      expect(stateOf(control)).toBe("T");
    } finally {
      process.kill(control, "SIGCONT");
    }
    expect(router().mustTapir("show", "ports")).toContain("c1");
  });

  it("a dataplane that is stopped and goes on forwards again, and knows its flows", async () => {
    const dataplane = dataplaneOf(control);
    const { receiver, sender } = await stream(world, 200);
    const flows = router().mustTapir("conntrack", "-L", "-p", "udp", "--dport", "7000");
    process.kill(dataplane, "SIGSTOP");
    await eventually(() => stateOf(dataplane) === "T");
    process.kill(dataplane, "SIGCONT");
    await sender.until(/sent/);
    // What came meanwhile waited in the devices' queues.
    await receiver.until(/all/);
    const port = (text: string) => /sport=(\d+)/.exec(text)?.[1];
    expect(port(router().mustTapir("conntrack", "-L", "-p", "udp", "--dport", "7000"))).toBe(port(flows));
    expect(dataplaneOf(control)).toBe(dataplane);
  });

  it("a client that is killed in the middle leaves nothing behind", async () => {
    // More of them than there may be at once.
    for (let i = 0; i < 3; i++) {
      const clients = Array.from({ length: 3 }, () => {
        return spawnIn(undefined, process.execPath, [TAPIR, "capture", "--socket", router().socket]);
      });
      for (const client of clients) await client.until(/Ctrl-C ends it/);
      for (const client of clients) await client.stop("SIGKILL");
    }
    const last = spawnIn(undefined, process.execPath, [TAPIR, "capture", "-c1", "--socket", router().socket, "icmp"]);
    await last.until(/Ctrl-C ends it/);
    expect(ping(world.c1, Address.SERVER)).toBe(true);
    expect(await last.ended).toBe(0);
  });

  it("a capture into a disk that is full ends with one line, and the router goes on", () => {
    const load = spawnIn(world.c1, "ping", ["-n", "-i", "0.05", Address.SERVER]);
    const { status, stderr } = router().tapir("capture", "-w", "/dev/full");
    expect(status).toBe(1);
    expect(stderr).toMatch(/tapir: capture: \/dev\/full: ENOSPC/);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(load.child.exitCode).toBe(null);
    expect(ping(world.c1, Address.SERVER)).toBe(true);
  });

  it("a device that is set down and up again, and a namespace that is deleted, cost the others nothing", async () => {
    const gone = namespace("g");
    router().mustTapir("attach", "lab", "--netns", gone, "--name", "gone");
    expect(ping(gone, Address.SERVER)).toBe(true);
    spawnIn(gone, "ping", ["-n", "-q", "-i", "0.01", Address.SERVER]);
    spawnIn(world.c2, "ping", ["-n", "-q", "-i", "0.01", Address.SERVER]);
    const { receiver, sender } = await stream(world, 200);
    ip(world.c2, "link set eth0 down");
    ip(undefined, `-n ${gone} link set lo down`);
    exec(undefined, "sh", ["-c", `ip netns pids ${gone} | xargs -r kill`]);
    ip(undefined, `netns del ${gone}`);
    ip(world.c2, "link set eth0 up");
    await router().until(/port gone has failed/);
    await sender.until(/sent/);
    await receiver.until(/all/);
    must(world.c2, "ip", ["route", "replace", "default", "via", Address.GATEWAY]);
    await eventually(() => ping(world.c2, Address.SERVER));
  });

  it("a router without a descriptor left says so, and goes on", async () => {
    const dataplane = dataplaneOf(control);
    const open = new Set(readdirSync(`/proc/${dataplane}/fd`).map(Number));
    let free = 0;
    while (open.has(free)) free++;
    const limit = (soft: string) => must(undefined, "prlimit", ["--pid", `${dataplane}`, `--nofile=${soft}:`]);
    const more = namespace("m");
    const before = must(undefined, "sh", ["-c", `awk '/open files/ {print $4}' /proc/${dataplane}/limits`]).trim();
    limit(`${free}`);
    const refused = router().tapir("attach", "lab", "--netns", more, "--name", "more");
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(/EMFILE/);
    expect(ping(world.c1, Address.SERVER)).toBe(true);
    limit(before);
    router().mustTapir("attach", "lab", "--netns", more, "--name", "more");
    expect(ping(more, Address.SERVER)).toBe(true);
  });
});

describe.skipIf(!canRun)("a router whose log cannot be written", () => {
  it("runs without it, and ends as it should", async () => {
    const folder = temporaryFolder();
    const socket = `${folder}/tapir.sock`;
    const file = `${folder}/tapir.yaml`;
    const c1 = namespace("c");
    const text = `version: 1\\nnetworks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: ${c1}, address: 10.55.66.2 } } } }`;
    must(undefined, "sh", ["-c", `printf '${text}' > ${file}`]);
    const command = `exec "$0" ${TAPIR} run -f ${file} --socket ${socket} 2>/dev/full`;
    const running = spawnIn(undefined, "sh", ["-c", command, process.execPath]);
    await eventually(() => existsSync(socket) && tapir(["show", "ports", "--socket", socket]).status === 0);
    expect(ping(c1, Address.GATEWAY)).toBe(true);
    running.child.kill("SIGHUP");
    expect(tapir(["show", "ports", "--socket", socket]).status).toBe(0);
    expect(await running.stop()).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });
});
