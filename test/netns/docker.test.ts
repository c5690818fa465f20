/** Docker's containers behind a router: a real dockerd, its networks made with the driver. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import type { HostRouter } from "../support/container_host.ts";
import { DOCKER_NEEDS, type Docker, IMAGE, startDocker } from "../support/docker.ts";
import {
  exec,
  ip,
  must,
  namespace,
  type Result,
  type Running,
  requireSystem,
  spawnIn,
  veth,
} from "../support/netns.ts";

const canRun = requireSystem(["conntrack", "ping", ...DOCKER_NEEDS], "networks for Docker");
const SERVE = "echo $HOSTNAME > /www/index.html; exec httpd -f -p 80 -h /www";

interface PortRow {
  name: string;
  interface: string;
  container?: string;
  device: string;
  state: string;
}

const PEERS = join(packageRoot(), "test/netns/peers");

let docker: Docker;
let router: HostRouter;
let home: string;
let outside: string;

const configuration = () => `version: 1
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24, addresses: [ 203.0.113.10/24 ], gateway: 203.0.113.2 } }
networks: { hand: { subnet: 10.55.68.0/24 } }
nat: { masquerade: [ { from: 10.55.68.0/24, out: wan } ] }
docker: { state: ${docker.folder}/state.json, engine: ${docker.folder}/docker.sock }
`;

const portRows = (): PortRow[] => JSON.parse(router.tapir("show", "ports", "-j")) as PortRow[];
const containers = () => portRows().flatMap(({ container }) => container ?? []);
const start = (name: string, ...words: string[]): string =>
  docker.must("run", "-d", "--name", name, "--hostname", name, ...words);
const web = (name: string, ...words: string[]): string => start(name, ...words, IMAGE, "sh", "-c", SERVE);
const inside = (name: string, ...words: string[]) => docker.docker("exec", name, ...words);
const pings = (name: string, address: string): boolean => inside(name, "ping", "-c1", "-W2", address).status === 0;
const isSilent = (name: string, address: string): boolean => inside(name, "ping", "-c1", "-W1", address).status === 1;
const fetches = (name: string, url: string): string => inside(name, "wget", "-qO-", url).stdout.trim();
const fetchesOutside = (url: string): string =>
  exec(outside, "curl", ["-sm3", "--retry", "3", "--retry-connrefused", url]).stdout.trim();

/** The number that the kernel has given the device, which no other one ever has. */
const deviceOf = (name: string): string => inside(name, "cat", "/sys/class/net/eth0/ifindex").stdout.trim();

/** Connections from a container to the outside that go on sending until they are told to end. */
async function transfers(name: string, count: number): Promise<Running> {
  await spawnIn(outside, process.execPath, [join(PEERS, "peer.mjs"), "serve", "203.0.113.2", "7000"]).until(
    /listening/,
  );
  const pid = docker.must("inspect", "-f", "{{.State.Pid}}", name);
  const words = [join(PEERS, "steady.mjs"), "up", "203.0.113.2", "7000", String(count)];
  const running = spawnIn(undefined, "nsenter", ["-t", pid, "-n", process.execPath, ...words]);
  await running.until(/going/);
  return running;
}

beforeAll(async () => {
  if (!canRun) return;
  [home, outside] = [namespace("h"), namespace("o")];
  veth({ netns: home, ifname: "up0" }, { netns: outside, ifname: "eth0", address: "203.0.113.2/24" });
  docker = await startDocker(home);
  router = await docker.startRouter(configuration());
  writeFileSync(join(docker.folder, "index.html"), "outside\n");
  spawnIn(outside, "busybox", ["httpd", "-f", "-p", "203.0.113.2:80", "-h", docker.folder]);
  docker.must("network", "create", "-d", "tapir", "--subnet", "10.55.66.0/24", "-o", "name=lab", "lab");
});

