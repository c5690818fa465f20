/** The commands as a user types them: what they print, their exit codes, and what bad input gets. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
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
import { Address, tapirWorld } from "./worlds.ts";

const canRun = requireSystem(["ping", "setpriv"], "the commands against a running router");

function configFile(text: string): string {
  const file = join(temporaryFolder(), "router.yaml");
  writeFileSync(file, text);
  return file;
}

/** A router that fails to start: its exit code and what it said. */
function failedRun(text: string, netns: string, socket = join(temporaryFolder(), "t.sock")) {
  const { status, stderr } = tapir(["run", "-f", configFile(text), "--socket", socket], { netns });
  const lines = stderr.trim().split("\n");
  return { status, lines, socket };
}

const network = (ports: string): string =>
  `version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24, ports: { ${ports} } } }\n`;

describe.skipIf(!canRun)("a running router", () => {
  it("shows its tables", async () => {
    const world = await tapirWorld();
    const router = world.tapir as NonNullable<typeof world.tapir>;
    expect(ping(world.c1, Address.SERVER)).toBe(true);
    const shown = <T>(table: string): T => JSON.parse(router.mustTapir("show", table, "-j")) as T;

    const ports = shown<{ name: string; state: string; rxFrames: number }[]>("ports");
    expect(ports.map((port) => [port.name, port.state])).toEqual([
      ["c1", "up"],
      ["c2", "up"],
      ["wan", "up"],
    ]);
    expect(ports[0].rxFrames).toBeGreaterThan(0);
    expect(shown<{ port: string }[]>("fdb").some((row) => row.port === "c1")).toBe(true);
    const neighbours = shown<{ address: string; state: string }[]>("neighbours");
    expect(neighbours).toContainEqual(expect.objectContaining({ address: Address.SERVER, state: "reachable" }));
    expect(shown<{ to: string }[]>("routes").map((route) => route.to)).toEqual([
      "10.55.66.0/24",
      "203.0.113.0/24",
      "0.0.0.0/0",
    ]);
    expect(shown("rules")).toMatchObject({ forward: { policy: "accept", rules: [] }, input: { policy: "accept" } });
    expect(shown("nat")).toEqual([
      {
        kind: "masquerade",
        profile: "linux",
        proto: null,
        ports: null,
        fullyRandom: false,
        from: "10.55.66.0/24",
        out: "wan",
        to: Address.UPLINK,
      },
    ]);
    expect(shown<{ flows: number }>("stats").flows).toBe(1);
    expect(shown<{ reason: string; count: number }[]>("drops")).toContainEqual(
      expect.objectContaining({ reason: "routed", count: 2 }),
    );
    for (const table of ["ports", "fdb", "neighbours", "routes", "rules", "nat", "drops", "stats"]) {
      expect(router.mustTapir("show", table).split("\n").length).toBeGreaterThan(1);
    }
  });

  it("prints its flows as conntrack(8) does", async () => {
    const world = await tapirWorld();
    const router = world.tapir as NonNullable<typeof world.tapir>;
    expect(ping(world.c1, Address.SERVER)).toBe(true);
    exec(world.c1, process.execPath, [
      "-e",
      "require('dgram').createSocket('udp4').bind(4000, function () { this.send('x', 9, '203.0.113.2', () => this.close()) })",
    ]);
    const counted = String.raw`packets=\d+ bytes=\d+ `;
    const lines = router.mustTapir("conntrack", "-L").trim().split("\n").sort();
    expect(lines.length).toBe(2);
    expect(lines[0]).toMatch(
      new RegExp(
        String.raw`^icmp     1 \d+ src=10\.55\.66\.2 dst=203\.0\.113\.2 type=8 code=0 id=\d+ ${counted}` +
          String.raw`src=203\.0\.113\.2 dst=203\.0\.113\.1 type=0 code=0 id=\d+ ${counted}mark=0 use=1$`,
      ),
    );
    expect(lines[1]).toMatch(
      new RegExp(
        String.raw`^udp      17 \d+ src=10\.55\.66\.2 dst=203\.0\.113\.2 sport=4000 dport=9 ${counted}\[UNREPLIED\] ` +
          String.raw`src=203\.0\.113\.2 dst=203\.0\.113\.1 sport=9 dport=4000 ${counted}mark=0 use=1$`,
      ),
    );
    expect(router.mustTapir("conntrack", "-C").trim()).toBe("2");
    const withoutTime = (line: string): string => line.replace(/ 17 \d+ /, " 17 ");
    expect(withoutTime(router.mustTapir("conntrack", "-L", "-p", "udp").trim())).toBe(withoutTime(lines[1]));
    expect((JSON.parse(router.mustTapir("conntrack", "-L", "-j")) as unknown[]).length).toBe(2);
  });

  it("attaches a container and detaches it again", async () => {
    const world = await tapirWorld();
    const router = world.tapir as NonNullable<typeof world.tapir>;
    const c3 = namespace("c");
    expect(router.mustTapir("attach", "lab", "--netns", c3, "--name", "c3").trim()).toBe(
      "c3: eth0 10.55.66.4, gateway 10.55.66.1, on lab",
    );
    expect(ping(c3, Address.C1)).toBe(true);
    expect(ping(c3, Address.SERVER)).toBe(true);
    expect(router.tapir("attach", "lab", "--netns", c3, "--name", "c3")).toMatchObject({
      status: 1,
      stderr: "tapir: attach: lab has a port called c3 already\n",
    });
    expect(router.mustTapir("detach", "c3").trim()).toBe("c3: detached from lab");
    expect(exec(c3, "ip", ["link", "show", "eth0"]).status).not.toBe(0);
    expect(ping(world.c1, Address.SERVER)).toBe(true);
    expect(router.tapir("detach", "c3")).toMatchObject({ status: 1 });
    expect(router.tapir("attach", "nowhere", "--netns", c3)).toMatchObject({ status: 1 });
    expect(router.tapir("attach", "lab")).toMatchObject({ status: 2 });
  });

  it("goes on when a container's namespace disappears", async () => {
    const world = await tapirWorld();
    const router = world.tapir as NonNullable<typeof world.tapir>;
    expect(ping(world.c2, Address.SERVER)).toBe(true);
    must(undefined, "ip", ["-n", world.c2, "link", "del", "eth0"]);
    await router.until(/port c2 has failed/);
    expect(ping(world.c1, Address.SERVER)).toBe(true);
    const ports = JSON.parse(router.mustTapir("show", "ports", "-j")) as { name: string; state: string }[];
    expect(ports.find((port) => port.name === "c2")?.state).toMatch(/failed/);
  });

  it("keeps its configuration when SIGHUP finds a wrong one", async () => {
    const world = await tapirWorld();
    const router = world.tapir as NonNullable<typeof world.tapir>;
    router.writeConfig("version: 1\nnetwork: {}\n");
    router.child.kill("SIGHUP");
    await router.until(/stays in force/);
    expect(ping(world.c1, Address.SERVER)).toBe(true);
  });

  it("is alone on its socket", async () => {
    const world = await tapirWorld();
    const { socket } = world.tapir as NonNullable<typeof world.tapir>;
    const { status, lines } = failedRun(
      "version: 1\nnetworks: { lab: { subnet: 10.9.0.0/24 } }\n",
      world.router,
      socket,
    );
    expect(status).toBe(1);
    expect(lines).toEqual([expect.stringMatching(/^tapir: .*(another router is running|answers on)/)]);
    expect(existsSync(socket)).toBe(true);
  });

  it("removes all that it made when it ends", async () => {
    const world = await tapirWorld();
    const router = world.tapir as NonNullable<typeof world.tapir>;
    expect(await router.stop("SIGTERM")).toBe(0);
    expect(exec(world.c1, "ip", ["link", "show", "eth0"]).status).not.toBe(0);
    expect(readdirSync(join(router.socket, ".."))).toEqual(["tapir.yaml"]);
  });
});

