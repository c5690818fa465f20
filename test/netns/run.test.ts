/** A router over its life: containers come and go, files change, things are taken away from it, it is killed. */
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  exec,
  execAsync,
  ip,
  must,
  namespace,
  ping,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  TAPIR,
  tapir,
  temporaryFolder,
} from "../support/netns.ts";

const canRun = requireSystem(["ping", "setpriv", "unshare"], "a router over its life");
const GATEWAY = "10.55.66.1";

interface PortRow {
  name: string;
  state: string;
  namespace: string | null;
}

function lab(ports: string, rest = ""): string {
  return `version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24, ports: { ${ports} } } }\n${rest}`;
}

const port = (netns: string, host: number, name = `c${host}`): string =>
  `${name}: { netns: ${netns}, address: 10.55.66.${host}, defaultRoute: true }`;

const states = (router: RunningRouter): [string, string][] =>
  (JSON.parse(router.mustTapir("show", "ports", "-j")) as PortRow[]).map(({ name, state }) => [name, state]);

const hasDevice = (netns: string, ifname = "eth0"): boolean =>
  exec(netns, "ip", ["link", "show", "dev", ifname]).status === 0;

/** Reads the file again; resolves with what the router says of it. */
async function reload(router: RunningRouter, text: string): Promise<string> {
  router.writeConfig(text);
  const before = router.stderr().length;
  router.child.kill("SIGHUP");
  const said = /has been read again|stays in force/;
  await router.until(new RegExp(`^[^]{${before}}[^]*(${said.source})`));
  return router.stderr().slice(before);
}

/** Asks until the answer is yes; the time is bounded by the test's. */
async function eventually(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

/** `ip netns exec` and such become the command: the router's own pid is the child's. */
function dataplaneOf(router: { child: RunningRouter["child"] }): number {
  const pid = router.child.pid as number;
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim());
}

/** Where a link points, or nothing once it is gone: a process closes descriptors while its folder is being read. */
function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

/** How many TAPs a process holds. */
function tapsOf(pid: number): number {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).filter((fd) => linkOf(join(folder, fd)) === "/dev/net/tun").length;
}

/** The process group that a process is in: the third word after its name in brackets (proc(5)). */
function groupOf(pid: number): number {
  return Number(/^.*\) \S+ \d+ (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]);
}

