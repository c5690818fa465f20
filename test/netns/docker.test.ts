/** Docker's containers behind a router: a real dockerd, its networks made with the driver. */
import { beforeAll, describe, expect, it } from "vitest";
import { DOCKER_NEEDS, type Docker, type DockerRouter, IMAGE, startDocker } from "../support/docker.ts";
import { exec, ip, must, namespace, requireSystem, veth } from "../support/netns.ts";

const canRun = requireSystem(["conntrack", "ping", ...DOCKER_NEEDS], "networks for Docker");
const SERVE = "echo $HOSTNAME > /www/index.html; exec httpd -f -p 80 -h /www";

interface PortRow {
  name: string;
  interface: string;
  container?: string;
  device: string;
  state: string;
}

let docker: Docker;
let router: DockerRouter;
let home: string;
let outside: string;

const configuration = () => `version: 1
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24, addresses: [ 203.0.113.10/24 ], gateway: 203.0.113.2 } }
docker: { state: ${docker.folder}/state.json, engine: ${docker.folder}/docker.sock }
`;

const portRows = (): PortRow[] => JSON.parse(router.tapir("show", "ports", "-j")) as PortRow[];
const containers = () => portRows().flatMap(({ container }) => container ?? []);
const start = (name: string, ...words: string[]): string =>
  docker.must("run", "-d", "--name", name, "--hostname", name, ...words);
const web = (name: string, ...words: string[]): string => start(name, ...words, IMAGE, "sh", "-c", SERVE);
const inside = (name: string, ...words: string[]) => docker.docker("exec", name, ...words);
const pings = (name: string, address: string): boolean => inside(name, "ping", "-c1", "-W2", address).status === 0;
const fetches = (name: string, url: string): string => inside(name, "wget", "-qO-", url).stdout.trim();
const fetchesOutside = (url: string): string =>
  exec(outside, "curl", ["-sm3", "--retry", "3", "--retry-connrefused", url]).stdout.trim();

beforeAll(async () => {
  if (!canRun) return;
  [home, outside] = [namespace("h"), namespace("o")];
  veth({ netns: home, ifname: "up0" }, { netns: outside, ifname: "eth0", address: "203.0.113.2/24" });
  docker = await startDocker(home);
  router = await docker.startRouter(configuration());
  docker.must("network", "create", "-d", "tapir", "--subnet", "10.55.66.0/24", "-o", "name=lab", "lab");
});

describe.skipIf(!canRun)("docker run --network with the driver", () => {
  it("gives containers addresses, each other, the world by MASQUERADE, and published ports", () => {
    web("web", "--network", "lab", "-p", "8080:80", "-p", "203.0.113.10:81-82:80-81");
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
    // By hairpin.
    expect(fetches("c2", "http://203.0.113.1:8080/")).toBe("web");
    expect(containers().sort()).toEqual(["c2", "web"]);
    expect(docker.must("inspect", "web", "-f", "{{.NetworkSettings.Networks.lab.IPAddress}}")).toBe("10.55.66.2");
  });

  it("leaves the kernel nothing to do: no forwarding, no bridge, no rules, no flows", () => {
    expect(docker.inside("cat", ["/proc/sys/net/ipv4/ip_forward"]).stdout.trim()).toBe("0");
    expect(ip(home, "-o link show type bridge")).toBe("");
    const devices = ip(home, "-o link show").match(/^\d+: \S+/gm);
    expect(devices?.map((line) => line.split(" ")[1].split("@")[0].replace(":", ""))).toEqual(["lo", "up0"]);
    expect(exec(home, "conntrack", ["-L"]).stdout).toBe("");
    expect(must(home, "iptables-save", [])).not.toMatch(/^-A/m);
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
    expect(pings("in", "203.0.113.2")).toBe(false);
    expect(pings("in", "10.55.66.2")).toBe(false);
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
    const names = Array.from({ length: 4 }, (_, index) => `m${index}`);
    const started = await Promise.all(
      names.map((name) =>
        docker.dockerAsync("run", "-d", "--name", name, "--network", "lab", "-p", "80", IMAGE, "sleep", "999"),
      ),
    );
    expect(started.map(({ status, stderr }) => (status === 0 ? "" : stderr))).toEqual(names.map(() => ""));
    for (const name of [names[0], names[3]]) expect(pings(name, "203.0.113.2")).toBe(true);
    expect(router.tapir("show", "nat").match(/203\.0\.113\.1:49\d{3}/g)).toHaveLength(4);
    docker.must("rm", "-f", ...names);
    expect(containers().sort()).toEqual(["c2", "web"]);
  });

  it("keeps Docker's networks over a change of everything else, and over its own restart; and lets go of what Docker ends", async () => {
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
