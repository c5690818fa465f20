/**
 * The dataplane without its control process: killed, followed by the next `tapir run`, or become another version of the
 * program while it runs.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { native } from "../../src/io/native.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import {
  exec,
  namespace,
  onCleanup,
  ping,
  type Running,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  TAPIR,
  temporaryFolder,
  veth,
} from "../support/netns.ts";

const canRun = requireSystem(["ping"], "a dataplane that outlives its control process");

const PEERS = join(packageRoot(), "test/netns/peers");
const SERVER = "203.0.113.2";
const OUTLIVE = { TAPIR_OUTLIVE: "1" };

function configuration(ports: readonly string[], more = ""): string {
  const each = ports.map((netns, index) => {
    const address = `10.55.66.${index + 2}`;
    return `      p${index + 2}: { netns: ${netns}, address: ${address}, defaultRoute: true }`;
  });
  return `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    ports:
${each.join("\n")}
uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: ${SERVER} }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
${more}`;
}

interface World {
  c2: string;
  c3: string;
  wan: string;
  netns: string;
  router: RunningRouter;
}

async function world(): Promise<World> {
  const [wan, netns, c2, c3] = [namespace("w"), namespace("r"), namespace("a"), namespace("b")];
  veth({ netns: wan, ifname: "eth0", address: `${SERVER}/24` }, { netns, ifname: "up0" });
  const router = await startRouter(configuration([c2, c3]), { netns, environment: OUTLIVE });
  endWithTest(router);
  return { c2, c3, wan, netns, router };
}

interface Program {
  version: string;
  pid: number;
  dataplanePid: number;
  startedAt: string;
}

/** What runs, by the API. */
function programOf(router: RunningRouter): Program {
  const script = `require("http").get({ socketPath: process.argv[1], path: "/v1/upgrade" }, (r) => r.pipe(process.stdout))`;
  return JSON.parse(exec(undefined, process.execPath, ["-e", script, router.socket]).stdout) as Program;
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`);
}

/** A dataplane that a test leaves alone must not outlive it. */
function endWithTest(router: RunningRouter): number {
  const { dataplanePid } = programOf(router);
  onCleanup(() => {
    if (isAlive(dataplanePid)) process.kill(dataplanePid, "SIGKILL");
  });
  return dataplanePid;
}

/** Kills the control process; returns once it is gone and the dataplane has noticed. */
async function killControl(router: RunningRouter): Promise<void> {
  const gone = new Promise((resolve) => router.child.once("exit", resolve));
  router.child.kill("SIGKILL");
  await gone;
  await router.until(/forwarding goes on without it in process \d+/);
}

/** Another `tapir run` on the same socket. */
async function runAgain({ netns, router }: World, file = router.configFile): Promise<RunningRouter> {
  const words = [TAPIR, "run", "-f", file, "--socket", router.socket];
  const running = spawnIn(netns, process.execPath, words, { env: { ...process.env, ...OUTLIVE } });
  await running.until(/\bready\b/, 60_000);
  const next = { ...router, ...running };
  endWithTest(next);
  return next;
}

async function serve(netns: string): Promise<void> {
  for (const use of ["serve", "udp-serve"]) {
    await spawnIn(netns, process.execPath, [join(PEERS, "peer.mjs"), use, SERVER, "7000"]).until(/listening/);
  }
}

async function steady(netns: string, ...words: string[]): Promise<Running> {
  const running = spawnIn(netns, process.execPath, [join(PEERS, "steady.mjs"), ...words]);
  await running.until(/going/);
  return running;
}

async function over<T>(running: Running): Promise<T> {
  running.child.stdin?.write("over\n");
  const [line] = await running.until(/\{.*\}/);
  return JSON.parse(line) as T;
}

interface Pulse {
  sent: number;
  answered: number;
  seenAs: string[];
  silentMs: number;
}

function flowsOf(router: RunningRouter): string[] {
  return router
    .mustTapir("conntrack", "-L", "-p", "tcp")
    .split("\n")
    .filter((line) => line.includes("ESTABLISHED"))
    .map((line) => (/src=10\S+ dst=\S+ (sport=\d+).* (dport=\d+)/.exec(line) ?? []).slice(1).join(" "))
    .sort();
}

function portsOf(router: RunningRouter): string[] {
  const rows = JSON.parse(router.mustTapir("show", "ports", "-j")) as { name: string; state: string }[];
  return rows.map(({ name, state }) => `${name} ${state}`);
}

const hasTap = (netns: string): boolean => exec(netns, "ip", ["link", "show", "dev", "eth0"]).status === 0;

describe.skipIf(!canRun)("a control process that is killed", () => {
  it("is missed by nobody: transfers go on, the next run takes all over, and its end removes everything", async () => {
    const here = await world();
    const { c2, c3, router, wan } = here;
    await serve(wan);
    const transfers = await steady(c2, "up", SERVER, "7000", "20");
    const pulse = await steady(c3, "pulse", SERVER, "7000", "4000");
    const flows = flowsOf(router);
    expect(flows).toHaveLength(20);
    await killControl(router);
    expect(router.tapir("show", "ports").status).toBe(4);
    expect([ping(c2, "10.55.66.3"), ping(c3, SERVER), ping(wan, "203.0.113.1")]).toEqual([true, true, true]);

    const next = await runAgain(here);
    expect(next.stderr()).toMatch(/took over the dataplane of process \d+: 3 devices, \d+ flows/);
    expect(flowsOf(next)).toEqual(flows);
    expect(portsOf(next)).toEqual(["p2 up", "p3 up", "wan up"]);
    expect([ping(c2, "10.55.66.3"), ping(c3, SERVER)]).toEqual([true, true]);
    const { same } = await over<{ same: number }>(transfers);
    expect(same).toBe(20);
    expect((await over<Pulse>(pulse)).seenAs).toEqual(["203.0.113.1:4000"]);
    expect(next.mustTapir("show", "invariants")).not.toMatch(/wrong|violated/);

    expect(await next.stop()).toBe(0);
    expect([hasTap(c2), hasTap(c3), existsSync(next.socket), existsSync(`${next.socket}.dataplane`)]).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  it("may be followed by one with another file: what it has no more is closed, what is new is opened", async () => {
    const here = await world();
    const { c2, c3, router } = here;
    const c4 = namespace("c");
    router.mustTapir("route", "add", "198.51.100.0/24", "via", SERVER);
    await killControl(router);
    router.writeConfig(configuration([c2, c4]).replace("p3: ", "other: "));
    const next = await runAgain(here);
    expect(portsOf(next)).toEqual(["p2 up", "other up", "wan up"]);
    expect([hasTap(c2), hasTap(c3), hasTap(c4)]).toEqual([true, false, true]);
    expect(ping(c2, "10.55.66.3")).toBe(true);
    expect(next.mustTapir("route", "show")).toContain("198.51.100.0/24 via 203.0.113.2");
    // And the dataplane that it has made outlives it in its turn.
    await killControl(next);
    expect(ping(c2, "10.55.66.3")).toBe(true);
    const last = await runAgain(here);
    expect(portsOf(last)).toEqual(["p2 up", "other up", "wan up"]);
    expect(await last.stop()).toBe(0);
    expect([hasTap(c2), hasTap(c4)]).toEqual([false, false]);
  });

  it("leaves a dataplane that no guest disturbs, and that refuses other limits before anything is touched", async () => {
    const here = await world();
    const { c2, netns, router } = here;
    await killControl(router);
    const place = `${router.socket}.dataplane`;
    const fds = Array.from({ length: 6 }, () => native().connectTo(place));
    onCleanup(() => {
      for (const fd of fds) native().closeDescriptor(fd);
    });
    native().sendMessage(fds[5], Buffer.from("no request"), []);
    expect(ping(c2, SERVER)).toBe(true);
    writeFileSync(router.configFile, configuration([here.c2, here.c3], "limits: { flows: 4096 }"));
    const refused = exec(netns, process.execPath, [TAPIR, "run", "-f", router.configFile, "--socket", router.socket], {
      environment: OUTLIVE,
    });
    expect(refused.stderr).toMatch(
      /has other tables: limits\.flows is 4096, there it is \d+ \(keep its limits, or kill/,
    );
    expect(refused.status).toBe(1);
    expect(ping(c2, SERVER)).toBe(true);
    writeFileSync(router.configFile, configuration([here.c2, here.c3]));
    const next = await runAgain(here);
    expect(ping(c2, SERVER)).toBe(true);
    expect(await next.stop()).toBe(0);
  });
});

describe.skipIf(!canRun)("tapir upgrade", () => {
  it("replaces the program in its process: connections, containers and settings stay", async () => {
    const here = await world();
    const { c2, c3, router, wan } = here;
    const c4 = namespace("c");
    router.mustTapir("attach", "lab", "--netns", c4);
    await serve(wan);
    const transfers = await steady(c2, "up", SERVER, "7000", "5");
    const pulse = await steady(c3, "pulse", SERVER, "7000", "4000");
    const before = programOf(router);
    const said = router.mustTapir("upgrade");
    expect(said).toContain(`process ${before.pid}, dataplane`);
    const after = programOf(router);
    endWithTest(router);
    expect(after.pid).toBe(before.pid);
    expect(after.dataplanePid).not.toBe(before.dataplanePid);
    expect(ping(c4, SERVER)).toBe(true);
    const { answered, seenAs, sent } = await over<Pulse>(pulse);
    expect(seenAs).toEqual(["203.0.113.1:4000"]);
    // What comes while nobody reads waits in the devices.
    expect(answered / sent).toBeGreaterThan(0.9);
    expect((await over<{ same: number }>(transfers)).same).toBe(5);
    // Nothing is left of the old one, not even a process that nobody buries.
    while (isAlive(before.dataplanePid)) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await router.stop()).toBe(0);
    expect([hasTap(c2), hasTap(c3), hasTap(c4)]).toEqual([false, false, false]);
  });

  it("changes nothing when the new program is of no use", async () => {
    const { c2, router } = await world();
    const before = programOf(router);
    const none = router.tapir("upgrade", "--program", "/nowhere/tapir");
    expect(none.stderr).toContain("the new program is of no use, and nothing has been changed");
    expect(none.status).toBe(1);
    const refuses = join(temporaryFolder(), "refuses");
    writeFileSync(refuses, "#!/bin/sh\necho 'tapir: no such key' >&2; exit 3\n", { mode: 0o755 });
    expect(router.tapir("upgrade", "--program", refuses).stderr).toContain("tapir: no such key");
    expect(programOf(router)).toEqual(before);
    expect(ping(c2, SERVER)).toBe(true);
  });

  it("leaves the dataplane forwarding when the new program ends, for the next run to take over", async () => {
    const here = await world();
    const { c2, router } = here;
    const broken = join(temporaryFolder(), "broken");
    writeFileSync(broken, '#!/bin/sh\ntest "$1" = check || exit 7\n', { mode: 0o755 });
    const { status, stderr } = router.tapir("upgrade", "--program", broken);
    expect(stderr).toMatch(/has not come up .* forwards on as process \d+/);
    expect(status).toBe(1);
    expect(ping(c2, SERVER)).toBe(true);
    const next = await runAgain(here);
    expect(ping(c2, SERVER)).toBe(true);
    expect(await next.stop()).toBe(0);
  });
});
