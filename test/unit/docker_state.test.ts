/** Ports that Docker publishes, Docker's part of the configuration, and what is kept of it over restarts. */
import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { type Placed, withNames, withPlaces } from "../../src/control/docker/sandbox.ts";
import {
  binding,
  call,
  createEndpoint,
  createNetwork,
  FakeRouter,
  folder,
  kept,
  NET,
  OTHER,
  plan,
  publish,
  published,
  ref,
  restartRouter,
  router,
  send,
  WEB,
  WEB_PORT,
  WRITTEN,
} from "../support/docker_driver.ts";

describe("published ports", () => {
  beforeEach(async () => {
    await createNetwork({ name: "lab" });
    await createEndpoint();
    await createEndpoint(OTHER, "10.55.66.3/24");
  });
  const name = `docker: ${WEB_PORT}`;

  it("are published on every uplink of the network", async () => {
    await publish([binding(80, 8080), binding(80, 8080, { HostIP: "::" }), binding(53, 53, { Proto: 17 })]);
    expect(published()).toEqual([
      { proto: "tcp", on: "wan", port: 8080, to: "10.55.66.2:80", name },
      { proto: "tcp", on: "lan", port: 8080, to: "10.55.66.2:80", name },
      { proto: "udp", on: "wan", port: 53, to: "10.55.66.2:53", name },
      { proto: "udp", on: "lan", port: 53, to: "10.55.66.2:53", name },
    ]);
    await call("RevokeExternalConnectivity", ref());
    expect(published()).toEqual([]);
  });

  it("are published on one address of an uplink, the first or a further one", async () => {
    await publish([binding(80, 80, { HostIP: "203.0.113.10" }), binding(80, 81, { HostIP: "198.51.100.1" })]);
    expect(published()).toEqual([
      { proto: "tcp", on: "wan", address: "203.0.113.10", port: 80, to: "10.55.66.2:80", name },
      { proto: "tcp", on: "lan", address: "198.51.100.1", port: 81, to: "10.55.66.2:80", name },
    ]);
    const { Err } = await publish([binding(80, 80, { HostIP: "127.0.0.1" })], OTHER);
    expect(Err).toBe(
      "port 80 cannot be published on 127.0.0.1: ports are published on the addresses of uplinks, and none has it",
    );
  });

  it("are chosen where Docker leaves the choice: from a range, or any", async () => {
    await publish([binding(80, 8080, { HostPortEnd: 8081 }), binding(443, 0, { HostPortEnd: 0 })]);
    await publish([binding(80, 8080, { HostPortEnd: 8081 }), binding(443, 0, { HostPortEnd: 0 })], OTHER);
    expect(published().flatMap(({ on, port }) => (on === "wan" ? port : []))).toEqual([8080, 49152, 8081, 49153]);
    const info = (await call("EndpointOperInfo", ref(OTHER))) as { Value: Record<string, unknown> };
    expect(info.Value).toMatchObject({
      port: `ep-${"d".repeat(12)}`,
      "com.docker.network.portmap": [
        { Proto: 6, IP: "10.55.66.3", Port: 80, HostIP: "0.0.0.0", HostPort: 8081 },
        { Proto: 6, Port: 443, HostPort: 49153 },
      ],
    });
  });

  it("are refused where another has them, and protocols without ports are", async () => {
    await publish([binding(80, 8080)]);
    expect((await publish([binding(80, 8080)], OTHER)).Err).toBe("tcp port 8080 is published already");
    expect((await publish([binding(80, 8080, { HostPort: 8080, HostPortEnd: 8080, Proto: 132 })], OTHER)).Err).toMatch(
      /protocol 132: only tcp and udp/,
    );
    // Docker may repeat itself.
    expect(await publish([binding(80, 8080)])).toEqual({});
    const wrong = { ...ref(), Options: { "com.docker.network.portmap": [{ Proto: 6, Port: 70_000 }] } };
    expect((await send("/NetworkDriver.ProgramExternalConnectivity", JSON.stringify(wrong))).status).toBe(400);
  });
});

describe("Docker's part of the configuration", () => {
  beforeEach(async () => {
    await createNetwork({ name: "lab" });
    await createEndpoint();
    await publish([binding(80, 8080)]);
  });

  it("stays whatever configuration comes, with what Docker has now", async () => {
    const old = router.configuration;
    const nat = { publish: [{ proto: "udp" as const, on: "wan", port: 9, to: "10.55.66.2:9" }] };
    await router.change(() => ({ ...WRITTEN, nat }), { source: "sighup" });
    expect(published()).toEqual([...nat.publish, ...(old.nat?.publish ?? [])]);
    await call("RevokeExternalConnectivity", ref());
    await call("DeleteEndpoint", ref());
    await router.change(() => old, { source: "rollback" });
    expect(router.configuration.networks?.lab.ports).toEqual({});
    expect(published()).toEqual([]);
  });

  it("is not mixed up with a network of the file that has the same name", async () => {
    const networks = { lab: { subnet: "10.55.68.0/24" } };
    const change = router.change(() => ({ ...WRITTEN, networks }), { source: "apply" });
    await expect(change).rejects.toThrow("networks.lab: Docker has a network of that name (docker network rm)");
  });

  it("leaves the text of rules when it goes", async () => {
    const lines = [
      "*nat",
      `-A PREROUTING -d 203.0.113.1/32 -p tcp -m tcp --dport 8080 -m comment --comment "${`docker: ${WEB_PORT}`}" -j DNAT --to-destination 10.55.66.2:80`,
      '-A POSTROUTING -s 192.0.2.0/24 -o wan -m comment --comment "docker, but not so" -j MASQUERADE',
      "COMMIT",
    ];
    const filter = { iptables: lines };
    await router.change(({ nat: _, ...present }) => ({ ...present, filter }), { source: "iptables" });
    expect(router.configuration.filter?.iptables).toEqual([lines[0], lines[2], lines[3]]);
    expect(published()).toHaveLength(2);
  });

  it("keeps the key `docker` in force while Docker has networks", async () => {
    await expect(router.plugin.follow(undefined)).rejects.toThrow(/docker network rm/);
    expect(existsSync(plan().socket)).toBe(true);
    await call("DeleteNetwork", { NetworkID: NET });
    await router.plugin.follow(undefined);
    expect(existsSync(plan().socket)).toBe(false);
  });
});

