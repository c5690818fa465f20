/** A running router's processes hold what docs/security.md says, and the router works all the same. */
import { chmodSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Confinement, confinementOf } from "../../src/control/privilege.ts";
import {
  exec,
  namespace,
  ping,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  temporaryFolder,
} from "../support/netns.ts";

const canRun = requireSystem(["ping", "setpriv", "python3", "curl"], "least privilege");
const CONFINED: Confinement = { capabilities: "0".repeat(16), noNewPrivileges: true, filtered: true };

const lab = (c1: string, c2: string): string => `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    ports:
      c1: { netns: ${c1}, address: 10.55.66.2, defaultRoute: true }
      c2: { netns: ${c2}, address: 10.55.66.3, defaultRoute: true }
`;

function dataplaneOf({ child }: Pick<RunningRouter, "child">): number {
  const parentOf = (pid: string): string =>
    /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => {
    try {
      return parentOf(pid) === String(child.pid);
    } catch {
      // It has ended meanwhile.
      return false;
    }
  });
  return Number(found);
}

describe.skipIf(!canRun)("a running router", () => {
  it("has a dataplane that forwards with no capability, no way to one, and a filter, in all of its threads", async () => {
    const [c1, c2] = [namespace("a"), namespace("b")];
    const router = await startRouter(lab(c1, c2));
    const pid = dataplaneOf(router);
    expect(readdirSync(`/proc/${pid}/task`).length).toBeGreaterThan(1);
    expect(confinementOf(pid)).toEqual(CONFINED);
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      expect(readFileSync(`/proc/${pid}/task/${task}/status`, "utf8")).toMatch(/^CapBnd:\t0+$/m);
    }
    expect(readFileSync(`/proc/${pid}/limits`, "utf8")).toMatch(/^Max core file size +0 +0 /m);
    expect(router.stderr()).toMatch(/the dataplane is confined: no capabilities, no_new_privs, a system call filter/);
    expect(ping(c1, "10.55.66.3")).toBe(true);
    const words = ["-sS", "--unix-socket", router.socket, "http://router/v1/health?seconds=0"];
    const asked = (uid: number) => exec(undefined, "setpriv", [`--reuid=${uid}`, "--clear-groups", "curl", ...words]);
    expect(JSON.parse(asked(0).stdout)).toMatchObject({ confinement: CONFINED });
    // Nobody else may ask. The folder is open to all, so that it is the socket that refuses.
    chmodSync(dirname(router.socket), 0o755);
    expect(statSync(router.socket).mode & 0o777).toBe(0o600);
    const stranger = asked(65534);
    expect([stranger.status, stranger.stdout]).toEqual([7, ""]);
    expect(await router.stop()).toBe(0);
  });

  it("takes thousands of rules into a dataplane that is confined, and shows them", async () => {
    const [c1, c2] = [namespace("a"), namespace("b")];
    const rules = Array.from({ length: 3000 }, (_, index) => `{ proto: udp, dport: ${10_000 + index}, action: drop }`);
    const text = `${lab(c1, c2)}filter: { forward: { policy: accept, rules: [ ${rules.join(", ")} ] } }\n`;
    const router = await startRouter(text);
    expect(confinementOf(dataplaneOf(router))).toEqual(CONFINED);
    const listed = router.mustTapir("iptables", "-L", "FORWARD", "-n", "-v").split("\n");
    expect(listed.filter((line) => /udp dpt:1\d{4}$/.test(line.trimEnd())).length).toBe(rules.length);
    expect(ping(c1, "10.55.66.3")).toBe(true);
  });

  it("has a control process that keeps seven capabilities, and still attaches, detaches and starts programs", async () => {
    const [c1, c2, c3] = [namespace("a"), namespace("b"), namespace("c")];
    const router = await startRouter(lab(c1, c2));
    const status = readFileSync(`/proc/${router.child.pid}/status`, "utf8");
    const kept = [1, 8, 10, 12, 13, 19, 21].reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);
    for (const set of ["CapPrm", "CapEff", "CapBnd"]) {
      const held = BigInt(`0x${new RegExp(`^${set}:\\t(\\w+)$`, "m").exec(status)?.[1]}`);
      expect([set, held & ~kept]).toEqual([set, 0n]);
    }
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    // By its process, too: its namespace is that of somebody else.
    const holder = spawnIn(c3, "setpriv", ["--reuid=65534", "--clear-groups", "sh", "-c", "echo here; exec cat"]);
    await holder.until(/here/);
    router.mustTapir("attach", "lab", "--pid", String(holder.child.pid), "--name", "c3", "--address", "10.55.66.4");
    expect(ping(c3, "10.55.66.2")).toBe(true);
    router.mustTapir("detach", "c3");
  });

  it("is left as it is with TAPIR_CONFINE=0, and says so", async () => {
    const router = await startRouter(lab(namespace("a"), namespace("b")), { environment: { TAPIR_CONFINE: "0" } });
    expect(router.stderr()).toMatch(/the dataplane is not confined \(TAPIR_CONFINE=0\)/);
    expect(router.stderr()).toMatch(/no_new_privs is not set, no system call filter/);
    expect(confinementOf(dataplaneOf(router))?.filtered).toBe(false);
  });

  it("says what it could not drop where it lacks CAP_SETPCAP, and forwards", async () => {
    const [c1, c2] = [namespace("a"), namespace("b")];
    const router = await startRouter(lab(c1, c2), { under: ["setpriv", "--bounding-set=-setpcap"] });
    expect(router.stderr()).toMatch(/not confined as it could be: it holds capabilities/);
    const pid = dataplaneOf(router);
    expect(confinementOf(pid)?.filtered).toBe(true);
    expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(/^CapEff:\t0+$/m);
    expect(ping(c1, "10.55.66.3")).toBe(true);
  });

  it("lets a profiler write its file", async () => {
    const folder = temporaryFolder();
    const flags = `--cpu-prof --cpu-prof-dir=${join(folder, "profile")}`;
    const router = await startRouter(lab(namespace("a"), namespace("b")), {
      environment: { TAPIR_DATAPLANE_FLAGS: flags },
    });
    expect(router.stderr()).toMatch(/the dataplane can open files \(TAPIR_DATAPLANE_FLAGS\)/);
    await router.stop();
    expect(readdirSync(join(folder, "profile")).filter((name) => name.endsWith(".cpuprofile")).length).toBe(1);
  });
});