describe.skipIf(!canRun)("what cannot run", () => {
  it("is said in one line with its exit code, and leaves nothing behind", () => {
    const netns = namespace("n");
    const c1 = namespace("a");
    const cases: [string, number, RegExp][] = [
      [
        "version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24, gatway: 10.55.66.1 } }\n",
        3,
        /:2:\d+: networks\.lab\.gatway: unknown key "gatway"; did you mean "gateway"\?/,
      ],
      ["version: 1\nnetworks: { a: { subnet: 10.0.0.0/8 }, b: { subnet: 10.55.66.0/24 } }\n", 3, /:2:\d+: .*overlap/],
      [network(`c1: { netns: ${c1}, address: 10.55.67.2 }`), 3, /:2:\d+: networks\.lab\.ports\.c1\.address: /],
      [
        network("c1: { netns: nobody-here, address: 10.55.66.2 }"),
        1,
        /^tapir: port c1: no namespace called nobody-here/,
      ],
      [network("c1: { pid: 4194304, address: 10.55.66.2 }"), 1, /^tapir: port c1: no process/],
      [
        "version: 1\nuplinks: { wan: { kind: packet, device: none0, address: 203.0.113.1/24 } }\n",
        1,
        /^tapir: uplink wan: there is no device called none0/,
      ],
    ];
    for (const [text, status, line] of cases) {
      const failed = failedRun(text, netns);
      expect(failed.lines).toEqual([expect.stringMatching(line)]);
      expect(failed.status).toBe(status);
      expect(existsSync(failed.socket)).toBe(false);
      expect(existsSync(`${failed.socket}.lock`)).toBe(false);
    }
  });

  it("undoes what it had made before it failed", () => {
    const netns = namespace("n");
    const c1 = namespace("a");
    const failed = failedRun(
      network(`c1: { netns: ${c1}, address: 10.55.66.2 }, c2: { netns: nobody-here, address: 10.55.66.3 }`),
      netns,
    );
    expect(failed.status).toBe(1);
    expect(exec(c1, "ip", ["link", "show", "eth0"]).status).not.toBe(0);
  });

  it("does not take a device that is somebody else's, or that the kernel has an address on", () => {
    const netns = namespace("n");
    ip(netns, "link add up0 type veth peer name other");
    ip(netns, "address add 203.0.113.1/24 dev up0");
    const uplink = failedRun(
      "version: 1\nuplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }\n",
      netns,
    );
    expect(uplink.lines).toEqual([expect.stringMatching(/up0 carries the kernel's address 203\.0\.113\.1/)]);
    const c1 = namespace("a");
    ip(c1, "link add eth0 type veth peer name other");
    const port = failedRun(network(`c1: { netns: ${c1}, address: 10.55.66.2 }`), netns);
    expect(port.lines).toEqual([expect.stringMatching(/^tapir: port c1: there is a device called eth0 already/)]);
  });

  it("is refused without privilege, naming the cure", () => {
    const c1 = namespace("a");
    const file = configFile(network(`c1: { netns: ${c1}, address: 10.55.66.2 }`));
    // The file and a folder for the socket must be reachable for the unprivileged user.
    must(undefined, "chmod", ["-R", "a+rX", join(file, "..")]);
    const words = ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, TAPIR, "run", "-f", file];
    const { status, stderr } = exec(undefined, "setpriv", [...words, "--socket", "/tmp/tapir-unprivileged.sock"]);
    expect(stderr.trim().split("\n")).toEqual([expect.stringMatching(/no privilege.*run as root/)]);
    expect(status).toBe(5);
    expect(existsSync("/tmp/tapir-unprivileged.sock.lock")).toBe(false);
  });
});

describe.skipIf(!canRun)("commands without a router", () => {
  it("say that none answers", () => {
    for (const words of [
      ["show", "ports"],
      ["conntrack", "-L"],
      ["detach", "c1"],
      ["attach", "lab", "--netns", "c1"],
    ]) {
      const { status, stderr } = tapir([...words, "--socket", "/nowhere/tapir.sock"]);
      expect(stderr).toBe("tapir: no router answers on /nowhere/tapir.sock: no router runs there\n");
      expect(status).toBe(4);
    }
  });

  it("know wrong usage from right", () => {
    for (const words of [
      ["show"],
      ["show", "cats"],
      ["frobnicate"],
      ["run"],
      ["conntrack"],
      ["attach", "lab", "--netns", "a", "--pid", "x"],
    ]) {
      const { status, stderr } = tapir(words);
      expect([words, status]).toEqual([words, 2]);
      expect(stderr.startsWith("tapir: ")).toBe(true);
    }
    expect(tapir(["--help"])).toMatchObject({ status: 0 });
    expect(tapir(["--version"]).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(tapir(["check", "-f", "/nowhere.yaml"])).toMatchObject({ status: 3 });
  });

  it("stop quietly when their reader has seen enough", async () => {
    const shell = spawnIn(undefined, "sh", ["-c", `"${process.execPath}" "${TAPIR}" --help | head -1`]);
    expect(await shell.ended).toBe(0);
    expect(shell.stderr()).toBe("");
  });
});
