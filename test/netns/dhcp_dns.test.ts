/** The DHCP server and the DNS forwarder of a network, with real clients (busybox) and a real server outside (dnsmasq). */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  exec,
  ip,
  namespace,
  ping,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  temporaryFolder,
  veth,
} from "../support/netns.ts";

const canRun = requireSystem(["ping", "dnsmasq", "busybox"], "DHCP server and DNS forwarder");
const FAR = "198.51.100.7";

interface LeaseRow {
  address: string;
  port: string;
  hostName: string | null;
  state: string;
}

const leasesOf = (router: RunningRouter): LeaseRow[] =>
  JSON.parse(router.mustTapir("show", "leases", "-j")) as LeaseRow[];

/** What udhcpc calls: takes the address, the route, and writes down what it was told. */
function clientScript(folder: string): string {
  const script = join(folder, "script");
  writeFileSync(
    script,
    `#!/bin/sh
echo "$1 ip=$ip subnet=$subnet router=$router dns=$dns domain=$domain lease=$lease mtu=$mtu serverid=$serverid"
case $1 in
  bound|renew) ip address replace $ip/$mask dev $interface; ip route replace default via $router;;
  deconfig) ip link set $interface up;;
esac
`,
  );
  chmodSync(script, 0o755);
  return script;
}

/** A DHCP client that stays. */
function client(netns: string, script: string, ...more: string[]) {
  return spawnIn(netns, "busybox", [
    "udhcpc",
    "-f",
    "-i",
    "eth0",
    "-s",
    script,
    "-t",
    "5",
    "-T",
    "1",
    "-O",
    "mtu",
    ...more,
  ]);
}

/** Two containers without addresses, one with one, and an outside with a name server; a first server is silent. */
async function world(more = "") {
  const folder = temporaryFolder();
  const [c1, c2, c3, home, outside] = ["a", "b", "d", "r", "w"].map((hint) => namespace(hint));
  veth({ netns: home, ifname: "up0" }, { netns: outside, ifname: "eth0", address: "203.0.113.2/24" });
  ip(outside, `address add ${FAR}/32 dev lo`);
  const config = (leaseSeconds: number): string => `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    mtu: 1400
    dhcp: { range: 10.55.66.100-10.55.66.102, leaseSeconds: ${leaseSeconds}, leasesPerPort: 2 }
    dns: { servers: [203.0.113.99, 203.0.113.2], domain: lab.test }
    ports:
      c1: { netns: ${c1} }
      c2: { netns: ${c2} }
      c3: { netns: ${c3}, address: 10.55.66.100 }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 } }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
control: { leases: ${join(folder, "leases.json")} }
${more}`;
  const start = (): Promise<RunningRouter> => startRouter(config(3600), { netns: home });
  return { c1, c2, c3, home, outside, folder, config, start, script: clientScript(folder) };
}

describe.skipIf(!canRun)("a network with `dhcp`", () => {
  it("gives a container address, route and servers, and keeps its lease over a change and a restart", async () => {
    const { c1, c2, c3, config, folder, script, start } = await world();
    let router = await start();
    const first = client(c1, script, "-x", "hostname:first");
    await first.until(
      /bound ip=10\.55\.66\.101 subnet=255\.255\.255\.0 router=10\.55\.66\.1 dns=10\.55\.66\.1 domain=lab\.test lease=3600 mtu=1400 serverid=10\.55\.66\.1/,
    );
    const second = client(c2, script);
    await second.until(/bound ip=10\.55\.66\.102 /);
    // The range's first address is the port's own.
    const fixed = client(c3, script, "-q");
    await fixed.until(/bound ip=10\.55\.66\.100 /);
    expect(ping(c1, FAR)).toBe(true);
    expect(ping(c1, "10.55.66.102")).toBe(true);
    expect(leasesOf(router)).toMatchObject([
      { address: "10.55.66.100", port: "c3", state: "fixed" },
      { address: "10.55.66.101", port: "c1", state: "bound", hostName: "first" },
      { address: "10.55.66.102", port: "c2", state: "bound", hostName: null },
    ]);
    router.writeConfig(config(1800));
    expect(router.tapir("apply", "-f", router.configFile).status).toBe(0);
    // Asked by unicast for more time, the server tells what holds now.
    first.child.kill("SIGUSR1");
    await first.until(/renew ip=10\.55\.66\.101 .* lease=1800 /);
    expect(first.stderr()).toContain("renew");
    await first.stop();
    await second.stop();
    await router.stop();
    const kept = JSON.parse(readFileSync(join(folder, "leases.json"), "utf8")) as { networks: { lab: object[] } };
    expect(kept.networks.lab).toHaveLength(2);
    // Who comes first now does not get what was another's.
    router = await start();
    await client(c2, script).until(/bound ip=10\.55\.66\.102 /);
    await client(c1, script).until(/bound ip=10\.55\.66\.101 /);
  });
});

describe.skipIf(!canRun)("a network with `dns`", () => {
  it("resolves names of its containers, and asks the servers for the others", async () => {
    const { c1, c3, outside, script, start } = await world();
    const upstream = spawnIn(outside, "dnsmasq", [
      ..."--port=53 --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --log-queries --log-facility=-".split(" "),
      ..."--user=root --pid-file= --interface=eth0 --bind-interfaces --host-record=far.example.test,198.51.100.7".split(
        " ",
      ),
      "--local=/#/",
    ]);
    await upstream.until(/started/);
    const router = await start();
    await client(c1, script).until(/bound ip=10\.55\.66\.101 /);
    const lookUp = (netns: string, name: string, ...type: string[]): string => {
      const { stdout, stderr } = exec(netns, "busybox", ["nslookup", ...type, name, "10.55.66.1"]);
      return stdout + stderr;
    };
    expect(lookUp(c3, "c1.lab.test")).toMatch(/Name:\s+c1\.lab\.test\nAddress: 10\.55\.66\.101/);
    expect(lookUp(c1, "c3")).toMatch(/Address: 10\.55\.66\.100/);
    expect(lookUp(c1, "10.55.66.100")).toContain("name = c3.lab.test");
    expect(lookUp(c1, "c9.lab.test")).toContain("NXDOMAIN");
    // The first server is silent.
    expect(lookUp(c1, "far.example.test", "-type=a")).toMatch(/Name:\s+far\.example\.test\nAddress: 198\.51\.100\.7/);
    expect(lookUp(c1, "none.example.test")).toContain("NXDOMAIN");
    // The router asks in its own name, and tells nobody of the containers'.
    await upstream.until(/query\[A\] far\.example\.test from 203\.0\.113\.1/);
    await upstream.until(/query\[A\] none\.example\.test/);
    expect(upstream.stdout() + upstream.stderr()).not.toContain("lab.test");
    const stats = router.mustTapir("show", "stats", "-j");
    expect((JSON.parse(stats) as Record<string, number>).datagramsHanded).toBeGreaterThan(8);
    // Nothing is left of a question that was answered.
    expect(router.mustTapir("conntrack", "-L", "-p", "udp")).not.toMatch(/src=203\.0\.113\.1 dst=203\.0\.113\.2 /);
    expect(exec(outside, "busybox", ["nslookup", "c1.lab.test", "203.0.113.1"]).status).not.toBe(0);
  });
});
