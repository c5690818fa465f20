/** What a process can still do that has given up its privileges: each claim is a try in a child. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { native } from "../../src/io/native.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { outputWithoutCapabilities, tryWhen } from "../support/confined.ts";
import { onCleanup, requireSystem, temporaryFolder } from "../support/netns.ts";

const canRun = requireSystem(["setpriv"], "giving up privileges");
const CONFINE = "addon.confine({ mayOpen: false });";

/** What an intruder would want; without confinement root can do all of it. */
function mischief(folder: string): Record<string, string> {
  const path = (name: string): string => JSON.stringify(join(folder, name));
  return {
    "run a program": `const { error } = child_process.spawnSync("true"); if (error) throw error;`,
    "read a file": `fs.openSync(${path("there")}, "r");`,
    "make a file": `fs.openSync(${path("new")}, "w");`,
    "remove a file": `fs.unlinkSync(${path("victim")});`,
    "make a link": `fs.symlinkSync("/etc", ${path("link")});`,
    "make a folder": `fs.mkdirSync(${path("folder")});`,
    "change a mode": `fs.chmodSync(${path("there")}, 0o777);`,
    "rename a file": `fs.renameSync(${path("there")}, ${path("moved")});`,
    "list a folder": `fs.readdirSync("/");`,
    "listen on TCP": `await settled(net.createServer().listen(0, "127.0.0.1"), "listening");`,
    "bind UDP": `const socket = dgram.createSocket("udp4"); socket.bind(0, "127.0.0.1"); await settled(socket, "listening");`,
    "connect to a unix socket": `await settled(net.connect(${path("socket")}), "connect");`,
    "signal its parent": "process.kill(process.ppid, 0);",
    "become another user": "process.setuid(65534);",
    "make a TAP": `addon.openTap({ ifname: "intruder0" });`,
    "open a packet socket": `addon.openPacketSocket({ device: "lo" });`,
    "enter a namespace": `addon.inNamespace("/proc/self/ns/net", () => {});`,
    "cut memory that others have mapped": `fs.ftruncateSync(addon.createMemory("mine", 8192).fd, 0);`,
    "follow routes": "addon.openRouteNetlink({ groups: 1 });",
    "make an unrestricted ring": `if (!addon.hasRing()) throw Object.assign(new Error(), { code: "EPERM" });`,
  };
}

async function folderOfVictims(): Promise<string> {
  const folder = temporaryFolder();
  for (const name of ["there", "victim"]) writeFileSync(join(folder, name), "");
  const server = createServer((connection) => connection.destroy()).listen(join(folder, "socket"));
  await new Promise((resolve) => server.once("listening", resolve));
  onCleanup(() => void server.close());
  return folder;
}

describe.skipIf(!canRun)("a confined process", () => {
  it("can do nothing to the machine: each try ends with EPERM", async () => {
    const folder = await folderOfVictims();
    const tries = mischief(folder);
    const outcomes = tryWhen(CONFINE, tries);
    expect(outcomes).toEqual(Object.fromEntries(Object.keys(tries).map((name) => [name, "EPERM"])));
    expect(existsSync(join(folder, "victim"))).toBe(true);
  });

  it("goes on with what a dataplane does: descriptors, memory, messages, chance, time, threads", () => {
    const before = `
      const [here, there] = addon.socketPair();
      const shared = addon.createMemory("mine", 8192);
      const { Channel } = await import(${JSON.stringify(join(packageRoot(), "dist/src/io/channel.js"))});
      const [left, right] = addon.socketPair().map((fd) => new Channel(addon, fd));
      const { port1, port2 } = new MessageChannel();`;
    const tries = {
      "map shared memory": "addon.mapMemory(shared.fd);",
      "allocate memory": "addon.allocateMemory(4 << 20); new ArrayBuffer(64 << 20).slice(1);",
      "pass long messages": `
        for (const length of [100_000, 3_000_000]) {
          left.send({ id: length, text: "x".repeat(length) });
          const { message, lost } = right.receive();
          if (lost !== undefined || message.text.length !== message.id) throw new Error(lost ?? "another message");
        }`,
      "pass messages and descriptors": `
        addon.sendMessage(here, new Uint8Array([7]), [shared.fd]);
        const { bytes, descriptors } = addon.receiveMessage(there);
        if (bytes[0] !== 7) throw new Error("another message");
        addon.closeDescriptor(descriptors[0]);`,
      "draw random numbers": "crypto.randomFillSync(new Int32Array(1024));",
      wait: "await new Promise((resolve) => setTimeout(resolve, 1));",
      "compile hot code": "let sum = 0; for (let i = 0; i < 5e6; i++) sum = (sum + i * i) | 0;",
      "know itself": "process.memoryUsage.rss === undefined; process.cpuUsage(); process.kill(process.pid, 0);",
    };
    const outcomes = tryWhen(CONFINE, tries, before);
    expect(outcomes).toEqual(Object.fromEntries(Object.keys(tries).map((name) => [name, "done"])));
  });

  it("can open files where profilers are to write, and still run no program", () => {
    const folder = temporaryFolder();
    const { open, run } = tryWhen("addon.confine({ mayOpen: true });", {
      open: `fs.openSync(${JSON.stringify(join(folder, "profile"))}, "w");`,
      run: `const { error } = child_process.spawnSync("true"); if (error) throw error;`,
    });
    expect([open, run]).toEqual(["done", "EPERM"]);
  });

  it("without that, root can do all of it", async () => {
    const tries = mischief(await folderOfVictims());
    // A TAP and a user stay where they are.
    for (const name of ["make a TAP", "become another user"]) delete tries[name];
    const outcomes = Object.values(tryWhen("", tries));
    expect(outcomes.filter((outcome) => outcome !== "done")).toEqual([]);
  });
});

describe.skipIf(!canRun)("capabilities", () => {
  const NET_ADMIN = (1n << 12n).toString(16).padStart(16, "0");
  const sets = (status: string): (string | undefined)[] =>
    ["CapPrm", "CapEff", "CapBnd", "NoNewPrivs"].map(
      (name) => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1],
    );

  it("that are kept are all that the thread has, and all that a program it starts gets", () => {
    const folder = temporaryFolder();
    const copy = (of: string, to: string): string => `fs.writeFileSync(${JSON.stringify(join(folder, to))}, ${of});`;
    tryWhen("addon.keepCapabilities(1n << 12n);", {
      own: copy(`fs.readFileSync("/proc/thread-self/status")`, "own"),
      child: copy(`child_process.spawnSync("cat", ["/proc/self/status"]).stdout`, "child"),
    });
    for (const name of ["own", "child"]) {
      const status = readFileSync(join(folder, name), "latin1");
      expect(sets(status)).toEqual([NET_ADMIN, NET_ADMIN, NET_ADMIN, "1"]);
    }
  });

  it("are none in a program that is started without", () => {
    const none = "0".repeat(16);
    expect(sets(outputWithoutCapabilities("cat", "/proc/self/status"))).toEqual([none, none, none, "1"]);
  });
});

describe("an io_uring", () => {
  it.skipIf(!native().hasRing())("refuses what is not reading or writing: its entries meet no filter", () => {
    expect(native().ringIsRestricted()).toBe(true);
  });
});
