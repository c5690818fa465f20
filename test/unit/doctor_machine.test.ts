/** What the doctor says of machines that lack something: each fact by itself, against a machine that has all. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { effectiveCapabilities } from "../../src/control/doctor/capabilities.ts";
import { exitCodeOf, type Finding, missing, ok, problem, warning } from "../../src/control/doctor/finding.ts";
import { checkMachine, type MachineFacts, TOOLS } from "../../src/control/doctor/machine.ts";
import { limitOf, namesakes } from "../../src/control/doctor/machine_facts.ts";
import { ExitCode } from "../../src/control/errors.ts";

const GOOD: MachineFacts = {
  node: "v20.19.0",
  kernel: "6.2.0-26-generic",
  cpus: 4,
  hasRing: true,
  capabilities: 0x1ffffffffffn,
  namespaces: [{ name: "c1", isNamespace: true }],
  probe: { offloads: 0x67 },
  openFiles: { soft: 1024, hard: 1_048_576 },
  lockedBytes: 8 << 20,
  commands: TOOLS.map(({ name }) => name),
  iproute2: "iproute2-6.1.0",
  namesakes: [],
};

const troubles = (change: Partial<MachineFacts>): Finding[] =>
  checkMachine({ ...GOOD, ...change }).filter(({ status }) => status !== "ok");

/** A machine that lacks one thing: what is said of it, and the exit code. */
const LACKING: [string, Partial<MachineFacts>, { check: string; status: string; cure: RegExp }, ExitCode][] = [
  ["an old Node.js", { node: "v20.18.3" }, { check: "Node.js", status: "problem", cure: /20\.19/ }, 5],
  ["another old Node.js", { node: "v18.20.0" }, { check: "Node.js", status: "problem", cure: /20\.19/ }, 5],
  ["an addon of another Node.js", { addonError: "x" }, { check: "addon", status: "problem", cure: /build:native/ }, 5],
  ["a kernel without USO", { kernel: "6.1.0-18" }, { check: "kernel", status: "warning", cure: /6\.2/ }, 0],
  ["an ancient kernel", { kernel: "4.19.0" }, { check: "kernel", status: "problem", cure: /5\.4/ }, 1],
  ["no io_uring", { hasRing: false }, { check: "io_uring", status: "warning", cure: /io_uring_disabled/ }, 0],
  ["one processor", { cpus: 1 }, { check: "processors", status: "warning", cure: /second/ }, 0],
  ["no TUN device", { tunError: "ENOENT" }, { check: "/dev/net/tun", status: "problem", cure: /modprobe tun/ }, 5],
  ["no TUN driver", { tunError: "ENODEV" }, { check: "/dev/net/tun", status: "problem", cure: /modprobe tun/ }, 5],
  ["a closed TUN", { tunError: "EACCES" }, { check: "/dev/net/tun", status: "problem", cure: /chmod 0666/ }, 5],
  [
    "a leftover",
    { namespaces: [{ name: "old", isNamespace: false }] },
    { check: "/run/netns", status: "warning", cure: /ip netns del old/ },
    0,
  ],
  ["no offloads", { probe: { offloads: 0x20 } }, { check: "TAP offloads", status: "warning", cure: /TSO/ }, 0],
  ["no USO", { probe: { offloads: 0x07 } }, { check: "TAP offloads", status: "warning", cure: /6\.2/ }, 0],
  [
    "no packet sockets",
    { probe: { offloads: 0x67, packetError: "EAFNOSUPPORT" } },
    { check: "packet sockets", status: "problem", cure: /AF_PACKET/ },
    5,
  ],
  ["nothing tried", { probe: { error: "EPERM" } }, { check: "offloads", status: "warning", cure: /as root/ }, 0],
  [
    "few descriptors",
    { openFiles: { soft: 64, hard: 96 } },
    { check: "open files", status: "warning", cure: /-Hn/ },
    0,
  ],
  ["a namesake", { namesakes: ["/opt/tapir"] }, { check: "name", status: "warning", cure: /PATH/ }, 0],
];