describe.skipIf(!canRun)("docker run --network with the driver", () => {
  it("gives containers addresses, each other, the world by MASQUERADE, and published ports", () => {
    web("web", "--restart", "always", "--network", "lab", "-p", "8080:80", "-p", "203.0.113.10:81-82:80-81");
    start("c2", "--network", "lab", "--ip", "10.55.66.9", "--mac-address", "02:42:00:00:00:09", IMAGE, "sleep", "999");
    expect(inside("c2", "ip", "-o", "addr", "show", "dev", "eth0").stdout).toContain("10.55.66.9/24");
    expect(inside("c2", "cat", "/sys/class/net/eth0/address").stdout.trim()).toBe("02:42:00:00:00:09");
    expect(pings("c2", "web")).toBe(true);
    expect(pings("c2", "203.0.113.2")).toBe(true);
    expect(router.tapir("conntrack", "-L", "-p", "icmp")).toMatch(
      /src=10\.55\.66\.9 dst=203\.0\.113\.2 .*dst=203\.0\.113\.1 /,
    );
    expect(fetchesOutside("http://203.0.113.1:8080/")).toBe("web");
    expect(fetchesOutside("http://203.0.113.10:81/")).toBe("web");
    expect(fetches("c2", "http://203.0.113.2/")).toBe("outside");
    // By hairpin.
    expect(fetches("c2", "http://203.0.113.1:8080/")).toBe("web");
    expect(containers().sort()).toEqual(["c2", "web"]);
    expect(docker.must("inspect", "web", "-f", "{{.NetworkSettings.Networks.lab.IPAddress}}")).toBe("10.55.66.2");
  });

  it("says in Docker's own words what cannot be", () => {
    const create = (...words: string[]) => docker.docker("network", "create", "-d", "tapir", ...words, "wrong").stderr;
    expect(create("--subnet", "10.55.70.0/24", "-o", "masquerad=false")).toMatch(
      /unknown option "masquerad"; did you mean/,
    );
    expect(create("--subnet", "203.0.113.0/25")).toMatch(/203\.0\.113\.1\/24 overlaps/);
    const taken = docker.docker("run", "--name", "taken", "--network", "lab", "-p", "8080:80", IMAGE, "echo");
    expect(taken.stderr).toMatch(/tcp port 8080 is published already/);
    docker.must("rm", "-f", "taken");
    expect(containers()).not.toContain("taken");
  });

  it("connects and disconnects running containers, and keeps internal networks in", () => {
    docker.must(
      "network",
      "create",
      "-d",
      "tapir",
      "--subnet",
      "10.55.67.0/24",
      "--internal",
      "-o",
      "mtu=1400",
      "inner",
    );
    docker.must("network", "connect", "inner", "c2");
    expect(inside("c2", "cat", "/sys/class/net/eth1/mtu").stdout.trim()).toBe("1400");
    start("in", "--network", "inner", "--cap-add", "NET_ADMIN", IMAGE, "sleep", "999");
    expect(pings("in", "c2")).toBe(true);
    expect(inside("in", "ip", "route").stdout).not.toContain("default");
    docker.must("exec", "in", "ip", "route", "add", "default", "via", "10.55.67.1");
    expect(isSilent("in", "203.0.113.2")).toBe(true);
    expect(isSilent("in", "10.55.66.2")).toBe(true);
    expect(router.tapir("show", "drops")).toMatch(/network-isolated/);
    expect(pings("c2", "203.0.113.2")).toBe(true);
    docker.must("network", "disconnect", "inner", "c2");
    expect(inside("c2", "ip", "-o", "link").stdout).not.toContain("eth1");
    docker.must("rm", "-f", "in");
    docker.must("network", "rm", "inner");
    expect(
      portRows()
        .map((row) => row.interface)
        .sort(),
    ).toEqual(["lab", "lab", "wan"]);
  });

  it("takes many containers at once", async () => {
    const names = Array.from({ length: 30 }, (_, index) => `m${index}`);
    const HostConfig = { NetworkMode: "lab", PortBindings: { "80/tcp": [{ HostPort: "" }] } };
    const wish = { Image: IMAGE, Cmd: ["sleep", "999"], HostConfig, ExposedPorts: { "80/tcp": {} } };
    const started = await Promise.all(
      names.map(async (name) => {
        await docker.api("POST", `/containers/create?name=${name}`, wish);
        return (await docker.api("POST", `/containers/${name}/start`)).text;
      }),
    );
    expect(started).toEqual(names.map(() => ""));
    for (const name of [names[0], names[29]]) expect(pings(name, "203.0.113.2")).toBe(true);
    expect(router.tapir("show", "nat").match(/203\.0\.113\.1:49\d{3}/g)).toHaveLength(30);
    expect(portRows().filter(({ interface: network, state }) => network === "lab" && state === "up")).toHaveLength(32);
    docker.must("rm", "-f", ...names);
    expect(containers().sort()).toEqual(["c2", "web"]);
  }, 180_000);

  it("leaves the kernel nothing to do: no forwarding, no bridge, no rules, no flows", () => {
    expect(docker.inside("cat", ["/proc/sys/net/ipv4/ip_forward"]).stdout.trim()).toBe("0");
    expect(ip(home, "-o link show type bridge")).toBe("");
    const devices = ip(home, "-o link show").match(/^\d+: \S+/gm);
    expect(devices?.map((line) => line.split(" ")[1].split("@")[0].replace(":", ""))).toEqual(["lo", "up0"]);
    expect(exec(home, "conntrack", ["-L"]).stdout).toBe("");
    expect(must(home, "iptables-save", [])).not.toMatch(/^-A/m);
  });
  it("leaves a container without a network to tapir attach, on other networks than Docker's", async () => {
    start("alone", "--network", "none", IMAGE, "sleep", "999");
    const pid = docker.must("inspect", "-f", "{{.State.Pid}}", "alone");
    expect(() => router.tapir("attach", "lab", "--pid", pid)).toThrow(
      /a network of Docker's \(docker network connect\)/,
    );
    router.tapir("attach", "hand", "--pid", pid, "--name", "alone");
    expect(pings("alone", "203.0.113.2")).toBe(true);
    docker.must("rm", "-f", "alone");
    await router.until(/alone: detached from hand/);
  });
});

