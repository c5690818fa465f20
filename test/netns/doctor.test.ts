/** `tapir doctor` on this machine: with rights taken away, with things in the way, and beside real routers. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  exec,
  ip,
  namespace,
  ping,
  type Result,
  requireSystem,
  spawnIn,
  startRouter,
  TAPIR,
  tapir,
  temporaryFolder,
  uniqueName,
  veth,
} from "../support/netns.ts";

interface Line {
  section: string;
  check: string;
  status: string;
  finding: string;
  cure?: string;
}

/** All lines of a diagnosis as JSON. */
function linesOf({ stdout }: Result): Line[] {
  const { sections } = JSON.parse(stdout) as { sections: { title: string; findings: Line[] }[] };
  return sections.flatMap(({ title, findings }) => findings.map((line) => ({ ...line, section: title })));
}

const problems = (result: Result): string[] =>
  linesOf(result)
    .filter(({ status }) => status === "problem")
    .map(({ check, finding }) => `${check}: ${finding}`);

interface Written {
  file: string;
  socket: string;
}

/** A configuration whose socket is in a folder of the test's own. */
function write(ports: string, rest = ""): Written {
  const folder = temporaryFolder();
  const socket = join(folder, "tapir.sock");
  const file = join(folder, "tapir.yaml");
  const networks = `networks: { lab: { subnet: 10.55.66.0/24, ports: { ${ports} } } }`;
  writeFileSync(file, `version: 1\n${networks}\ncontrol: { socket: ${socket} }\n${rest}`);
  return { file, socket };
}

const port = (netns: string, host: number): string => `c${host}: { netns: ${netns}, address: 10.55.66.${host} }`;
const WAN = "uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }\n";
const MANY = "setpriv ethtool unshare";

