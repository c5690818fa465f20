/**
 * `tapir lab`, run as its users run it. Each test has a mount namespace with a /run of its own, so that the fixed
 * names of the lab's namespaces meet nobody else's.
 */
import { chmodSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { exec, type Result, type Running, requireSystem, spawnIn, TAPIR, temporaryFolder } from "../support/netns.ts";

const NODE = process.execPath;

/** A user without any rights, in no group. */
const AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

interface World {
  run(...words: string[]): Result;
  start(...words: string[]): Running;
  /** Names under /run/netns, and what is left in the lab's folder for temporary files. */
  leftovers(): string[];
}

/** A fresh /run; `tunMode` puts a TUN/TAP device with these permissions in the place of the machine's. */
function worldScript(tunMode?: string): string {
  const tun = [
    "mkdir /run/tun",
    "mount -t tmpfs tmpfs /run/tun",
    "mknod /run/tun/tun c 10 200",
    `chmod ${tunMode} /run/tun/tun`,
    "mount --bind /run/tun/tun /dev/net/tun",
  ];
  return ["mount -t tmpfs tmpfs /run", ...(tunMode === undefined ? [] : tun)].join("\n");
}

const UNSHARE_MOUNTS = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"];

async function world(tunMode?: string): Promise<World> {
  const temporary = temporaryFolder();
  chmodSync(temporary, 0o1777);
  const [unshare, ...unshareWords] = UNSHARE_MOUNTS;
  const holder = spawnIn(undefined, unshare, [...unshareWords, `${worldScript(tunMode)}\necho up\nexec cat`]);
  await holder.until(/^up$/m);
  const enter = ["-t", String(holder.child.pid), "--mount", "env", `TMPDIR=${temporary}`];
  const run = (...words: string[]) => exec(undefined, "nsenter", [...enter, ...words], { timeoutMs: 50_000 });
  return {
    run,
    start: (...words) => spawnIn(undefined, "nsenter", [...enter, ...words]),
    leftovers: () => {
      const names = run("sh", "-c", "ls /run/netns 2>/dev/null").stdout.split("\n");
      return [...names.filter((name) => name !== ""), ...readdirSync(temporary)];
    },
  };
}

const LAB = [NODE, TAPIR, "lab"];

const STEPS = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];

function expectEveryStepOk(result: Result): void {
  expect(result.stdout, result.stderr).not.toContain("FAILED");
  const table = result.stdout.slice(result.stdout.indexOf("Verdict"));
  for (const step of STEPS) expect(table).toMatch(new RegExp(`^${step} .* OK$`, "m"));
  expect(table).toMatch(/^ .*TCP.* OK$/m);
  expect(result.status).toBe(0);
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .split(" ")
    .filter((word) => word !== "")
    .map(Number);
}