describe("the state", () => {
  it("outlives the router", async () => {
    await createNetwork({ name: "lab" });
    await createEndpoint();
    expect(statSync(plan().state).mode & 0o777).toBe(0o600);
    const before = router.plugin.state;
    await restartRouter();
    expect(router.plugin.state).toEqual(before);
    expect(Object.keys(router.configuration.networks?.lab.ports ?? {})).toEqual([WEB_PORT]);
  });

  it("is refused where it is not what the driver writes", async () => {
    writeFileSync(join(folder, "bad.json"), '{"version":2}');
    const other = new FakeRouter();
    const opening = other.plugin.follow({ ...plan(), state: join(folder, "bad.json") });
    await expect(opening).rejects.toThrow(/bad\.json is not what Tapir writes \(.*\): move it away/);
  });

  it("keeps what Docker asks for while devices are made again", async () => {
    await createNetwork({ name: "lab" });
    await createEndpoint();
    let release = (): void => {};
    router.held = new Promise((resolve) => {
      release = resolve;
    });
    const restoring = router.plugin.restore();
    const created = createEndpoint(OTHER, "10.55.66.3/24");
    await send("/Plugin.Activate", "");
    release();
    await restoring;
    expect(await created).toHaveProperty("Interface");
    expect(Object.keys(kept().endpoints)).toEqual([WEB, OTHER]);
    expect(router.plugin.state).toEqual(kept());
  });

  it("has nothing published for a container that is not there any more", async () => {
    await createNetwork({ name: "lab" });
    await createEndpoint();
    await publish([binding(80, 8080)]);
    await call("Join", { ...ref(), SandboxKey: join(folder, "gone") });
    await restartRouter();
    expect([published(), router.configuration.networks?.lab.ports]).toEqual([[], {}]);
    expect(await createEndpoint(OTHER, "10.55.66.2/24")).toHaveProperty("Interface");
    expect(await publish([binding(80, 8080)], OTHER)).toEqual({});
    expect(published().map(({ to }) => to)).toEqual(["10.55.66.2:80", "10.55.66.2:80"]);
  });
});

describe("where devices are after a start", () => {
  const ids = ["1", "2", "3", "4"].map((digit) => digit.repeat(64));
  const macs = ids.map((_, index) => `02:00:00:00:00:0${index + 1}`);
  const lo = { ifname: "lo", address: "00:00:00:00:00:00" };

  /** A look into `/there`, which has the devices of some endpoints, and into the router's own namespace. */
  const lookAt =
    (there: Record<string, number>, own: readonly string[] = []) =>
    (sandbox: string | undefined) => {
      if (sandbox === undefined) return own.map((ifname) => ({ ifname, address: macs[0] }));
      if (sandbox !== "/there") return undefined;
      return [lo, ...Object.entries(there).map(([ifname, index]) => ({ ifname, address: macs[index] }))];
    };
  const placesIn = ({ state, lost }: Placed) =>
    ids.map((id) => [state.endpoints[id].place, state.endpoints[id].ifname, lost.includes(id)]);

  beforeEach(async () => {
    await createNetwork({ name: "lab" });
    for (const [index, id] of ids.entries()) {
      await createEndpoint(id, `10.55.66.${index + 2}/24`, macs[index]);
      await call("Join", { ...ref(id), SandboxKey: index === 3 ? "/gone" : "/there" });
    }
  });

  it("those that are lost are made again, under their names or the next ones", () => {
    const named = withNames(router.plugin.state, lookAt({ eth0: 0 }));
    expect(named.endpoints[ids[0]].ifname).toBe("eth0");
    expect(placesIn(withPlaces(named, lookAt({})))).toEqual([
      ["sandbox", "eth0", true],
      ["sandbox", "eth1", true],
      ["sandbox", "eth2", true],
      ["nobody", undefined, false],
    ]);
  });

  it("those that are still there stay as they are, whoever has made them", () => {
    const { state } = withPlaces(router.plugin.state, lookAt({ eth0: 0 }));
    expect(placesIn(withPlaces(state, lookAt({ eth0: 0, eth1: 1 })))).toEqual([
      ["docker", undefined, false],
      ["sandbox", "eth1", false],
      ["sandbox", "eth2", true],
      ["nobody", undefined, false],
    ]);
  });

  it("one that Docker is about to move is left to it", () => {
    const { device } = router.plugin.state.endpoints[ids[0]];
    const [first, second] = placesIn(withPlaces(router.plugin.state, lookAt({ eth0: 1 }, ["lo", device])));
    expect([first, second]).toEqual([
      ["docker", undefined, false],
      ["docker", undefined, false],
    ]);
  });
});
