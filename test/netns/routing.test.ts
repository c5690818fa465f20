/** `tapir route`, `rule` and `neigh` beside iproute2 in a namespace with the same interfaces, and a batch of routes. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  exec,
  namespace,
  type RunningRouter,
  requireSystem,
  startRouter,
  temporaryFolder,
  veth,
} from "../support/netns.ts";

const canRun = requireSystem(["ping"], "routing");

const ROUTES = [
  "add default via 203.0.113.2",
  "add 198.51.100.0/24 via 203.0.113.9 metric 20 proto static",
  "append 198.51.100.0/24 via 203.0.113.2 metric 20 proto static",
  "add 198.51.100.0/24 via 203.0.113.2 metric 10",
  "add 198.51.100.0/25 dev wan",
  "add 192.0.2.1 via 10.55.66.9 dev lab proto bird",
  "add 192.0.2.0/24 nexthop via 203.0.113.2 nexthop via 203.0.113.9 weight 3 nexthop dev lab",
  "add blackhole 10.0.0.0/8 metric 5",
  "add unreachable 10.1.0.0/16",
  "add prohibit 10.2.0.0/16 table 100",
  "add throw 10.3.0.0/16 table 100",
  "replace default dev lab table 100",
  "replace 198.51.100.0/24 via 10.55.66.9 metric 10",
  "change 192.0.2.1 via 10.55.66.8",
  "del 10.1.0.0/16",
];

const REFUSED = [
  "add default via 203.0.113.9",
  "add 198.51.100.0/24 via 203.0.113.9 metric 10",
  "add 192.0.2.128/25 via 9.9.9.9",
  "add 192.0.2.128/25 via 203.0.113.9 dev lab",
  "add 192.0.2.128/25 dev nothing",
  "change 192.0.2.128/25 via 203.0.113.9",
  "del 192.0.2.128/25",
  "del 198.51.100.0/24 metric 99",
];

const RULES = [
  "add from 10.55.66.128/25 lookup 100 priority 100",
  "add from 10.55.66.7 fwmark 0x1/0xff lookup 100",
  "add not from all prohibit priority 50",
  "add iif lab to 192.0.2.128/25 prohibit priority 55",
  "add fwmark 7 blackhole priority 60",
  "add unreachable from 10.9.0.0/16 priority 70",
  "add from 1.2.3.4 lookup main priority 80",
  "del from 1.2.3.4",
];

const QUESTIONS = ["203.0.113.77", "198.51.100.7", "192.0.2.1", "8.8.8.8", "10.9.9.9"];

/** What iproute2 says in a namespace; Tapir's errors begin with its name. */
function words(result: { status: number | null; stdout: string; stderr: string }): string {
  return result.status === 0 ? result.stdout : result.stderr.replace(/^tapir: /, "").trimEnd();
}