describe.skipIf(!canRun)("containers that come and go", () => {
  it("are attached by namespace or by process, with an address of their own choice, with or without a route", async () => {
    const [c2, c3] = [namespace("a"), namespace("b")];
    const router = await startRouter(lab(port(c2, 2)));
    const sleeper = spawnIn(c3, "sh", ["-c", "echo up; exec cat"]);
    await sleeper.until(/up/);
    const words = ["attach", "lab", "--pid", String(sleeper.child.pid), "--ifname", "net1", "--address", "10.55.66.77"];
    const said = router.mustTapir(...words, "--name", "c3", "--no-default-route", "-j");
    expect(JSON.parse(said)).toMatchObject({
      name: "c3",
      network: "lab",
      address: "10.55.66.77",
      gateway: GATEWAY,
      ifname: "net1",
    });
    expect(ip(c3, "-4 -br address show dev net1")).toContain("10.55.66.77/24");
    expect(ip(c3, "route show default")).toBe("");
    expect(ip(c2, "route show default")).toContain(`via ${GATEWAY}`);
    expect(ping(c3, "10.55.66.2")).toBe(true);
    expect(router.tapir("attach", "lab", "--pid", "4194304")).toMatchObject({ status: 1 });
    expect(states(router).map(([name]) => name)).toEqual(["c2", "c3"]);
  });

  it("get different addresses when they come at once, until none is left", async () => {
    const names = Array.from({ length: 6 }, () => namespace("p"));
    const text = "version: 1\nnetworks: { lab: { subnet: 10.55.66.0/29 } }\n";
    const router = await startRouter(text);
    const attach = (netns: string) =>
      execAsync(undefined, process.execPath, [TAPIR, "attach", "lab", "--netns", netns, "--socket", router.socket]);
    const attached = await Promise.all(names.map(attach));
    expect(attached.filter(({ status }) => status === 0).length).toBe(5);
    const refused = attached.filter(({ status }) => status !== 0);
    expect(refused).toMatchObject([{ status: 1, stderr: "tapir: attach: lab has no free address left\n" }]);
    const addresses = attached.map(({ stdout }) => /10\.55\.66\.\d+/.exec(stdout)?.[0]).filter((a) => a !== undefined);
    expect([...addresses].sort()).toEqual([2, 3, 4, 5, 6].map((host) => `10.55.66.${host}`));
    const inside = names[attached.findIndex(({ status }) => status === 0)];
    for (const address of [GATEWAY, ...addresses]) expect([address, ping(inside, address)]).toEqual([address, true]);
  });

  it("leave no descriptor behind, in either process", async () => {
    const [c2, c3] = [namespace("a"), namespace("b")];
    const router = await startRouter(lab(port(c2, 2)));
    const pids = [router.child.pid as number, dataplaneOf(router)];
    const count = () => pids.map((pid) => readdirSync(`/proc/${pid}/fd`).length);
    const cycles = () => {
      for (let i = 0; i < 4; i++) {
        router.mustTapir("attach", "lab", "--netns", c3);
        router.mustTapir("detach", c3);
      }
    };
    cycles();
    // A dataplane that stands by is started meanwhile, and the API's last connection may still be closing: what leaks grows
    // with all cycles.
    await eventually(() => {
      const before = count();
      cycles();
      return count().every((now, index) => now <= before[index]);
    });
    expect(hasDevice(c3)).toBe(false);
    expect(ping(c2, GATEWAY)).toBe(true);
  });

  it("may lose their namespace: their port fails, the others go on, and it works again once it is back", async () => {
    const [c2, c3, c4] = [namespace("a"), namespace("b"), namespace("c")];
    const router = await startRouter(lab([port(c2, 2), port(c3, 3)].join(", ")));
    const taps = () => [router.child.pid as number, dataplaneOf(router)].map(tapsOf);
    expect(taps()).toEqual([2, 2]);
    ip(undefined, `netns del ${c3}`);
    await router.until(/port c3 has failed \(its namespace is gone\); the others go on/);
    await eventually(() => taps().every((count) => count === 1));
    expect(states(router)).toEqual([
      ["c2", "up"],
      ["c3", "failed (its namespace is gone)"],
    ]);
    expect(ping(c2, GATEWAY)).toBe(true);
    // The next change does not fail for it...
    router.mustTapir("attach", "lab", "--netns", c4, "--name", "c4");
    expect(ping(c4, "10.55.66.2")).toBe(true);
    expect(states(router)).toEqual([
      ["c2", "up"],
      ["c3", `failed (port c3: no namespace called ${c3} (ip netns add ${c3}))`],
      ["c4", "up"],
    ]);
    // ... and takes it up again where it can.
    ip(undefined, `netns add ${c3}`);
    router.mustTapir("detach", "c4");
    expect(states(router)).toEqual([
      ["c2", "up"],
      ["c3", "up"],
    ]);
    expect(ping(c3, "10.55.66.2")).toBe(true);
  });

  it("work on while a process lives in their namespace, whatever became of its name", async () => {
    const [c2, c3] = [namespace("a"), namespace("b")];
    const router = await startRouter(lab([port(c2, 2), port(c3, 3)].join(", ")));
    const holder = spawnIn(c3, "sh", ["-c", "echo up; exec cat"]);
    await holder.until(/up/);
    ip(undefined, `netns del ${c3}`);
    expect(ping(c2, "10.55.66.3")).toBe(true);
    expect(states(router)).toEqual([
      ["c2", "up"],
      ["c3", "up"],
    ]);
    await holder.stop("SIGKILL");
    await router.until(/port c3 has failed \(its namespace is gone\)/);
  });
});

