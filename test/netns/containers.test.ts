/** Containers that were made by others than Tapir and Docker's networks: attached by hand, or by a hook of their runtime. */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  exec,
  must,
  namespace,
  onCleanup,
  ping,
  type Result,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  TAPIR,
  temporaryFolder,
  uniqueName,
  veth,
} from "../support/netns.ts";

const canRun = requireSystem(["unshare", "nsenter", "ping"], "containers that are attached by hand");
const hasRunc = requireSystem(["runc", "busybox"], "containers of runc");
const hasPodman = requireSystem(["podman", "runc", "busybox"], "containers of podman");

const SERVER = "203.0.113.2";
const CONFIGURATION = `version: 1
networks: { lab: { subnet: 10.55.66.0/24 } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: ${SERVER} } }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
`;
const APPLETS = ["sh", "cat", "ip", "ping", "sleep"];

let router: RunningRouter;

const ports = (): string[] =>
  (JSON.parse(router.mustTapir("show", "ports", "-j")) as { name: string; state: string }[])
    .filter(({ name }) => name !== "wan")
    .map(({ name, state }) => `${name} ${state}`);

async function untilGone(): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (ports().length > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(ports()).toEqual([]);
}

/** A folder with a busybox, as a container's root. */
function busyboxRoot(): string {
  const root = join(temporaryFolder(), "rootfs");
  for (const name of ["bin", "dev", "etc", "proc", "sys", "tmp", "run"])
    mkdirSync(join(root, name), { recursive: true });
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
  return root;
}

/** The hook as a bundle or a file of podman's has it. */
const hook = (...more: string[]) => ({
  path: process.execPath,
  args: ["node", TAPIR, "oci-hook", "--socket", router.socket, ...more],
});

beforeAll(async () => {
  if (!canRun) return;
  const [home, outside] = [namespace("h"), namespace("o")];
  veth({ netns: home, ifname: "up0" }, { netns: outside, ifname: "eth0", address: `${SERVER}/24` });
  router = await startRouter(CONFIGURATION, { netns: home });
});

