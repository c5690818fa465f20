/** An uplink whose address a real DHCP server gives (dnsmasq), on real devices. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  ip,
  must,
  namespace,
  ping,
  type Running,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  temporaryFolder,
  veth,
} from "../support/netns.ts";

const canRun = requireSystem(["ping", "dnsmasq", "tcpdump"], "DHCP uplinks");
const FAR = "192.0.2.9";

interface PortRow {
  name: string;
  state: string;
  lease?: { state: string; address: string | null; server: string | null; expiresSeconds: number | null };
}

const wanOf = (router: RunningRouter): PortRow =>
  (JSON.parse(router.mustTapir("show", "ports", "-j")) as PortRow[]).find(({ name }) => name === "wan") as PortRow;

async function eventually(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

function serveDhcp(outside: string, range = "203.0.113.50,203.0.113.60"): Running {
  const leases = join(temporaryFolder(), "leases");
  return spawnIn(outside, "dnsmasq", [
    ..."--port=0 --no-daemon --conf-file=/dev/null --log-dhcp --dhcp-authoritative --interface=eth0".split(" "),
    ...`--user=root --pid-file= --dhcp-leasefile=${leases} --no-ping --dhcp-range=${range},255.255.255.0,120`.split(
      " ",
    ),
  ]);
}

/** A router with an uplink that waits for a lease, and the network behind it. */
async function waiting() {
  const [c1, home, outside] = [namespace("c"), namespace("r"), namespace("w")];
  veth({ netns: home, ifname: "up0" }, { netns: outside, ifname: "eth0", address: "203.0.113.2/24" });
  ip(outside, `address add ${FAR}/32 dev lo`);
  const text = `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: ${c1}, address: 10.55.66.2, defaultRoute: true } } } }
uplinks: { wan: { kind: packet, device: up0, address: dhcp } }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
`;
  return { c1, home, outside, router: await startRouter(text, { netns: home }) };
}

describe.skipIf(!canRun)("an uplink with `address: dhcp`", () => {
  it("leases its address, masquerades with it, keeps it over changes, and gives it back", async () => {
    const { c1, outside, router } = await waiting();
    expect(wanOf(router)).toMatchObject({
      state: "down (no DHCP lease)",
      lease: { state: "selecting", address: null },
    });
    expect(must(c1, "sh", ["-c", `ping -n -c1 -W2 ${FAR} || true`])).toContain("Net Unreachable");
    // The first DISCOVER met no server: a later one does.
    const server = serveDhcp(outside);
    await router.until(/uplink wan: leases 203\.0\.113\.\d+\/24 from 203\.0\.113\.2 for 120 s, gateway 203\.0\.113\.2/);
    await eventually(() => wanOf(router).state === "up");
    const leased = wanOf(router).lease?.address?.split("/")[0] as string;
    expect(wanOf(router).lease).toMatchObject({ state: "bound", server: "203.0.113.2" });
    const seen = spawnIn(outside, "tcpdump", ["-lnni", "eth0", "icmp"]);
    await seen.until(/listening/);
    expect(ping(c1, FAR)).toBe(true);
    await seen.until(new RegExp(`${leased.replaceAll(".", "\\.")} > ${FAR.replaceAll(".", "\\.")}: ICMP echo request`));
    expect(ping(outside, leased)).toBe(true);
    router.mustTapir("detach", "c1");
    expect(ping(outside, leased)).toBe(true);
    expect(wanOf(router).lease).toMatchObject({ state: "bound", address: `${leased}/24` });
    expect(seen.stdout()).not.toContain("unreachable");
    await router.stop();
    await server.until(/DHCPRELEASE\(eth0\)/);
  });

  it("asks whoever is there when its link comes back, and takes another address", async () => {
    const { c1, outside, router } = await waiting();
    const first = serveDhcp(outside);
    await router.until(/leases 203\.0\.113\.5\d\/24/);
    await eventually(() => wanOf(router).state === "up");
    await first.stop();
    ip(outside, "link set eth0 down");
    await router.until(/up0 has no carrier/);
    ip(outside, "address flush dev eth0");
    ip(outside, "address add 198.51.100.2/24 dev eth0");
    await serveDhcp(outside, "198.51.100.50,198.51.100.60").until(/IP range/);
    ip(outside, "link set eth0 up");
    await router.until(/leases 198\.51\.100\.\d+\/24 from 198\.51\.100\.2/);
    await eventually(() => wanOf(router).state === "up");
    expect(ping(c1, FAR)).toBe(true);
  });
});