describe("the doctor of machines", () => {
  it("finds nothing wrong with a good one", () => {
    expect(troubles({})).toEqual([]);
    expect(troubles({ namespaces: undefined } as never)).toEqual([]);
    expect(troubles({ openFiles: { soft: 1024, hard: Infinity }, lockedBytes: Infinity })).toEqual([]);
    for (const node of ["v22.0.0", "v24.3.1", "v20.20.2"]) expect(troubles({ node })).toEqual([]);
  });

  it.each(LACKING)("names %s and the cure", (_, change, { check, status, cure }, exitCode) => {
    const found = troubles(change);
    expect(found).toMatchObject([{ check, status, cure: expect.stringMatching(cure) }]);
    expect(exitCodeOf(found)).toBe(exitCode);
  });

  it.each([
    ["CAP_NET_ADMIN", 12],
    ["CAP_NET_RAW", 13],
    ["CAP_SYS_ADMIN", 21],
  ])("misses %s alone", (name, bit) => {
    const found = troubles({ capabilities: GOOD.capabilities & ~(1n << BigInt(bit)) });
    expect(found).toMatchObject(
      [{ check: name, status: "problem", missing: true, cure: /root/ }].map(({ cure: _, ...x }) => x),
    );
    expect(found[0].cure).toContain("root");
  });

  it("reads the effective capabilities of a process", () => {
    expect(effectiveCapabilities("CapPrm:\t000001ffffffffff\nCapEff:\t0000000000203000\n")).toBe(0x203000n);
    expect(effectiveCapabilities("Name:\tx\n")).toBe(0n);
  });

  it.each(TOOLS.map((tool) => [tool.name, tool] as const))("misses the command %s", (name, tool) => {
    const found = troubles({ commands: GOOD.commands.filter((each) => each !== name) });
    const status = tool.isNeeded === true ? "problem" : "warning";
    expect(found).toMatchObject([{ check: "commands", status, cure: `apt-get install -y ${tool.package}` }]);
  });

  it("says something of a machine that has no command at all", () => {
    const found = troubles({ commands: [] });
    expect(found.length).toBe(TOOLS.length);
    expect(exitCodeOf(found)).toBe(ExitCode.PRIVILEGE);
  });

  it("has a cure for everything that is not well", () => {
    for (const [, change] of LACKING) for (const { cure } of troubles(change)) expect(cure).toMatch(/\w/);
  });
});

describe("the exit code of a diagnosis", () => {
  it("is 5 when something is missing, else 1 with a problem, else 0", () => {
    const [good, bad, worse, worst] = [
      ok("a", "b"),
      warning("a", "b", "c"),
      problem("a", "b", "c"),
      missing("a", "b", "c"),
    ];
    expect(exitCodeOf([])).toBe(0);
    expect(exitCodeOf([good, bad])).toBe(0);
    expect(exitCodeOf([good, worse, bad])).toBe(1);
    expect(exitCodeOf([worst, worse, bad])).toBe(5);
  });
});

describe("facts of a machine", () => {
  it("are read from /proc/PID/limits", () => {
    const text = [
      "Limit                     Soft Limit           Hard Limit           Units     ",
      "Max open files            1024                 524288               files     ",
      "Max locked memory         8388608              unlimited            bytes     ",
    ].join("\n");
    expect(limitOf(text, "Max open files")).toEqual({ soft: 1024, hard: 524_288 });
    expect(limitOf(text, "Max locked memory")).toEqual({ soft: 8_388_608, hard: Infinity });
    expect(limitOf(text, "Max cpu time")).toEqual({ soft: Infinity, hard: Infinity });
  });

  it("know this program behind links", () => {
    const folder = mkdtempSync(join(tmpdir(), "tapir-doctor-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    for (const name of ["own", "other", "bin"]) mkdirSync(join(folder, name));
    const own = join(folder, "own/main.js");
    const link = join(folder, "bin/tapir");
    const other = join(folder, "other/tapir");
    writeFileSync(own, "");
    writeFileSync(other, "");
    chmodSync(other, 0o755);
    symlinkSync(own, link);
    expect(namesakes([link, other, own], [own])).toEqual([other]);
  });
});
