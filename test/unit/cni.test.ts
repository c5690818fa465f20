/** The CNI plugin's protocol: versions, variables, configurations, results, errors; IPAM; what the router is asked. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { portName } from "../../src/cni/wish.ts";
import { ATTACHED, CniWorld, NETNS } from "../support/cni_unit.ts";

let world: CniWorld;

beforeEach(async () => {
  world = new CniWorld();
  await world.listen();
});
afterEach(() => world.close());

const NAME = portName("lab", { containerId: "c0ffee", ifname: "eth0" });
const GIVEN = { ips: [{ address: "10.55.66.7/24", gateway: "10.55.66.1" }], routes: [{ dst: "198.51.100.0/24" }] };
const IPAM = { ipam: { type: "fake" } };

describe("the protocol", () => {
  it("tells its versions, in the version that is asked in", async () => {
    const supportedVersions = ["0.4.0", "1.0.0", "1.1.0"];
    for (const cniVersion of supportedVersions) {
      expect(await world.run({ CNI_COMMAND: "VERSION" }, JSON.stringify({ cniVersion }))).toEqual({
        status: 0,
        said: { cniVersion, supportedVersions },
      });
    }
  });

  it.each([
    ["CNI_COMMAND", "FROB"],
    ["CNI_COMMAND", ""],
    ["CNI_CONTAINERID", ""],
    ["CNI_CONTAINERID", "-a"],
    ["CNI_CONTAINERID", "a/b"],
    ["CNI_IFNAME", ""],
    ["CNI_IFNAME", ".."],
    ["CNI_IFNAME", "a name"],
    ["CNI_IFNAME", "sixteen-letters-"],
    ["CNI_NETNS", ""],
    ["CNI_NETNS", "c1"],
    ["CNI_ARGS", "IP"],
  ])("refuses the variable %s=%s with code 4, by its name", async (name, value) => {
    const { status, said } = await world.call("ADD", {}, { [name]: value });
    expect([status, said.code]).toEqual([1, 4]);
    expect(said.msg).toMatch(new RegExp(`^${name} `));
    expect(world.asked).toEqual([]);
  });

  it("says what is no configuration: nothing 5, no JSON 6, no name 7", async () => {
    const variables = world.variables("ADD");
    expect((await world.run(variables, " ")).said).toMatchObject({ code: 5, cniVersion: "1.1.0" });
    for (const text of ["{", "[]", "7"]) expect((await world.run(variables, text)).said).toMatchObject({ code: 6 });
    for (const name of [undefined, "", "-x", 7]) {
      expect((await world.call("ADD", { name })).said).toMatchObject({ code: 7 });
    }
    expect((await world.call("ADD", { socket: "tapir.sock" })).said).toMatchObject({ code: 7 });
    expect((await world.call("ADD", { ipam: { type: "../sh" } })).said).toMatchObject({ code: 7 });
  });

  it("refuses versions that it does not speak, and commands that a version does not have, with code 1", async () => {
    for (const cniVersion of [undefined, "0.3.1", "1.2.0", 1]) {
      expect((await world.call("ADD", { cniVersion })).said).toMatchObject({ code: 1 });
    }
    for (const command of ["GC", "STATUS"]) {
      const { said } = await world.call(command, { cniVersion: "1.0.0", "cni.dev/valid-attachments": [] });
      expect(said).toMatchObject({ code: 1, cniVersion: "1.0.0" });
    }
  });

  it.each([
    [{ netwrok: "lab" }, /"netwrok": "lab"; did you mean "network"\?/],
    [{ ipMasq: true }, /"ipMasq": true/],
    [{ capabilities: { portMapping: true } }, /"portMapping": true .*did you mean "portMappings"\?/],
    [{ runtimeConfig: { aliases: ["a"] } }, /"aliases": \["a"\]/],
    [{ runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 1, protocol: "sctp" }] } }, /"protocol": "sctp"/],
    [{ runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 1, hostIP: "::1" }] } }, /"hostIP": "::1"/],
  ])("names the field %j that is not supported, with code 2", async (more, text) => {
    expect((await world.call("ADD", more)).said).toMatchObject({ code: 2, msg: expect.stringMatching(text) });
    expect(world.asked).toEqual([]);
    // What was made under it can be taken away.
    expect((await world.call("DEL", more)).status).toBe(0);
  });

  it.each([
    { portMappings: [{ hostPort: 0, containerPort: 80 }] },
    { portMappings: [{ hostPort: 80, containerPort: 65_536 }] },
    { portMappings: {} },
    { mac: "02:00" },
    { ips: ["10.55.66.7/24", "10.55.66.8/24"] },
    { ips: ["fd00::1/64"] },
    { bandwidth: { egressRate: -1 } },
  ])("refuses %j with code 7", async (runtimeConfig) => {
    expect((await world.call("ADD", { runtimeConfig })).said).toMatchObject({ code: 7 });
    expect(world.asked).toEqual([]);
  });

  it("knows no container without a namespace", async () => {
    for (const command of ["ADD", "CHECK"]) {
      const { said } = await world.call(command, { prevResult: {} }, { CNI_NETNS: "/nowhere/ns" });
      expect(said.code).toBe(command === "ADD" ? 3 : 101);
    }
  });
});

describe("ADD", () => {
  it("answers in the words of each version", async () => {
    const mac = ATTACHED.mac;
    const rest = { routes: [], dns: {} };
    const address = { address: "10.55.66.7/24", gateway: "10.55.66.1", interface: 0 };
    const expected: Record<string, object> = {
      "0.4.0": { interfaces: [{ name: "eth0", mac, sandbox: NETNS }], ips: [{ version: "4", ...address }] },
      "1.0.0": { interfaces: [{ name: "eth0", mac, sandbox: NETNS }], ips: [address] },
      "1.1.0": { interfaces: [{ name: "eth0", mac, mtu: 1400, sandbox: NETNS }], ips: [address] },
    };
    for (const [cniVersion, result] of Object.entries(expected)) {
      expect(await world.call("ADD", { cniVersion })).toEqual({ status: 0, said: { cniVersion, ...result, ...rest } });
    }
  });

  it("asks for a port by a name that follows from network, container and interface", async () => {
    await world.call("ADD", { network: "inner", dns: { nameservers: ["203.0.113.53"] } });
    const cni = { network: "lab", container: "c0ffee" };
    expect(world.bodies).toEqual([
      { network: "inner", netns: NETNS, name: NAME, ifname: "eth0", cni, defaultRoute: false },
    ]);
    expect(NAME).toMatch(/^cni-[0-9a-f]{11}$/);
    const others = [
      portName("lab", { containerId: "c0ffee", ifname: "eth1" }),
      portName("lab", { containerId: "c0ffe", ifname: "eeth0" }),
      portName("labc", { containerId: "0ffee", ifname: "eth0" }),
    ];
    expect(new Set([NAME, ...others]).size).toBe(4);
  });

  it("turns capabilities into keys of the port", async () => {
    const portMappings = [
      { hostPort: 8080, containerPort: 80, protocol: "TCP", hostIP: "" },
      { hostPort: 53, containerPort: 5353, protocol: "udp", hostIP: "203.0.113.10" },
      ...[9000, 9001, 9002].map((port) => ({ hostPort: port, containerPort: port - 1000, protocol: "tcp" })),
    ];
    const bandwidth = { ingressRate: 8000, ingressBurst: 80_000, egressRate: 16_007, egressBurst: 1 };
    await world.call("ADD", {
      runtimeConfig: { portMappings, bandwidth, mac: "02:42:00:00:00:09", ips: ["10.55.66.9/24"] },
    });
    expect(world.bodies[0]).toMatchObject({
      address: "10.55.66.9",
      mac: "02:42:00:00:00:09",
      publish: [
        { proto: "tcp", port: 8080, to: 80 },
        { proto: "udp", address: "203.0.113.10", port: 53, to: 5353 },
        { proto: "tcp", port: "9000-9002", to: "8000-8002" },
      ],
      rateLimit: { bytesPerSecond: 2000 },
      impair: { direction: "out", rate: "8000bit", limit: 7 },
    });
    await world.call("ADD", { runtimeConfig: { bandwidth: { ingressRate: 0, egressRate: 0 } } });
    expect(world.bodies[1]).not.toHaveProperty("rateLimit");
    expect(world.bodies[1]).not.toHaveProperty("impair");
  });

  it("takes address and hardware address from CNI_ARGS and args too", async () => {
    const args = { CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=a=b;IP=10.55.66.9;MAC=02:42:00:00:00:09" };
    await world.call("ADD", {}, args);
    await world.call("ADD", { args: { cni: { ips: ["10.55.66.9"], mac: "02:42:00:00:00:09" }, labels: {} } });
    for (const body of world.bodies) expect(body).toMatchObject({ address: "10.55.66.9", mac: "02:42:00:00:00:09" });
    expect(world.bodies).toHaveLength(2);
  });

  it("adds to the result of the plugin before it", async () => {
    const prevResult = {
      cniVersion: "1.1.0",
      interfaces: [{ name: "lo", sandbox: NETNS, socketPath: "/x" }],
      ips: [{ address: "127.0.0.1/8", interface: 0 }],
      dns: { nameservers: ["203.0.113.53"] },
    };
    const { said } = await world.call("ADD", { prevResult, dns: { domain: "lab", nameservers: ["203.0.113.54"] } });
    expect(said).toMatchObject({
      interfaces: [{ name: "lo", socketPath: "/x" }, { name: "eth0" }],
      ips: [
        { address: "127.0.0.1/8", interface: 0 },
        { address: "10.55.66.7/24", interface: 1 },
      ],
      dns: { domain: "lab", nameservers: ["203.0.113.53"] },
    });
    expect((await world.call("ADD", { prevResult: { ips: "none" } })).said).toMatchObject({ code: 6 });
  });

  it.each([
    [404, 7],
    [400, 7],
    [409, 100],
    [500, 100],
    [503, 11],
  ])("says what the router says: its status %i is code %i", async (status, code) => {
    world.replies["POST /v1/ports"] = { status, body: { error: "configuration: no\nand no" } };
    const { said } = await world.call("ADD");
    expect(said).toEqual({ cniVersion: "1.1.0", code, msg: "configuration: no", details: "and no" });
  });

  it("is to be tried again later where no router runs", async () => {
    const { said } = await world.call("ADD", { socket: "/nowhere/tapir.sock" });
    expect(said).toMatchObject({ code: 11, msg: expect.stringMatching(/no router answers on \/nowhere/) });
  });
});

describe("IPAM", () => {
  it("gives address and routes", async () => {
    world.ipam({ cniVersion: "1.1.0", ...GIVEN, dns: { domain: "given" } });
    const { said } = await world.call("ADD", { ...IPAM, dns: { domain: "own" } });
    expect(said).toMatchObject({
      ips: [{ ...GIVEN.ips[0], interface: 0 }],
      routes: GIVEN.routes,
      dns: { domain: "given" },
    });
    const routes = [{ to: "198.51.100.0/24", via: "10.55.66.1" }];
    expect(world.bodies[0]).toMatchObject({ address: "10.55.66.7", defaultRoute: false, routes });
    expect(world.ipamCalls).toEqual(["ADD c0ffee"]);
  });

  it("says its own errors, by its own codes", async () => {
    world.ipam({ code: 11, msg: "full", details: "256 of 256" }, 1);
    expect((await world.call("ADD", IPAM)).said).toMatchObject({ code: 11, msg: "fake: full", details: "256 of 256" });
    world.ipam({}, 3);
    expect((await world.call("ADD", IPAM)).said).toMatchObject({ code: 102, msg: "fake ended with 3" });
    expect((await world.call("ADD", { ipam: { type: "none" } })).said).toMatchObject({ code: 102 });
    expect((await world.call("ADD", IPAM, { CNI_PATH: "" })).said).toMatchObject({ code: 4 });
    expect(world.asked).toEqual([]);
  });

  it("has its address back when the port cannot be made", async () => {
    world.ipam(GIVEN);
    world.replies["POST /v1/ports"] = { status: 409, body: { error: "no" } };
    expect((await world.call("ADD", IPAM)).said).toMatchObject({ code: 100, msg: "no" });
    expect(world.ipamCalls).toEqual(["ADD c0ffee", "DEL c0ffee"]);
  });

  it.each([
    ["no address", { ips: [] }],
    ["two addresses", { ips: [GIVEN.ips[0], GIVEN.ips[0]] }],
    ["IPv6", { ips: [{ address: "fd00::1/64" }] }],
    ["another length", { ips: [{ address: "10.55.66.7/16" }] }],
    ["another gateway", { ips: [{ address: "10.55.66.7/24", gateway: "10.55.66.254" }] }],
  ])("may not give %s; port and address go again", async (_, given) => {
    world.ipam(given);
    world.replies[`DELETE /v1/ports/${ATTACHED.name}`] = { status: 200, body: {} };
    expect((await world.call("ADD", IPAM)).said).toMatchObject({ code: 7, msg: expect.stringMatching(/fake/) });
    expect(world.ipamCalls).toEqual(["ADD c0ffee", "DEL c0ffee"]);
    const made = world.asked.filter((asked) => asked.startsWith("POST")).length;
    expect(world.asked.filter((asked) => asked.startsWith("DELETE"))).toHaveLength(made);
  });
});

describe("DEL, GC and STATUS", () => {
  it("DEL has nothing to say about what is gone: the namespace, the port, the router", async () => {
    world.ipam({});
    const { CNI_NETNS: _, ...variables } = world.variables("DEL");
    for (const more of [IPAM, IPAM, { ...IPAM, socket: "/nowhere/tapir.sock" }]) {
      expect(await world.run(variables, JSON.stringify(world.configuration(more)))).toEqual({ status: 0, said: {} });
    }
    expect(world.asked).toEqual([`DELETE /v1/ports/${NAME}`, `DELETE /v1/ports/${NAME}`]);
    expect(world.ipamCalls).toEqual(["DEL c0ffee", "DEL c0ffee", "DEL c0ffee"]);
  });

  it("DEL keeps the address while the port cannot go", async () => {
    world.ipam({});
    world.replies[`DELETE /v1/ports/${NAME}`] = { status: 503, body: { error: "a moment" } };
    expect((await world.call("DEL", IPAM)).said).toMatchObject({ code: 11, msg: "a moment" });
    expect(world.ipamCalls).toEqual([]);
  });

  it("GC detaches the network's ports without a valid attachment, and goes on after an error", async () => {
    world.ipam({});
    const row = (name: string, container: string, network = "lab") => ({
      name,
      device: "eth0",
      cni: { network, container },
    });
    const body = [row("a", "kept"), row("b", "stale"), row("c", "kept", "other"), row("d", "gone"), { name: "wan" }];
    world.replies["GET /v1/ports"] = { status: 200, body };
    world.replies["DELETE /v1/ports/b"] = { status: 409, body: { error: "it cannot go" } };
    world.replies["DELETE /v1/ports/d"] = { status: 200, body: {} };
    const valid = [{ containerID: "kept", ifname: "eth0" }];
    const { said } = await world.call("GC", { ...IPAM, "cni.dev/valid-attachments": valid });
    expect(said).toMatchObject({ code: 100, msg: "it cannot go" });
    expect(world.asked.filter((asked) => asked.startsWith("DELETE"))).toEqual([
      "DELETE /v1/ports/b",
      "DELETE /v1/ports/d",
    ]);
    expect(world.ipamCalls).toEqual(["GC c0ffee"]);
  });

  it("GC takes nothing away without a list", async () => {
    for (const list of [undefined, "all", [{ containerID: "a" }]]) {
      expect((await world.call("GC", { "cni.dev/valid-attachments": list })).said).toMatchObject({ code: 7 });
    }
    const nobody = { socket: "/nowhere/tapir.sock", "cni.dev/valid-attachments": [] };
    expect((await world.call("GC", nobody)).status).toBe(0);
    expect(world.asked).toEqual([]);
  });

  it("STATUS is 50 without the router, and without its network", async () => {
    world.replies["GET /v1/configuration"] = { status: 200, body: { networks: { lab: {} } } };
    expect(await world.call("STATUS")).toEqual({ status: 0, said: {} });
    expect((await world.call("STATUS", { network: "inner" })).said).toMatchObject({ code: 50 });
    expect((await world.call("STATUS", { socket: "/nowhere/tapir.sock" })).said).toMatchObject({ code: 50 });
  });
});
