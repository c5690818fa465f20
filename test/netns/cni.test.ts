/** The CNI plugin: called as a runtime calls it, against a running router; and by a real Podman. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  type Call,
  CNI_NEEDS,
  type CniAnswer,
  callPlugin,
  IMAGE,
  PODMAN_NEEDS,
  type Podman,
  pluginFolder,
  startPodman,
} from "../support/cni.ts";
import type { HostRouter } from "../support/container_host.ts";
import {
  exec,
  ip,
  must,
  namespace,
  netnsPath,
  ping,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  temporaryFolder,
  veth,
} from "../support/netns.ts";

const canCall = requireSystem(["ping", "curl", "python3", ...CNI_NEEDS], "the CNI plugin");
const canPodman = requireSystem(["ping", "conntrack", ...PODMAN_NEEDS], "Podman with the CNI plugin");
const OUTSIDE = "203.0.113.2";
const CONFIGURATION = `version: 1
networks: { lab: { subnet: 10.55.66.0/24 } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24, addresses: [ 203.0.113.10/24 ], gateway: ${OUTSIDE} } }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
`;

interface PortRow {
  name: string;
  container?: string;
  state: string;
}

const portsOf = (text: string): PortRow[] => (JSON.parse(text) as PortRow[]).filter(({ name }) => name !== "wan");

function wire(): { home: string; outside: string } {
  const [home, outside] = [namespace("h"), namespace("o")];
  veth({ netns: home, ifname: "up0" }, { netns: outside, ifname: "eth0", address: `${OUTSIDE}/24` });
  return { home, outside };
}

describe.skipIf(!canCall)("calls of a runtime", () => {
  let router: RunningRouter;
  let path: string;
  let folder: string;
  let outside: string;

  const rows = (): PortRow[] => portsOf(router.mustTapir("show", "ports", "-j"));
  const own = (more: object = {}) => ({
    cniVersion: "1.1.0",
    name: "pods",
    type: "tapir",
    network: "lab",
    socket: router.socket,
    ...more,
  });
  /** Debian's host-local speaks 1.0.0. */
  const withIpam = (more: object = {}) =>
    own({
      cniVersion: "1.0.0",
      ipam: {
        type: "host-local",
        dataDir: join(folder, "ipam"),
        ranges: [[{ subnet: "10.55.66.0/24", rangeStart: "10.55.66.100" }]],
        routes: [{ dst: "0.0.0.0/0" }, { dst: "198.51.100.0/24" }],
      },
      ...more,
    });
  const reserved = (): string[] => {
    const files = existsSync(join(folder, "ipam/pods")) ? readdirSync(join(folder, "ipam/pods")) : [];
    return files.filter((name) => name.startsWith("10."));
  };
  const call = (command: string, name: string, configuration: object, more: Partial<Call> = {}): CniAnswer =>
    callPlugin(path, {
      command,
      container: `id-${name}`,
      netns: netnsPath(name),
      ifname: "eth0",
      configuration,
      ...more,
    });

  beforeAll(async () => {
    const wired = wire();
    outside = wired.outside;
    router = await startRouter(CONFIGURATION, { netns: wired.home });
    folder = temporaryFolder();
    path = pluginFolder(folder);
  });

  it("attach, check and detach a container with an address of the router's choice", () => {
    const c1 = namespace("c");
    const { status, said } = call("ADD", c1, own());
    expect(status).toBe(0);
    expect(said).toMatchObject({
      cniVersion: "1.1.0",
      interfaces: [{ name: "eth0", mac: expect.stringMatching(/^02:/), mtu: 1500, sandbox: netnsPath(c1) }],
      ips: [{ address: "10.55.66.2/24", gateway: "10.55.66.1", interface: 0 }],
      routes: [{ dst: "0.0.0.0/0", gw: "10.55.66.1" }],
    });
    expect(ping(c1, OUTSIDE)).toBe(true);
    expect(rows()).toMatchObject([{ container: `id-${c1}`.slice(0, 12), state: "up" }]);
    const checked = own({ prevResult: said });
    expect(call("CHECK", c1, checked)).toEqual({ status: 0, said: {} });
    ip(c1, "addr del 10.55.66.2/24 dev eth0");
    expect(call("CHECK", c1, checked).said).toMatchObject({
      code: 101,
      msg: expect.stringMatching(/no 10\.55\.66\.2/),
    });
    ip(c1, "link del eth0");
    expect(call("CHECK", c1, checked).said).toMatchObject({ code: 101 });
    for (let time = 0; time < 2; time++) expect(call("DEL", c1, own())).toEqual({ status: 0, said: {} });
    expect(rows()).toEqual([]);
    expect(call("CHECK", c1, checked).said).toMatchObject({ code: 101, msg: expect.stringMatching(/has no port/) });
  });

  it("take addresses and routes from host-local, and give them back whatever goes wrong", () => {
    const [c1, c2] = [namespace("c"), namespace("c")];
    const { said } = call("ADD", c1, withIpam());
    expect(said.ips).toEqual([{ address: "10.55.66.100/24", gateway: "10.55.66.1", interface: 0 }]);
    expect(ip(c1, "route show")).toMatch(/^default via 10\.55\.66\.1 [\s\S]*198\.51\.100\.0\/24 via 10\.55\.66\.1 /);
    expect(call("CHECK", c1, withIpam({ prevResult: said })).status).toBe(0);
    expect(reserved()).toEqual(["10.55.66.100"]);
    // A device of that name is there already.
    ip(c2, "link add eth0 type veth peer name v0");
    expect(call("ADD", c2, withIpam()).said).toMatchObject({ code: 100, msg: expect.stringMatching(/eth0 already/) });
    expect(reserved()).toEqual(["10.55.66.100"]);
    // The second network of a container leaves its default route alone.
    const second = call("ADD", c1, withIpam(), { ifname: "eth1", args: "IgnoreUnknown=1;IP=10.55.66.150" });
    expect(second.said.ips[0].address).toBe("10.55.66.150/24");
    expect(ip(c1, "route show default").trim()).toMatch(/dev eth0$/);
    must(undefined, "ip", ["netns", "del", c1]);
    for (const ifname of ["eth1", "eth0", "eth0"]) {
      expect(call("DEL", c1, withIpam(), { ifname })).toEqual({ status: 0, said: {} });
    }
    expect(reserved()).toEqual([]);
    expect(rows()).toEqual([]);
  });

  it("publish ports that are reached from outside, limit bandwidth, and outlive another configuration", async () => {
    const c1 = namespace("c");
    must(c1, "sh", ["-c", `mkdir ${folder}/www && echo inside > ${folder}/www/index.html`]);
    const runtimeConfig = {
      mac: "02:42:00:00:00:09",
      ips: ["10.55.66.9/24"],
      bandwidth: { ingressRate: 8_000_000, ingressBurst: 1_000_000, egressRate: 16_000_000, egressBurst: 1_000_000 },
      portMappings: [
        { hostPort: 8080, containerPort: 80, protocol: "tcp" },
        { hostPort: 81, containerPort: 80, protocol: "tcp", hostIP: "203.0.113.10" },
      ],
    };
    const configuration = own({ runtimeConfig });
    const { said } = call("ADD", c1, configuration);
    expect(said.interfaces[0].mac).toBe("02:42:00:00:00:09");
    const port = JSON.parse(router.mustTapir("show", "config", "-j")).networks.lab.ports;
    expect(Object.values(port)).toMatchObject([
      {
        address: "10.55.66.9",
        rateLimit: { bytesPerSecond: 2_000_000 },
        impair: { direction: "out", rate: "8000000bit" },
      },
    ]);
    const server = spawnIn(c1, "python3", ["-um", "http.server", "-d", join(folder, "www"), "80"]);
    await server.until(/Serving/);
    const fetched = (place: string) => exec(outside, "curl", ["-sm3", `http://${place}/`]).stdout.trim();
    expect([fetched("203.0.113.1:8080"), fetched("203.0.113.10:81")]).toEqual(["inside", "inside"]);
    const taken = call(
      "ADD",
      namespace("c"),
      own({ runtimeConfig: { portMappings: [runtimeConfig.portMappings[0]] } }),
    );
    expect(taken.said).toMatchObject({ code: 7, msg: expect.stringMatching(/published already/) });
    router.writeConfig(`${CONFIGURATION}filter: { input: { policy: accept } }\n`);
    router.child.kill("SIGHUP");
    await router.until(/has been read again/);
    router.mustTapir("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9", "-j", "DROP");
    expect(fetched("203.0.113.1:8080")).toBe("inside");
    expect(call("CHECK", c1, { ...configuration, prevResult: said }).status).toBe(0);
    // Who takes the rules away is heard.
    router.mustTapir("iptables", "-t", "nat", "-F", "PREROUTING");
    expect(call("CHECK", c1, { ...configuration, prevResult: said }).said).toMatchObject({ code: 101 });
    expect(fetched("203.0.113.1:8080")).toBe("");
    expect(call("DEL", c1, configuration).status).toBe(0);
    expect(router.mustTapir("show", "nat")).not.toMatch(/publish/);
  });

  it("collect what no valid attachment has, of their own network alone", () => {
    const names = [namespace("c"), namespace("c"), namespace("c")];
    const [kept, stale, other] = names;
    expect([call("ADD", kept, own()).status, call("ADD", stale, own()).status]).toEqual([0, 0]);
    expect(call("ADD", other, own({ name: "others" })).status).toBe(0);
    const valid = { "cni.dev/valid-attachments": [{ containerID: `id-${kept}`, ifname: "eth0" }] };
    expect(callPlugin(path, { command: "GC", configuration: own(valid) })).toEqual({ status: 0, said: {} });
    expect(rows().map(({ container }) => container)).toEqual([kept, other].map((name) => `id-${name}`.slice(0, 12)));
    expect(exec(stale, "ip", ["link", "show", "eth0"]).status).not.toBe(0);
    expect(ping(kept, OUTSIDE)).toBe(true);
    expect(callPlugin(path, { command: "STATUS", configuration: own() }).status).toBe(0);
    const nowhere = callPlugin(path, { command: "STATUS", configuration: own({ network: "nowhere" }) });
    expect(nowhere.said).toMatchObject({ code: 50 });
    expect(call("ADD", stale, own({ network: "nowhere" })).said).toMatchObject({ code: 7 });
    expect([call("DEL", kept, own()).status, call("DEL", other, own({ name: "others" })).status]).toEqual([0, 0]);
    expect(rows()).toEqual([]);
  });
});

