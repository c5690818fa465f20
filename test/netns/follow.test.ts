/** BIRD feeds 10 000 routes over BGP into a namespace, whose table the router follows while traffic flows through it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ask } from "../../src/cli/client.ts";
import type { FollowState } from "../../src/control/routing/follower.ts";
import type { FoundRow } from "../../src/control/routing/schemas.ts";
import {
  exec,
  ip,
  must,
  namespace,
  requireSystem,
  spawnIn,
  startRouter,
  temporaryFolder,
  veth,
} from "../support/netns.ts";

const canRun = requireSystem(["bird", "birdc", "ping", "sysctl"], "routes of a kernel are followed");

const ROUTES = 10_000;
const MOVED = "20.0.0.0/24";
/** TTL that the second next hop answers with. */
const OTHER_TTL = 50;

const routesOf = (count: number, via: (prefix: string) => string): string =>
  [...Array(count).keys()]
    .map((each) => `20.${each >> 8}.${each & 255}.0/24`)
    .map((prefix) => `route ${prefix} via ${via(prefix)};\n`)
    .join("");

const speaker = (own: string, as: number, peer: string, peerAs: number, what: string): string => `
log stderr all;
router id ${own};
protocol device {}
${what}
protocol bgp {
  local ${own} as ${as};
  neighbor ${peer} as ${peerAs};
  connect delay time 1; connect retry time 1; error wait time 1,1;
  ipv4 { import all; export where source = RTS_STATIC; next hop keep; };
}
`;

/** A segment with the router's uplink, the peer (203.0.113.2), another next hop (.9) and BIRD's own namespace (.3). */
function segment(): { router: string; container: string; peer: string; daemon: string } {
  const [router, container, peer, other, daemon] = ["r", "c", "p", "o", "b"].map((hint) => namespace(hint));
  ip(peer, "link add br0 type bridge");
  ip(peer, "link set br0 up");
  const join = (netns: string, ifname: string, port: string, address?: string): void => {
    veth({ netns, ifname, ...(address === undefined ? {} : { address }) }, { netns: peer, ifname: port });
    ip(peer, `link set ${port} master br0`);
  };
  join(router, "up0", "port0");
  join(other, "eth0", "port1", "203.0.113.9/24");
  join(daemon, "eth0", "port2", "203.0.113.3/24");
  ip(peer, "address add 203.0.113.2/24 dev br0");
  ip(peer, "address add 198.51.100.7/32 dev lo");
  for (const netns of [peer, other]) ip(netns, "address add 20.0.0.7/32 dev lo");
  must(other, "sysctl", ["-qw", `net.ipv4.ip_default_ttl=${OTHER_TTL}`]);
  return { router, container, peer, daemon };
}

async function bird(netns: string, configuration: string): Promise<{ configure(text: string): void }> {
  const folder = temporaryFolder();
  const [file, socket] = [join(folder, "bird.conf"), join(folder, "bird.ctl")];
  writeFileSync(file, configuration);
  await spawnIn(netns, "bird", ["-f", "-c", file, "-s", socket]).until(/Started/);
  const configure = (text: string): void => {
    writeFileSync(file, text);
    expect(must(netns, "birdc", ["-s", socket, "configure"])).toMatch(/Reconfigur/);
  };
  return { configure };
}

async function until<T>(question: () => Promise<T>, isSo: (answer: T) => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 20_000; ; ) {
    const answer = await question();
    if (isSo(answer)) return;
    if (Date.now() > end) throw new Error(`${what}: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Every ping has its answer, but perhaps the last one, which was on its way when ping was told to end. */
function expectNoneLost(output: string): void {
  const answered = [...output.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, sequence]) => Number(sequence));
  expect(answered).toEqual(answered.map((_, index) => index + 1));
  const transmitted = Number(/^(\d+) packets transmitted/m.exec(output)?.[1]);
  expect(transmitted - answered.length).toBeLessThanOrEqual(1);
}

it.skipIf(!canRun)(
  "while 10 000 routes come, change and go, other flows lose nothing, and those concerned move",
  async () => {
    const place = segment();
    const router = await startRouter(
      `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: ${place.container}, address: 10.55.66.2, defaultRoute: true } } } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }
routes: [ { to: 198.51.100.0/24, via: 203.0.113.2 } ]
routing: { follow: { netns: ${place.daemon} } }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
`,
      { netns: place.router },
    );
    const followed = async () => (await ask<FollowState[]>(router.socket, "GET", "/v1/routing/followed"))[0];
    const wayTo = (to: string) => ask<FoundRow>(router.socket, "GET", `/v1/routing/lookup?to=${to}`);
    const peerWith = (routes: string) =>
      speaker("203.0.113.2", 65001, "203.0.113.3", 65002, `protocol static { ipv4;\n${routes}}`);
    const isAt = (count: number) => (state: FollowState) => state.state === "in sync" && state.routes === count;

    expect(exec(place.container, "ping", ["-n", "-c1", "-W2", "198.51.100.7"]).status).toBe(0);
    const unaffected = spawnIn(place.container, "ping", ["-n", "-i", "0.01", "198.51.100.7"]);
    const daemon = speaker("203.0.113.3", 65002, "203.0.113.2", 65001, "protocol kernel { ipv4 { export all; }; }");
    await bird(place.daemon, daemon);
    const peer = await bird(place.peer, peerWith(routesOf(ROUTES, () => "203.0.113.2")));

    await until(followed, isAt(ROUTES), "the routes have come");
    expect(await wayTo("20.39.15.7")).toMatchObject({ gateway: "203.0.113.2", dev: "wan" });
    expect(router.mustTapir("route", "show", MOVED)).toBe(`${MOVED} via 203.0.113.2 dev wan proto bird metric 32 \n`);

    const moving = spawnIn(place.container, "ping", ["-n", "-i", "0.05", "20.0.0.7"]);
    await moving.until(/ttl=63/);
    peer.configure(peerWith(routesOf(ROUTES, (prefix) => (prefix === MOVED ? "203.0.113.9" : "203.0.113.2"))));
    await moving.until(new RegExp(`ttl=${OTHER_TTL - 1}`));
    await moving.stop("SIGINT");
    expectNoneLost(moving.stdout());

    peer.configure(peerWith(routesOf(10, () => "203.0.113.2")));
    await until(followed, isAt(10), "most routes have gone");
    expect(await wayTo("20.39.15.7")).toMatchObject({ type: "none" });

    await unaffected.stop("SIGINT");
    expectNoneLost(unaffected.stdout());
    ip(undefined, `netns del ${place.daemon}`);
    await until(followed, (state) => state.routes === 0, "a namespace that goes takes its routes with it");
  },
);
