/** The router as a service: what systemd is told, and the unit in packaging/. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import {
  exec,
  execAsync,
  namespace,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  temporaryFolder,
  uniqueName,
} from "../support/netns.ts";

const canRun = requireSystem(["python3", "curl"], "what a service manager is told");
const canVerify = requireSystem(["systemd-analyze"], "the systemd unit");
const UNIT = join(packageRoot(), "packaging/tapir.service");

/** Prints what it is sent, a line a message. */
const LISTENER = `
import socket, sys
path = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\\0" + path[1:] if path[0] == "@" else path)
print("listening", flush=True)
while True:
    print(listener.recv(4096).decode().replace("\\n", " "), flush=True)
`;

async function startNotified(path: string, environment: Record<string, string> = {}) {
  const manager = spawnIn(undefined, "python3", ["-c", LISTENER, path]);
  await manager.until(/listening/);
  const text = `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: ${namespace("c")}, address: 10.55.66.2 } } } }
`;
  const router = await startRouter(text, { environment: { NOTIFY_SOCKET: path, ...environment } });
  return { manager, router, heard: (word: string) => manager.stdout().split(word).length - 1 };
}

function dataplaneOf({ child }: RunningRouter): number {
  const found = readdirSync("/proc").find((pid) => {
    try {
      return readFileSync(`/proc/${pid}/status`, "utf8").includes(`\nPPid:\t${child.pid}\n`);
    } catch {
      // No process, or one that has ended meanwhile.
      return false;
    }
  });
  return Number(found);
}

async function ask(router: RunningRouter): Promise<void> {
  const words = ["-sSf", "--unix-socket", router.socket, "http://router/v1/names"];
  expect((await execAsync(undefined, "curl", words)).status).toBe(0);
}

/** Asks until the answer is yes; the time is bounded by the test's. */
async function eventually(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

describe.skipIf(!canRun)("a service manager", () => {
  it("is told that the router is ready, reads its file again, and ends", async () => {
    const { manager, router } = await startNotified(join(temporaryFolder(), "notify"));
    await manager.until(/^READY=1 STATUS=1 ports, socket \/.*tapir\.sock$/m);
    router.child.kill("SIGHUP");
    await manager.until(/^RELOADING=1 MONOTONIC_USEC=\d+\nREADY=1 /m);
    expect(await router.stop()).toBe(0);
    await manager.until(/^STOPPING=1 /m);
    expect(manager.stdout()).not.toMatch(/WATCHDOG/);
  });

  it("has its watchdog fed while the dataplane answers, and only then", async () => {
    // An abstract name; the watchdog wants to be fed within 30 ms, and is every 10.
    const { router, heard } = await startNotified(`@${uniqueName("n")}`, { WATCHDOG_USEC: "30000" });
    await eventually(() => heard("WATCHDOG=1") >= 3);
    const dataplane = dataplaneOf(router);
    process.kill(dataplane, "SIGSTOP");
    try {
      // What needs no dataplane is answered. One feed may be under way; the requests that follow take longer than the
      // time between two.
      await ask(router);
      const fed = heard("WATCHDOG=1");
      for (let requests = 0; requests < 5; requests++) await ask(router);
      expect(heard("WATCHDOG=1")).toBe(fed);
    } finally {
      process.kill(dataplane, "SIGCONT");
    }
    const before = heard("WATCHDOG=1");
    await eventually(() => heard("WATCHDOG=1") >= before + 2);
    expect(await router.stop()).toBe(0);
  });
});

describe.skipIf(!canVerify)("the systemd unit", () => {
  it("is understood, and open to little", () => {
    const unit = readFileSync(UNIT, "utf8");
    const verified = exec(undefined, "systemd-analyze", ["verify", "--man=no", UNIT]);
    expect([verified.status, verified.stderr]).toEqual([0, ""]);
    const security = exec(undefined, "systemd-analyze", ["security", "--offline=true", "--threshold=50", UNIT]);
    expect(security.status, security.stdout).toBe(0);
    expect(unit).toMatch(/^Type=notify$/m);
  });

  it("allows the system calls that confining the dataplane takes", () => {
    const allowed = (unit: string): string[] => /^SystemCallFilter=(.*)$/m.exec(unit)?.[1].split(" ") ?? [];
    const sets = exec(undefined, "systemd-analyze", ["syscall-filter"]).stdout;
    const calls = new Set<string>();
    const add = (name: string): void => {
      if (!name.startsWith("@")) {
        calls.add(name);
        return;
      }
      const body = new RegExp(`^${name}\\n((?:    .*\\n)*)`, "m").exec(sets)?.[1] ?? "";
      const lines = body.split("\n").map((each) => each.trim());
      lines.filter((line) => line !== "" && !line.startsWith("#")).forEach(add);
    };
    allowed(readFileSync(UNIT, "utf8")).forEach(add);
    const needed = ["seccomp", "capset", "prctl", "io_uring_setup", "io_uring_enter", "io_uring_register", "setns"];
    for (const call of [...needed, "unshare", "mount", "umount2", "epoll_pwait2", "memfd_create", "pkey_mprotect"]) {
      expect([call, calls.has(call)]).toEqual([call, true]);
    }
    expect(["ptrace", "bpf", "init_module", "reboot"].filter((call) => calls.has(call))).toEqual([]);
  });
});