describe.skipIf(!canRun)("tapir attach --pid", () => {
  /** A process with a network of its own, which says so. */
  const container = async () => {
    const running = spawnIn(undefined, "unshare", ["--net", "sh", "-c", "echo up; exec cat"]);
    await running.until(/up/);
    return running;
  };

  it("gives the process's namespace an eth0, and takes the port back with its end", async () => {
    const first = await container();
    expect(router.mustTapir("attach", "lab", "--pid", String(first.child.pid), "--name", "c1")).toBe(
      "c1: eth0 10.55.66.2, gateway 10.55.66.1, on lab\n",
    );
    const inside = ["-t", String(first.child.pid), "-n", "ping", "-c1", "-W2", SERVER];
    expect(exec(undefined, "nsenter", inside).status).toBe(0);
    await first.stop("SIGKILL");
    await untilGone();
    // Its name and its address are free again.
    const second = await container();
    expect(router.mustTapir("attach", "lab", "--pid", String(second.child.pid), "--name", "c1")).toMatch(
      /10\.55\.66\.2,/,
    );
    expect(router.mustTapir("detach", "c1")).toBe("c1: detached from lab\n");
    await second.stop("SIGKILL");
    expect(router.stderr()).not.toMatch(/detach: no container/);
  });

  it("does not take the router's own namespace for a container's", () => {
    const { status, stderr } = router.tapir("attach", "lab", "--pid", String(router.child.pid));
    expect([status, stderr]).toEqual([1, expect.stringMatching(/is in the router's own namespace, and no container/)]);
    expect(router.tapir("attach", "lab", "--pid", "4194304").stderr).toMatch(/there is no process 4194304/);
  });
});

describe.skipIf(!canRun)("tapir attach --netns", () => {
  it("keeps the port for a namespace that goes, and has it again when the namespace is back", async () => {
    const name = namespace("c");
    router.mustTapir("attach", "lab", "--netns", name, "--name", "named");
    expect(ping(name, SERVER)).toBe(true);
    must(undefined, "ip", ["netns", "del", name]);
    await router.until(/port named has failed \(its namespace is gone\)/);
    expect(ports()).toEqual(["named failed (its namespace is gone)"]);
    must(undefined, "ip", ["netns", "add", name]);
    router.mustTapir("attach", "lab", "--netns", namespace("d"), "--name", "next");
    expect(ports()).toEqual(["named up", "next up"]);
    for (const each of ["named", "next"]) router.mustTapir("detach", each);
    expect(ports()).toEqual([]);
  });
});

describe.skipIf(!canRun || !hasRunc)("a bundle whose hooks call tapir oci-hook", () => {
  let folder: string;
  const runc = (...words: string[]): Result => exec(undefined, "runc", ["--root", join(folder, "state"), ...words]);

  /** A bundle that runs a command, with a root of busybox. */
  const bundle = (args: string[], annotations: Record<string, string>): string => {
    const root = busyboxRoot();
    const place = join(root, "..");
    must(undefined, "runc", ["spec", "--bundle", place]);
    const file = join(place, "config.json");
    const config = JSON.parse(readFileSync(file, "utf8"));
    Object.assign(config.process, { terminal: false, args });
    Object.assign(config.process.capabilities, { bounding: ["CAP_NET_RAW"], effective: ["CAP_NET_RAW"] });
    Object.assign(config.process.capabilities, { permitted: ["CAP_NET_RAW"] });
    config.annotations = annotations;
    config.hooks = { createRuntime: [hook("lab")], poststop: [hook()] };
    writeFileSync(file, JSON.stringify(config));
    return place;
  };

  beforeAll(() => {
    folder = temporaryFolder();
  });

  it("has its device before the first program runs, and nothing after it", async () => {
    const name = uniqueName("r");
    const place = bundle(["ping", "-c1", "-W2", SERVER], {});
    const { status, stdout, stderr } = runc("run", "--bundle", place, name);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/1 packets received/);
    await untilGone();
  });

  it("has the name and address of its annotations, until it is deleted", async () => {
    const id = uniqueName("r");
    const place = bundle(["sleep", "999"], { "tapir.name": "web", "tapir.address": "10.55.66.9" });
    const { status, stderr } = exec(undefined, "sh", [
      "-c",
      `exec runc --root ${folder}/state run -d --bundle ${place} ${id} </dev/null >${folder}/log 2>&1`,
    ]);
    onCleanup(() => void runc("delete", "-f", id));
    expect([status, stderr]).toEqual([0, ""]);
    expect(ports()).toEqual(["web up"]);
    expect(runc("exec", id, "ip", "-o", "addr", "show", "dev", "eth0").stdout).toContain("10.55.66.9/24");
    expect(runc("delete", "-f", id).stderr).toBe("");
    await untilGone();
  });

  it("does not come up where the hook fails, and leaves nothing", () => {
    const place = bundle(["sleep", "1"], { "tapir.address": "192.0.2.1" });
    const { status, stderr } = runc("run", "--bundle", place, uniqueName("r"));
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/192\.0\.2\.1/);
    expect(ports()).toEqual([]);
    expect(runc("list", "-q").stdout).toBe("");
  });
});

describe.skipIf(!canRun || !hasPodman)("podman run --network none", () => {
  let folder: string;
  const podman = (...words: string[]): Result =>
    exec(undefined, "podman", [
      ...["--root", join(folder, "root"), "--runroot", join(folder, "run"), "--tmpdir", join(folder, "tmp")],
      ...["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"],
      ...["--runtime", "runc"],
      ...["--hooks-dir", join(folder, "hooks"), ...words],
    ]);

  beforeAll(() => {
    folder = temporaryFolder();
    mkdirSync(join(folder, "hooks"));
    const when = { annotations: { "^tapir[.]network$": "." } };
    const file = { version: "1.0.0", hook: hook(), when, stages: ["createRuntime", "poststop"] };
    writeFileSync(join(folder, "hooks/tapir.json"), JSON.stringify(file));
  });

  it("gives containers with an annotation an eth0 by a hook, and others one by their process", async () => {
    // Podman asks for more than who starts it may have.
    const limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
    const words = ["run", "-d", "--network", "none", "--cap-add", "NET_RAW", ...limits];
    const root = busyboxRoot();
    onCleanup(() => void podman("rm", "-f", "-t", "0", "-a"));
    const first = podman(
      ...words,
      "--annotation",
      "tapir.network=lab",
      "--name",
      "a",
      "--rootfs",
      root,
      "sleep",
      "999",
    );
    expect([first.status, first.stderr]).toEqual([0, ""]);
    const second = podman(...words, "--name", "b", "--rootfs", busyboxRoot(), "sleep", "999");
    expect([second.status, second.stderr]).toEqual([0, ""]);
    expect(ports()).toEqual([`${first.stdout.slice(0, 12)} up`]);
    const pid = podman("inspect", "-f", "{{.State.Pid}}", "b").stdout.trim();
    router.mustTapir("attach", "lab", "--pid", pid, "--name", "b");
    expect(podman("exec", "b", "ping", "-c1", "-W2", "10.55.66.2").status).toBe(0);
    expect(podman("rm", "-f", "-t", "0", "a", "b").stderr).toBe("");
    await untilGone();
  });
});