describe.skipIf(!canPodman)("Podman with the plugin", () => {
  let podman: Podman;
  let router: HostRouter;
  let home: string;
  let outside: string;

  const containers = () => portsOf(router.tapir("show", "ports", "-j")).map(({ container }) => container);
  const pings = (name: string, address: string): boolean =>
    podman.podman("exec", name, "ping", "-c1", "-W2", address).status === 0;
  const fetched = () =>
    exec(outside, "curl", ["-sm3", "--retry", "3", "--retry-connrefused", "http://203.0.113.1:8080/"]).stdout.trim();
  const capabilities = { portMappings: true, ips: true, mac: true };

  beforeAll(async () => {
    if (!canPodman) return;
    ({ home, outside } = wire());
    const ipam = { type: "host-local", ranges: [[{ subnet: "10.55.66.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] };
    podman = await startPodman(home, (socket) => {
      const own = { type: "tapir", socket, capabilities, ipam: { ...ipam, dataDir: "/run/ipam" } };
      return [{ name: "lab", plugins: [own, { type: "tuning", sysctl: { "net.core.somaxconn": "500" } }] }];
    });
    router = await podman.startRouter(CONFIGURATION);
  });

  it("runs containers that reach each other and the world, and are reached by published ports", () => {
    const serve = "echo web > /www/index.html; exec httpd -f -p 80 -h /www";
    const web = podman.must("run", "-d", "--name", "web", "-p", "8080:80", IMAGE, "sh", "-c", serve);
    const fixed = ["--ip", "10.55.66.9", "--mac-address", "02:42:00:00:00:09"];
    const c2 = podman.must("run", "-d", "--name", "c2", ...fixed, IMAGE, "sleep", "999");
    const address = podman.must("inspect", "web", "-f", "{{.NetworkSettings.Networks.lab.IPAddress}}");
    expect(address).toMatch(/^10\.55\.66\.\d+$/);
    expect(podman.must("exec", "c2", "cat", "/sys/class/net/eth0/address")).toBe("02:42:00:00:00:09");
    // By the plugin behind it in the list.
    expect(podman.must("exec", "c2", "cat", "/proc/sys/net/core/somaxconn")).toBe("500");
    expect([pings("c2", address), pings("web", "10.55.66.9"), pings("c2", OUTSIDE)]).toEqual([true, true, true]);
    expect(router.tapir("conntrack", "-L", "-p", "icmp")).toMatch(
      /src=10\.55\.66\.9 dst=203\.0\.113\.2 .*dst=203\.0\.113\.1 /,
    );
    expect(fetched()).toBe("web");
    expect(containers()).toEqual([web, c2].map((id) => id.slice(0, 12)));
  });

  it("leaves the kernel nothing to do: no forwarding, no bridge, no rules, no flows", () => {
    expect(must(home, "cat", ["/proc/sys/net/ipv4/ip_forward"]).trim()).toBe("0");
    expect(ip(home, "-o link show type bridge")).toBe("");
    expect(exec(home, "conntrack", ["-L"]).stdout).toBe("");
    expect(must(home, "iptables-save", [])).not.toMatch(/^-A/m);
  });

  it("lets go of containers that end, and gives those back that a router has lost", async () => {
    podman.must("rm", "-f", "-t0", "c2");
    expect(containers()).toHaveLength(1);
    await router.stop();
    router = await podman.startRouter(CONFIGURATION);
    expect(containers()).toEqual([]);
    podman.must("network", "reload", "web");
    expect(fetched()).toBe("web");
    podman.must("rm", "-f", "-t0", "web");
    expect(containers()).toEqual([]);
    expect(podman.inside("sh", ["-c", "ls /run/ipam/lab"]).stdout).not.toMatch(/^10\./m);
  });
});