describe.skipIf(!requireSystem(["ping", "unshare", "nsenter"], "tapir lab"))("tapir lab", () => {
  it("shows every step and leaves nothing behind", async () => {
    const here = await world();
    const result = here.run(...LAB, "--once");
    expectEveryStepOk(result);
    expect(here.leftovers()).toEqual([]);
    // Packets as tcpdump prints them, from both sides, and no colour where no terminal reads.
    expect(result.stdout).toMatch(
      /IP \(tos 0x0, ttl 63, id \d+, offset 0, flags \[DF\], proto ICMP \(1\), length 84\)/,
    );
    expect(result.stdout).toMatch(/203\.0\.113\.1 > 203\.0\.113\.2: ICMP echo request, id \d+, seq 1, length 64/);
    expect(result.stdout).not.toContain("\u001b");
    for (const line of result.stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(100);
  });

  it("stays up until Ctrl-C, which removes everything", async () => {
    const here = await world();
    const lab = here.start(...LAB);
    await lab.until(/stays up until Ctrl-C/, 50_000);
    const [, socket] = await lab.until(/conntrack -L --socket (\S+)/);
    expect(here.run(NODE, TAPIR, "show", "ports", "--socket", socket).status).toBe(0);
    const ping = ["ip", "netns", "exec", "tapir-c1", "ping", "-n", "-c1", "-W1", "203.0.113.2"];
    expect(here.run(...ping).status).toBe(0);
    expect(await lab.stop("SIGINT")).toBe(0);
    expect(here.leftovers()).toEqual([]);
  });

  it("removes everything when it is interrupted in the middle", async () => {
    for (const [signal, moment] of [
      ["SIGINT", /Step 1/],
      ["SIGTERM", /Step 3/],
    ] as const) {
      const here = await world();
      const lab = here.start(...LAB, "--once");
      await lab.until(moment);
      expect(await lab.stop(signal)).toBe(1);
      expect(lab.stderr()).toContain("tapir: interrupted");
      expect(here.leftovers()).toEqual([]);
    }
  });

  it("ends with 1 and removes everything when the router ends by itself", async () => {
    const here = await world();
    const lab = here.start(...LAB);
    await lab.until(/stays up until Ctrl-C/, 50_000);
    for (const child of childrenOf(lab.child.pid ?? 0)) process.kill(child, "SIGKILL");
    expect(await lab.ended).toBe(1);
    expect(lab.stderr()).toBe("tapir: the router ended by itself\n");
    expect(here.leftovers()).toEqual([]);
  });

  it("runs a command in c1 and ends with its exit code", async () => {
    const here = await world();
    const script = 'ip -4 -br address show dev eth0; ping -n -c1 -W1 203.0.113.2; test -S "$TAPIR_SOCKET" && exit 7';
    const { status, stdout } = here.run(...LAB, "--", "sh", "-c", script);
    expect(stdout).toContain("10.55.66.2/24");
    expect(stdout).toContain(" 0% packet loss");
    expect(stdout).not.toContain("Step");
    expect(status).toBe(7);
    expect(here.leftovers()).toEqual([]);
  });

  it("refuses names that are taken, says how to free them, and leaves them alone", async () => {
    const here = await world();
    here.run("ip", "netns", "add", "tapir-wan");
    const { status, stderr } = here.run(...LAB, "--once");
    expect(stderr).toBe("tapir: tapir-wan exists already: end the other lab, or remove with: ip netns del tapir-wan\n");
    expect(status).toBe(1);
    expect(here.leftovers()).toEqual(["tapir-wan"]);
  });

  it("names the programs that are missing, and their packages", async () => {
    const here = await world();
    const { status, stderr } = here.run("env", "PATH=/nowhere", ...LAB, "--once");
    expect(stderr).toBe(
      "tapir: ip is not installed: apt-get install -y iproute2\ntapir: ping is not installed: apt-get install -y iputils-ping\n",
    );
    expect(status).toBe(1);
  });
});

const forUsers = requireSystem(["ping", "unshare", "nsenter", "setpriv", "mknod"], "tapir lab for ordinary users");

/** Whether a command succeeds in a world where /dev/net/tun has these permissions; says loudly when it does not. */
function isPossible(tunMode: string, command: string[], what: string): boolean {
  const [file, ...args] = UNSHARE_MOUNTS;
  const script = `${worldScript(tunMode)}\nexec ${[...AS_NOBODY, ...command].join(" ")}`;
  if (forUsers && exec(undefined, file, [...args, script]).status === 0) return true;
  const message = `SKIPPED tapir lab for ordinary users: needs ${what}`;
  if (process.env.TAPIR_REQUIRE_ALL === "1") throw new Error(message);
  process.stderr.write(`${message}\n`);
  return false;
}

const CAN_OPEN_TUN = ["sh", "-c", "'exec 3<>/dev/net/tun'"];
const canUse = isPossible(
  "0666",
  ["unshare", "--user", "--map-root-user", "--mount", "--net", ...CAN_OPEN_TUN],
  "user namespaces",
);
const canRefuse = isPossible("0600", ["true"], "a /dev/net/tun of its own");

describe.skipIf(!forUsers)("tapir lab for ordinary users", () => {
  it.skipIf(!canUse)("runs in a user namespace where they may open /dev/net/tun", async () => {
    const here = await world("0666");
    const result = here.run(...AS_NOBODY, ...LAB, "--once");
    expectEveryStepOk(result);
    expect(here.leftovers()).toEqual([]);
  });

  it.skipIf(!canRefuse)("says what is missing where they may not", async () => {
    const here = await world("0600");
    const { status, stderr } = here.run(...AS_NOBODY, ...LAB, "--once");
    expect(stderr).toBe(
      "tapir: cannot open /dev/net/tun (EACCES): run the lab as root, or let users open it: chmod 0666 /dev/net/tun\n",
    );
    expect(status).toBe(5);
    expect(here.leftovers()).toEqual([]);
  });
});