describe.skipIf(!canRun)("a configuration that is read again", () => {
  it("changes ports and rules, and leaves the rest alone", async () => {
    const [c2, c3, c4] = [namespace("a"), namespace("b"), namespace("c")];
    const router = await startRouter(lab([port(c2, 2), port(c3, 3)].join(", ")));
    const index = ip(c2, "-br link show dev eth0");
    const closed = lab([port(c2, 2), port(c4, 4)].join(", "), "filter: { input: { policy: drop } }\n");
    expect(await reload(router, closed)).toContain("has been read again");
    expect([hasDevice(c3), hasDevice(c4)]).toEqual([false, true]);
    expect(ping(c4, "10.55.66.2")).toBe(true);
    expect(ping(c4, GATEWAY)).toBe(false);
    expect(ip(c2, "-br link show dev eth0")).toBe(index);
  });

  it("changes nothing when a new device cannot be opened", async () => {
    const [c2, c4] = [namespace("a"), namespace("c")];
    const router = await startRouter(lab(port(c2, 2)));
    const index = ip(c2, "-o link show dev eth0").split(":")[0];
    ip(c4, "link add eth0 type veth peer name other");
    // eth0 of c2 would change hands, which cannot be done without closing it: c4's turn has to come before.
    const said = await reload(router, lab([port(c2, 2, "renamed"), port(c4, 4)].join(", ")));
    expect(said).toMatch(/port c4: there is a device called eth0 already.*stays in force/);
    expect(states(router)).toEqual([["c2", "up"]]);
    expect(ip(c2, "-o link show dev eth0").split(":")[0]).toBe(index);
    expect(ping(c2, GATEWAY)).toBe(true);
  });

  it("goes back to the former one when it fails in the middle", async () => {
    const [c2, c3, c4] = [namespace("a"), namespace("b"), namespace("c")];
    const router = await startRouter(lab([port(c2, 2), port(c3, 3)].join(", ")));
    // c3 works on, but once it is closed nobody can open it under that name again.
    const holder = spawnIn(c3, "sh", ["-c", "echo up; exec cat"]);
    await holder.until(/up/);
    ip(undefined, `netns del ${c3}`);
    const renamed = [port(c2, 2, "two"), port(c3, 3, "three"), port(c4, 4)].join(", ");
    const said = await reload(router, lab(renamed, "filter: { input: { policy: drop } }\n"));
    expect(said).toMatch(/port three: no namespace called .*stays in force/);
    expect(states(router)).toEqual([
      ["c2", "up"],
      ["c3", expect.stringMatching(/^failed \(port c3: no namespace/)],
    ]);
    expect(ping(c2, GATEWAY)).toBe(true);
    expect(hasDevice(c4)).toBe(false);
    expect(await reload(router, lab(port(c2, 2, "two")))).toContain("has been read again");
    expect(states(router)).toEqual([["two", "up"]]);
    expect(ping(c2, GATEWAY)).toBe(true);
  });

  it("says what cannot change while the router runs", async () => {
    const c2 = namespace("a");
    const router = await startRouter(lab(port(c2, 2)));
    expect(await reload(router, lab(port(c2, 2), "limits: { flows: 4096 }\n"))).toMatch(/limits: cannot change/);
    const moved = lab(port(c2, 2), "control: { socket: /run/elsewhere/tapir.sock }\n");
    expect(await reload(router, moved)).toMatch(/control\.socket: cannot change/);
    expect(ping(c2, GATEWAY)).toBe(true);
  });
});

describe.skipIf(!canRun)("a router's end", () => {
  it("comes in order when a terminal's Ctrl-C reaches all of its processes", async () => {
    const c2 = namespace("a");
    const folder = temporaryFolder();
    const [file, socket] = [join(folder, "r.yaml"), join(folder, "made/t.sock")];
    writeFileSync(file, lab(port(c2, 2)));
    // A process group of its own, as a shell gives to what runs in front.
    const running = spawnIn(undefined, process.execPath, [TAPIR, "run", "-f", file, "--socket", socket], {
      detached: true,
    });
    await running.until(/ready/);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    // It would end by itself if the signal reached it, and whoever is first would say how the router ends.
    expect(groupOf(running.child.pid as number)).toBe(running.child.pid);
    expect(groupOf(dataplaneOf(running))).not.toBe(running.child.pid);
    process.kill(-(running.child.pid as number), "SIGINT");
    expect(await running.ended).toBe(0);
    expect(running.stderr()).not.toMatch(/by itself|"level":50/);
    expect(hasDevice(c2)).toBe(false);
    expect(readdirSync(folder)).toEqual(["r.yaml"]);
  });

  it("does not stand in the way of the next when it was killed", async () => {
    const c2 = namespace("a");
    const text = lab(port(c2, 2));
    const router = await startRouter(text);
    const dataplane = dataplaneOf(router);
    router.child.kill("SIGKILL");
    await router.ended;
    await eventually(() => !existsSync(`/proc/${dataplane}`));
    expect(hasDevice(c2)).toBe(false);
    expect(existsSync(router.socket)).toBe(true);
    const words = [TAPIR, "run", "-f", router.configFile, "--socket", router.socket];
    const next = spawnIn(undefined, process.execPath, words);
    await next.until(/ready/);
    expect(ping(c2, GATEWAY)).toBe(true);
    expect(await next.stop("SIGTERM")).toBe(0);
    expect(existsSync(router.socket)).toBe(false);
  });

  it("takes no part in the other's when two are started at once", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "r.yaml");
    writeFileSync(file, lab(""));
    const socket = join(folder, "t.sock");
    const both = [1, 2].map(() => spawnIn(undefined, process.execPath, [TAPIR, "run", "-f", file, "--socket", socket]));
    const said = /ready|another router is running or starting/;
    await Promise.all(both.map((each) => each.until(said)));
    const winners = both.filter((each) => /ready/.test(each.stderr()));
    const losers = both.filter((each) => !winners.includes(each));
    expect([winners.length, losers.length]).toEqual([1, 1]);
    expect(await losers[0].ended).toBe(1);
    expect(tapir(["show", "ports"], { environment: { TAPIR_SOCKET: socket } }).status).toBe(0);
    expect(tapir(["--socket", socket, "show", "ports"]).status).toBe(0);
  });
});