/** What starts a router is in hooks: it is to live longer than one test. */
describe.skipIf(!canRun)("a router whose control process is killed", () => {
  let device: string;
  let running: Running;
  let started: Promise<Result>;

  beforeAll(async () => {
    device = deviceOf("c2");
    running = await transfers("c2", 3);
    await router.kill();
    // Docker asks again until somebody answers.
    started = docker.dockerAsync("run", "-d", "--name", "c3", "--network", "lab", IMAGE, "sleep", "999");
    if (!pings("c2", "203.0.113.2")) throw new Error("the dataplane does not forward on");
    router = await docker.startRouter(configuration());
  });

  it("is followed by one that has the same devices and connections, and goes on with what Docker has asked for", async () => {
    expect(router.stderr()).toMatch(/took over the dataplane of process \d+: 3 devices/);
    expect(router.stderr()).not.toMatch(/made again/);
    expect((await started).status).toBe(0);
    expect(pings("c3", "c2")).toBe(true);
    expect(deviceOf("c2")).toBe(device);
    expect(fetchesOutside("http://203.0.113.1:8080/")).toBe("web");
  });

  it("may become another program while connections go on", async () => {
    router.tapir("upgrade");
    expect(pings("c3", "203.0.113.2")).toBe(true);
    docker.must("rm", "-f", "c3");
    docker.must("network", "create", "-d", "tapir", "--subnet", "10.55.67.0/24", "late");
    docker.must("network", "rm", "late");
    expect(containers().sort()).toEqual(["c2", "web"]);
    expect(deviceOf("c2")).toBe(device);
    running.child.stdin?.write("over\n");
    expect((await running.until(/"same":(\d+)/))[1]).toBe("3");
  });
});

describe.skipIf(!canRun)("a dockerd that is killed", () => {
  beforeAll(async () => {
    await docker.restartDaemon();
  });

  it("has its containers' ports again, and forgets those that it does not start again", async () => {
    docker.must("start", "c2");
    expect(pings("c2", "web")).toBe(true);
    expect(fetchesOutside("http://203.0.113.1:8080/")).toBe("web");
    expect(containers().sort()).toEqual(["c2", "web"]);
    expect(portRows().filter(({ state }) => state !== "up")).toEqual([]);
  });
});

describe.skipIf(!canRun)("a router that restarts", () => {
  it("keeps Docker's networks, as over a change of everything else, and lets go of what Docker ends", async () => {
    router.tapir("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9", "-j", "DROP");
    expect(fetchesOutside("http://203.0.113.1:8080/")).toBe("web");
    router.child.kill("SIGHUP");
    await router.until(/has been read again/);
    expect(fetchesOutside("http://203.0.113.1:8080/")).toBe("web");
    await router.stop();
    router = await docker.startRouter(configuration());
    expect(router.stderr()).toMatch(/2 devices of running containers have been made again/);
    expect(inside("c2", "cat", "/sys/class/net/eth0/address").stdout.trim()).toBe("02:42:00:00:00:09");
    expect(pings("c2", "web")).toBe(true);
    expect(pings("c2", "203.0.113.2")).toBe(true);
    expect(fetchesOutside("http://203.0.113.1:8080/")).toBe("web");
    const device = deviceOf("c2");
    await router.kill();
    router = await docker.startRouter(configuration());
    expect(router.stderr()).not.toMatch(/made again/);
    expect(deviceOf("c2")).toBe(device);
    expect(pings("c2", "web")).toBe(true);
    docker.must("restart", "-t0", "web");
    expect(fetchesOutside("http://203.0.113.1:8080/")).toBe("web");
    docker.must("kill", "c2");
    expect(containers()).toEqual(["web"]);
    expect(fetchesOutside("http://203.0.113.1:8080/")).toBe("web");
    docker.must("rm", "-f", "web", "c2");
    docker.must("network", "rm", "lab");
    expect(portRows().map(({ name }) => name)).toEqual(["wan"]);
    expect(router.tapir("show", "config")).not.toMatch(/docker: [0-9a-f]/);
  });
});