describe.skipIf(!requireSystem(["ping", ...MANY.split(" ")], "tapir doctor"))("tapir doctor", () => {
  it("finds this machine fit, and says so line by line", () => {
    const { file, socket } = write("");
    const result = tapir(["doctor", "-f", file]);
    expect(result).toMatchObject({ status: 0, stderr: "" });
    expect(result.stdout).toMatch(/^ {2}ok {7}\/dev\/net\/tun +opens$/m);
    expect(result.stdout).toMatch(/^ {2}ok {7}CAP_NET_ADMIN +held$/m);
    expect(result.stdout).toMatch(/TAP offloads +checksum and TCP segmentation/);
    expect(result.stdout).toContain(`router          none runs on ${socket}`);
    expect(result.stdout).toMatch(/\n\n0 problems, \d+ warnings?\n$/);
  });

  it.each(["net_admin", "net_raw", "sys_admin"])("misses the capability %s, and ends with 5", (capability) => {
    const { file } = write("");
    const result = exec(undefined, "setpriv", [
      `--bounding-set=-${capability}`,
      process.execPath,
      TAPIR,
      "doctor",
      "-j",
      "-f",
      file,
    ]);
    expect(result.status).toBe(5);
    expect(problems(result)).toContainEqual(expect.stringMatching(`^CAP_${capability.toUpperCase()}: not held`));
    expect(JSON.parse(result.stdout).exitCode).toBe(5);
  });

  it("tells an ordinary user what is missing", () => {
    const words = ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, TAPIR, "doctor"];
    const { status, stdout } = exec(undefined, "setpriv", words);
    expect(status).toBe(5);
    expect(stdout).toMatch(/PROBLEM {2}CAP_SYS_ADMIN +not held, .*: run as root/);
    expect(stdout).toMatch(/warning {2}offloads +could not be tried/);
  });

  it("leaves nothing behind of what it tries", () => {
    const here = namespace();
    const before = ip(here, "-br link");
    tapir(["doctor"], { netns: here });
    expect(ip(here, "-br link")).toBe(before);
  });

  it("names what is in the way of a configuration, until it is not any more", () => {
    const [router, c2] = [namespace("r"), namespace("c")];
    const absent = uniqueName("gone");
    // The file that it was mounted on stays.
    const unmounted = namespace("u");
    exec(undefined, "umount", [`/run/netns/${unmounted}`]);
    veth({ netns: router, ifname: "up0", address: "203.0.113.1/24" }, { netns: c2, ifname: "eth0" });
    ip(router, "link add br0 type bridge");
    ip(router, "address add 10.55.66.129/25 dev br0");
    ip(router, "link set br0 up");
    exec(router, "sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    const { file } = write(`${port(c2, 2)}, ${port(absent, 3)}, ${port(unmounted, 4)}`, WAN);
    const sick = tapir(["doctor", "-j", "-f", file], { netns: router });
    expect(sick.status).toBe(1);
    expect(problems(sick)).toEqual([
      `port c2: there is a device called eth0 in ${c2} already`,
      `port c3: there is no namespace called ${absent}`,
      `port c4: there is no namespace called ${unmounted}`,
      "uplink wan: up0 carries the kernel's address 203.0.113.1, and both would answer",
    ]);
    const warned = linesOf(sick).filter(({ section, status }) => section === file && status === "warning");
    expect(warned.map(({ check }) => check)).toEqual(["network lab", "ip_forward"]);

    ip(router, "address flush dev up0");
    ip(router, "link del br0");
    exec(router, "sh", ["-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]);
    ip(c2, "link set eth0 name out0");
    const good = write(port(c2, 2), WAN);
    const cured = tapir(["doctor", "-j", "-f", good.file], { netns: router });
    expect(cured.status, cured.stdout).toBe(0);
    const found = linesOf(cured).filter(({ section }) => section === good.file);
    expect(found.filter(({ status }) => status !== "ok")).toEqual([]);
    expect(found).toContainEqual(expect.objectContaining({ check: "uplink wan" }));
  });

  it("names a device that is not there, and one of another namespace", () => {
    const { file } = write("", WAN);
    const result = tapir(["doctor", "-j", "-f", file], { netns: namespace() });
    expect(result.status).toBe(1);
    expect(problems(result)).toEqual(["uplink wan: there is no device called up0 here"]);
  });

  it("refuses wrong words and an invalid configuration", () => {
    const file = join(temporaryFolder(), "bad.yaml");
    writeFileSync(file, "version: 1\nnetwork: {}\n");
    const { status, stderr } = tapir(["doctor", "-f", file]);
    expect(status).toBe(3);
    expect(stderr).toContain(`${file}:2:1`);
    expect(tapir(["doctor", "--seconds", "0"]).status).toBe(2);
    expect(tapir(["doctor", "--seconds", "11"]).status).toBe(2);
  });
});

const LAB = (c2: string): string =>
  `version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24, ports: { ${port(c2, 2)} } } }\nfilter: { input: { policy: drop } }\n`;

describe.skipIf(!requireSystem(["ping"], "tapir doctor beside a router"))("tapir doctor beside a router", () => {
  it("calls a healthy one healthy, and gives its drops", async () => {
    const c2 = namespace();
    const router = await startRouter(LAB(c2));
    expect(ping(c2, "10.55.66.1")).toBe(false);
    const { status, stdout } = router.tapir("doctor", "--seconds", "0.1");
    expect(status, stdout).toBe(0);
    expect(stdout).toMatch(/router +version \S+, process \d+, up for \d+ seconds?/);
    expect(stdout).toMatch(/ports +1 of 1 up/);
    expect(stdout).toMatch(/table flows +\d+ of 262144/);
    expect(stdout).toMatch(/drops +[1-9]\d* frames? since the start/);
    expect(stdout).toMatch(/invariants +all hold/);
    // The devices of its own configuration are not in its way.
    expect(router.tapir("doctor", "--seconds", "0.1", "-f", router.configFile).status).toBe(0);
  });

  it("names a port that has failed", async () => {
    const c2 = namespace();
    const router = await startRouter(LAB(c2));
    ip(undefined, `netns del ${c2}`);
    await router.until(/has failed/);
    const result = router.tapir("doctor", "-j", "--seconds", "0.1");
    expect(result.status).toBe(1);
    expect(problems(result)).toEqual(["port c2: failed (its namespace is gone)"]);
  });

  it("names a table that is nearly full", async () => {
    const c2 = namespace();
    const router = await startRouter(`${LAB(c2)}limits: { macs: 1 }\n`);
    ping(c2, "10.55.66.1");
    const result = router.tapir("doctor", "-j", "--seconds", "0.1");
    expect(result.status).toBe(1);
    expect(problems(result)).toEqual(["table macs: 1 of 1 (100.0 %)"]);
  });

  it("names a dataplane that hangs", async () => {
    const router = await startRouter(LAB(namespace()));
    const children = exec(undefined, "cat", [`/proc/${router.child.pid}/task/${router.child.pid}/children`]).stdout;
    const dataplane = Number(children.split(" ")[0]);
    process.kill(dataplane, "SIGSTOP");
    const result = router.tapir("doctor", "-j");
    expect(result.status).toBe(1);
    // Its clock and the unanswered request tell at about the same time.
    const reason = /the dataplane has ended \(it has (hung|not answered) for 10 s\)/;
    expect(problems(result)).toContainEqual(expect.stringMatching(reason));
    // It has been ended: another one is in its place.
    await router.until(/works again after/);
    expect(() => process.kill(dataplane, 0)).toThrow("ESRCH");
  });

  it("misses a router where one was asked for, and tells what is there instead", async () => {
    const folder = temporaryFolder();
    const socket = join(folder, "s");
    const look = () => tapir(["doctor", "-j", "--socket", socket]);
    expect(look().status).toBe(1);
    expect(problems(look())).toEqual([`router: none runs on ${socket}`]);
    const listener = `require("net").createServer((s) => s.end("x\\n")).listen(${JSON.stringify(socket)}, () => console.log("up"))`;
    const stranger = spawnIn(undefined, process.execPath, ["-e", listener]);
    await stranger.until(/up/);
    expect(problems(look())).toEqual([expect.stringContaining("no healthy router answers")]);
    await stranger.stop("SIGKILL");
    expect(look().status).toBe(0);
    expect(linesOf(look())).toContainEqual(
      expect.objectContaining({
        check: "router",
        status: "warning",
        finding: `${socket} was left by a router that died`,
      }),
    );
  });
});