describe.skipIf(!canRun)("a router that cannot start", () => {
  it("says what the kernel or the user is missing, and leaves nothing", async () => {
    const c2 = namespace("a");
    const folder = temporaryFolder();
    const file = join(folder, "r.yaml");
    writeFileSync(file, lab(port(c2, 2)));
    must(undefined, "chmod", ["-R", "a+rX", folder]);
    const run = [process.execPath, TAPIR, "run", "-f", file, "--socket"];

    const noTun = [
      "--mount",
      "--propagation",
      "private",
      "sh",
      "-c",
      'mount -t tmpfs none /dev/net && exec "$@"',
      "sh",
    ];
    const without = exec(undefined, "unshare", [...noTun, ...run, join(folder, "made/t.sock")]);
    expect(without.stderr).toBe("tapir: there is no /dev/net/tun: load the kernel module with `modprobe tun`\n");
    expect(without.status).toBe(5);

    // Everything as a user without rights: here it is the socket's folder that stands closed.
    const asNobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    const nobody = exec(undefined, "setpriv", [...asNobody, ...run, join(folder, "closed/t.sock")]);
    expect(nobody.stderr).toMatch(/^tapir: socket .*: no privilege \(.*\): run as root, or choose .*--socket\n$/);
    expect(nobody.status).toBe(5);
    expect(readdirSync(folder)).toEqual(["r.yaml"]);
    expect(hasDevice(c2)).toBe(false);
  });

  it("refuses a file in the socket's place and leaves it alone", () => {
    const folder = temporaryFolder();
    const [file, precious] = [join(folder, "r.yaml"), join(folder, "precious")];
    writeFileSync(file, lab(""));
    writeFileSync(precious, "mine");
    const refused = tapir(["run", "-f", file, "--socket", precious]);
    expect(refused).toMatchObject({ status: 1, stderr: `tapir: ${precious} is there already and is not a socket\n` });
    expect(readFileSync(precious, "utf8")).toBe("mine");
    expect(readdirSync(folder).sort()).toEqual(["precious", "r.yaml"]);
  });

  it("shows a stack only to those who ask for it", () => {
    const socket = { TAPIR_SOCKET: "/nowhere/t.sock" };
    expect(tapir(["show", "ports"], { environment: socket }).stderr).not.toMatch(/^\s+at /m);
    expect(tapir(["show", "ports"], { environment: { ...socket, TAPIR_DEBUG: "1" } }).stderr).toMatch(/^\s+at /m);
  });
});

describe.skipIf(!canRun)("tapir check", () => {
  it("prints what is wrong as JSON too", () => {
    const file = join(temporaryFolder(), "r.yaml");
    writeFileSync(file, "version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24, gatway: 1 } }\n");
    const { status, stdout, stderr } = tapir(["check", "-j", "-f", file]);
    expect(status).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({ errors: [{ file, line: 2, path: "networks.lab.gatway" }] });
    expect(stderr).toMatch(/:2:\d+: networks\.lab\.gatway: unknown key/);
    writeFileSync(file, lab(""));
    expect(JSON.parse(tapir(["check", "-j", "-f", file]).stdout)).toMatchObject({ version: 1 });
    expect(tapir(["check", "-f", file]).stdout).toBe(`${file} is valid\n`);
  });
});