describe.skipIf(!canRun)("in iproute2's words", () => {
  let kernel = "";
  let router: RunningRouter;
  const ofKernel = (line: string): string => words(exec(kernel, "ip", line.split(" ")));
  const ofTapir = (line: string): string => words(router.tapir(...line.split(" ")));

  beforeAll(async () => {
    kernel = namespace("k");
    const [place, container, outside] = [namespace("r"), namespace("c"), namespace("o")];
    veth({ netns: kernel, ifname: "lab", address: "10.55.66.1/24" }, { netns: outside, ifname: "peer0" });
    veth({ netns: kernel, ifname: "wan", address: "203.0.113.1/24" }, { netns: outside, ifname: "peer1" });
    veth({ netns: place, ifname: "wan" }, { netns: outside, ifname: "peer2" });
    router = await startRouter(
      `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: ${container}, address: 10.55.66.2 } } } }
uplinks: { wan: { kind: packet, device: wan, address: 203.0.113.1/24 } }
`,
      { netns: place },
    );
    const batch = join(temporaryFolder(), "batch");
    writeFileSync(batch, ROUTES.map((line) => `route ${line}\n`).join(""));
    expect(ofKernel(`-batch ${batch}`)).toBe("");
    expect(ofTapir(`route -batch ${batch}`)).toBe("");
    for (const line of RULES) {
      expect([line, ofKernel(`rule ${line}`)]).toEqual([line, ""]);
      expect([line, ofTapir(`rule ${line}`)]).toEqual([line, ""]);
    }
  });

  it.each(["route show", "route show table 100", "rule show"])("%s is the same as JSON", (line) => {
    const asJson = `${line} `.replace(" ", " -j ").trimEnd();
    expect(JSON.parse(ofTapir(asJson))).toEqual(JSON.parse(ofKernel(`-j ${line}`)));
  });

  it.each([
    "route show",
    "route show table 100",
    "route show proto static",
    "route show 198.51.100.0/24",
    "route show root 198.51.100.0/24",
    "route show match 198.51.100.7",
    "route show dev lab",
    "rule show",
  ])("%s is printed the same", (line) => {
    expect(ofTapir(line)).toBe(ofKernel(line));
  });

  it.each(REFUSED)("route %s is refused in the same words", (line) => {
    expect(ofTapir(`route ${line}`)).toBe(ofKernel(`route ${line}`));
  });

  it.each(QUESTIONS)("route get %s", (destination) => {
    const own = ofTapir(`route get ${destination}`);
    expect(own).toBe(ofKernel(`route get ${destination}`));
  });

  it("neigh shows permanent ones the same", () => {
    const line = "neigh add 203.0.113.50 lladdr 02:00:00:00:00:50 dev wan";
    expect([ofTapir(line), ofKernel(line)]).toEqual(["", ""]);
    const show = "neigh show 203.0.113.50";
    expect(ofTapir(show)).toBe(ofKernel(show));
    expect(ofTapir(line)).toBe(ofKernel(line));
    expect(JSON.parse(ofTapir("neigh -j show 203.0.113.50"))).toEqual(JSON.parse(ofKernel(`-j ${show}`)));
    expect(ofTapir("neigh del 203.0.113.50 dev wan")).toBe("");
    expect(ofTapir("neigh del 203.0.113.50 dev wan")).toBe("RTNETLINK answers: No such file or directory");
  });

  it("a batch of 10 000 routes goes in at once, and its errors name their lines", () => {
    const file = join(temporaryFolder(), "routes");
    const lines = [...Array(10_000).keys()].map(
      (each) => `route add 20.${each >> 8}.${each & 255}.0/24 via 203.0.113.2 table 77`,
    );
    writeFileSync(file, `# many\n${lines.join("\n")}\n`);
    expect(ofTapir(`route -batch ${file}`)).toBe("");
    expect(ofTapir("route show table 77").split("\n")).toHaveLength(10_001);
    writeFileSync(file, "add 30.0.0.0/8 via 203.0.113.2 table 77\nadd 30.0.0.0/8 via 203.0.113.2 table 77\n");
    expect(ofTapir(`route -batch ${file}`)).toBe(`RTNETLINK answers: File exists\nCommand failed ${file}:2`);
    expect(ofTapir("route show table 77 30.0.0.0/8")).toBe("30.0.0.0/8 via 203.0.113.2 dev wan \n");
    expect(ofTapir("route flush table 77")).toBe("");
    expect(ofTapir("route show table 77")).toBe("");
  });

  it("what was added by hand survives another configuration", () => {
    const before = ofTapir("route show");
    router.writeConfig(
      `version: 1
networks: { lab: { subnet: 10.55.66.0/24 } }
uplinks: { wan: { kind: packet, device: wan, address: 203.0.113.1/24 } }
routes: [ { to: 40.0.0.0/8, via: 203.0.113.2 } ]
`,
    );
    expect(router.tapir("apply", "-f", router.configFile).stderr).toBe("");
    expect(ofTapir("route show")).toBe(
      before.replace("192.0.2.0/24 ", "40.0.0.0/8 via 203.0.113.2 dev wan proto static \n192.0.2.0/24 "),
    );
  });
});
