/** The Docker driver's protocol, its networks and endpoints. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { packageRoot } from "../../src/io/package_root.ts";
import {
  call,
  createEndpoint,
  createNetwork,
  folder,
  kept,
  NET,
  OTHER,
  OTHER_NET,
  plan,
  ref,
  router,
  send,
  WEB,
  WEB_PORT,
  WRITTEN,
} from "../support/docker_driver.ts";

interface ComposeNetwork {
  driver: string;
  internal?: boolean;
  driver_opts: Record<string, unknown>;
  ipam: { config: { subnet: string }[] };
}

describe("the protocol", () => {
  it("shakes hands", async () => {
    expect((await send("/Plugin.Activate", "")).body).toEqual({ Implements: ["NetworkDriver"] });
    const { body, type } = await send("/NetworkDriver.GetCapabilities", "");
    expect(body).toEqual({ Scope: "local", ConnectivityScope: "local" });
    expect(type).toBe("application/vnd.docker.plugins.v1.2+json");
    for (const notice of ["DiscoverNew", "DiscoverDelete"]) {
      expect(await call(notice, { DiscoveryType: 1, DiscoveryData: {} })).toEqual({});
    }
  });

  it("refuses what is no call, no JSON, too long or of the wrong shape, by status", async () => {
    expect((await send("/NetworkDriver.GwAllocCheck", "{}")).status).toBe(404);
    expect((await send("/constructor", "{}")).status).toBe(404);
    expect((await send("/Plugin.Activate", "", "GET")).status).toBe(405);
    expect((await send("/NetworkDriver.Join", "[")).status).toBe(400);
    expect((await send("/NetworkDriver.Join", " ".repeat((4 << 20) + 1))).status).toBe(413);
    const { status, body } = await send("/NetworkDriver.DeleteNetwork", JSON.stringify({ NetworkID: "../etc" }));
    expect(status).toBe(400);
    expect(body.Err).toContain("NetworkID must match pattern");
  });

  it("keeps its socket for root alone", () => {
    expect(statSync(plan().socket).mode & 0o777).toBe(0o600);
  });

  it("says that a swarm's networks are not supported", async () => {
    expect((await call("AllocateNetwork", {})).Err).toContain("swarm");
  });
});

describe("networks", () => {
  it("come with MASQUERADE out of every uplink, isolated from other networks", async () => {
    expect(await createNetwork()).toEqual({});
    const name = `dn-${"a".repeat(12)}`;
    expect(router.configuration.networks).toEqual({
      [name]: { subnet: "10.55.66.0/24", gateway: "10.55.66.1", isolation: ["network"], docker: NET, ports: {} },
    });
    expect(router.configuration.nat?.masquerade).toEqual([
      { from: "10.55.66.0/24", out: "wan", name: `docker: ${name}` },
      { from: "10.55.66.0/24", out: "lan", name: `docker: ${name}` },
    ]);
    expect(router.causes).toEqual([{ source: "docker", detail: `network create ${name}` }]);
  });

  it("take options, also by the names that the bridge driver has for them", async () => {
    await createNetwork({
      name: "lab",
      mtu: "1400",
      uplink: "lan",
      isolated: "0",
      icc: "false",
      "anti-spoofing": "true",
    });
    expect(router.configuration.networks?.lab).toMatchObject({ mtu: 1400, isolation: ["ports"], antiSpoofing: true });
    expect(router.configuration.nat?.masquerade?.map(({ out }) => out)).toEqual(["lan"]);
    const bridge = {
      "com.docker.network.bridge.name": "b1",
      "com.docker.network.driver.mtu": "1300",
      "com.docker.network.bridge.enable_ip_masquerade": "false",
    };
    await createNetwork(bridge, {}, OTHER_NET, "10.55.67.0/24");
    expect(router.configuration.networks?.b1).toMatchObject({ mtu: 1300 });
    expect(router.configuration.nat?.masquerade?.map(({ from }) => from)).toEqual(["10.55.66.0/24"]);
  });

  it("are made as the compose example asks for them", async () => {
    const text = readFileSync(join(packageRoot(), "examples/compose/compose.yaml"), "utf8");
    const { networks } = parse(text) as { networks: Record<string, ComposeNetwork> };
    for (const [index, { driver, internal, driver_opts, ipam }] of Object.values(networks).entries()) {
      expect(driver).toBe("tapir");
      const more = { "com.docker.network.internal": internal === true };
      const options = Object.fromEntries(Object.entries(driver_opts).map(([key, value]) => [key, String(value)]));
      expect(await createNetwork(options, more, String(index).repeat(64), ipam.config[0].subnet)).toEqual({});
    }
    expect(router.configuration.networks).toMatchObject({
      front: { subnet: "10.55.66.0/24", isolation: ["network"] },
      back: { subnet: "10.55.67.0/24", mtu: 1400, isolation: ["network", "uplinks"] },
    });
  });

  it("that are internal have no way out", async () => {
    await createNetwork({ name: "lab" }, { "com.docker.network.internal": true });
    expect(router.configuration.networks?.lab.isolation).toEqual(["network", "uplinks"]);
    expect(router.configuration.nat?.masquerade).toBeUndefined();
    await createEndpoint();
    expect(await call("Join", { ...ref(), SandboxKey: "/run/docker/netns/1" })).not.toHaveProperty("Gateway");
  });

  it("are refused with words for Docker's user, and nothing is left of them", async () => {
    const wrong: [object, RegExp][] = [
      [await createNetwork({ masquerad: "true" }), /^unknown option "masquerad"; did you mean "masquerade"\?$/],
      [await createNetwork({ mtu: "big" }), /^mtu: "big" is not a number of bytes$/],
      [await createNetwork({ icc: "maybe" }), /^icc: expected true or false, not "maybe"$/],
      [await createNetwork({ uplink: "want" }), /no network, port or uplink is called "want"; did you mean "wan"\?/],
      [await createNetwork({ name: "much-too-long-a-name" }), /1 to 15 letters/],
      [await createNetwork({}, {}, NET, "203.0.113.0/24"), /203\.0\.113\.1\/24 overlaps 203\.0\.113\.0\/24/],
      [await createNetwork({}, { "com.docker.network.enable_ipv6": true }), /IPv6 is not routed/],
      [await call("CreateNetwork", { NetworkID: NET, IPv4Data: null }), /one IPv4 subnet/],
    ];
    for (const [answer, text] of wrong) expect((answer as { Err: string }).Err).toMatch(text);
    expect(router.configuration).toEqual(WRITTEN);
    expect(kept().networks).toEqual({});
  });

  it("may be asked for again, where Docker has got no answer, but not as something else", async () => {
    await createNetwork({ name: "lab" });
    expect(await createNetwork({ name: "lab" })).toEqual({});
    expect(router.causes).toHaveLength(1);
    expect((await createNetwork({ name: "other" })).Err).toMatch(/there is another network a{64}/);
  });

  it("go, and may go again", async () => {
    await createNetwork({ name: "lab" });
    expect(await call("DeleteNetwork", { NetworkID: NET })).toEqual({});
    expect(await call("DeleteNetwork", { NetworkID: NET })).toEqual({});
    expect(router.configuration.networks).toEqual({});
    expect(router.configuration.nat?.masquerade).toBeUndefined();
  });
});

describe("endpoints", () => {
  beforeEach(() => createNetwork({ name: "lab" }));

  it("are devices that are handed over, with an address that follows from the container's", async () => {
    const { Interface } = (await createEndpoint()) as { Interface: { MacAddress: string } };
    expect(Interface).toEqual({ MacAddress: expect.stringMatching(/^02(:[0-9a-f]{2}){5}$/) });
    expect(router.configuration.networks?.lab.ports).toEqual({
      [WEB_PORT]: {
        handedOver: true,
        ifname: `tap${"c".repeat(12)}`,
        address: "10.55.66.2",
        mac: Interface.MacAddress,
      },
    });
    await call("DeleteEndpoint", ref());
    expect(await createEndpoint()).toEqual({ Interface });
  });

  it("have the hardware address that Docker wants, which is not told back", async () => {
    expect(await createEndpoint(WEB, "10.55.66.2/24", "02:42:00:00:00:07")).toEqual({ Interface: {} });
    expect(router.configuration.networks?.lab.ports?.[WEB_PORT].mac).toBe("02:42:00:00:00:07");
  });

  it("join with the device's name and the gateway, and leave", async () => {
    await createEndpoint();
    expect(await call("Join", { ...ref(), SandboxKey: "/run/docker/netns/1", Options: {} })).toEqual({
      InterfaceName: { SrcName: `tap${"c".repeat(12)}`, DstPrefix: "eth" },
      Gateway: "10.55.66.1",
      DisableGatewayService: true,
    });
    expect(kept().endpoints[WEB].sandbox).toBe("/run/docker/netns/1");
    expect(await call("Leave", ref())).toEqual({});
    expect(kept().endpoints[WEB].sandbox).toBeUndefined();
    expect(await call("Leave", ref(OTHER))).toEqual({});
    expect(await call("DeleteEndpoint", ref(OTHER))).toEqual({});
  });

  it("may be asked for again, where Docker has got no answer, but not as something else", async () => {
    const first = await createEndpoint();
    expect(await createEndpoint()).toEqual(first);
    expect(await createEndpoint(OTHER, "10.55.66.3/24")).toHaveProperty("Interface");
    expect((await createEndpoint(WEB, "10.55.66.4/24")).Err).toMatch(/there is another endpoint c{64}/);
    expect(Object.keys(kept().endpoints)).toEqual([WEB, OTHER]);
  });

  it("that a dockerd which was killed has forgotten give way to those with their address, or go with their devices", async () => {
    await createEndpoint();
    await createEndpoint(OTHER, "10.55.66.3/24");
    for (const id of [WEB, OTHER]) await call("Join", { ...ref(id), SandboxKey: join(folder, "gone") });
    await createEndpoint("1".repeat(64));
    // It is there: its container is only about to start.
    expect(Object.keys(kept().endpoints)).toEqual([OTHER, "1".repeat(64)]);
    for (const tell of router.portListeners) tell({ port: `ep-${"d".repeat(12)}`, state: "failed" });
    await createEndpoint("2".repeat(64), "10.55.66.4/24");
    expect(Object.keys(kept().endpoints)).toEqual(["1".repeat(64), "2".repeat(64)]);
    expect(Object.keys(router.configuration.networks?.lab.ports ?? {})).toHaveLength(2);
  });

  it("of networks that nobody knows are refused with the cure", async () => {
    const { Err } = await createEndpoint(WEB, "10.55.66.2/24", "", OTHER_NET);
    expect(Err).toMatch(/does not know network b{12}.*create it again/);
    expect((await call("Join", { ...ref(OTHER), SandboxKey: "" })).Err).toMatch(/does not know endpoint d{12}/);
  });

  it("that the router cannot make leave the state as it was", async () => {
    router.fails = true;
    expect((await createEndpoint()).Err).toBe("no more devices");
    expect(kept().endpoints).toEqual({});
    router.fails = false;
    expect(await createEndpoint()).toHaveProperty("Interface");
  });

  it("come many at a time, one after the other", async () => {
    const ids = Array.from({ length: 20 }, (_, index) => index.toString(16).padStart(64, "0"));
    await Promise.all(
      ids.map((id, index) => createEndpoint(id.split("").reverse().join(""), `10.55.66.${index + 2}/24`)),
    );
    expect(Object.keys(router.configuration.networks?.lab.ports ?? {})).toHaveLength(20);
    expect(Object.keys(kept().endpoints)).toHaveLength(20);
  });
});
