/** `tapir explain` and `show drops` against a router that runs: what is foretold is what happens. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Explanation, Walk } from "../../src/dataplane/explain/steps.ts";
import type { DropRow } from "../../src/dataplane/messages.ts";
import {
  exec,
  namespace,
  ping,
  type RunningRouter,
  requireSystem,
  spawnIn,
  startRouter,
  TAPIR,
  temporaryFolder,
  veth,
} from "../support/netns.ts";
import { Address } from "./worlds.ts";

const canRun = requireSystem(["ping"], "explain against a running router");

interface World {
  c1: string;
  c2: string;
  wan: string;
  tapir: RunningRouter;
}

async function world(): Promise<World> {
  const [c1, c2, wan, router] = ["a", "b", "w", "r"].map((letter) => namespace(letter));
  veth({ netns: wan, ifname: "eth0", address: `${Address.SERVER}/24` }, { netns: router, ifname: "up0" });
  const tapir = await startRouter(
    `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    ports:
      c1: { netns: ${c1}, address: ${Address.C1}, defaultRoute: true }
      c2: { netns: ${c2}, address: ${Address.C2}, defaultRoute: true }
uplinks:
  wan: { kind: packet, device: up0, address: ${Address.UPLINK}/24 }
nat:
  masquerade: [ { from: 10.55.66.0/24, out: wan } ]
  publish: [ { proto: tcp, on: wan, port: 8080, to: ${Address.C2}:80 } ]
filter:
  forward:
    policy: drop
    rules:
      - { in: lab, out: wan, proto: udp, dport: 53, action: drop, name: no-dns }
      - { in: lab, out: wan, action: accept }
      - { in: wan, out: lab, state: [established, related], action: accept }
`,
    { netns: router },
  );
  return { c1, c2, wan, tapir };
}

const send = (netns: string, port: number, to: string, toPort: number): void => {
  const script = `require('dgram').createSocket('udp4').bind(${port}, function () { this.send('x', ${toPort}, '${to}', () => this.close()) })`;
  exec(netns, process.execPath, ["-e", script]);
};

describe.skipIf(!canRun)("tapir explain", () => {
  it("foretells what a router does, and changes nothing", async () => {
    const { c1, c2, wan, tapir } = await world();
    for (const netns of [c1, c2]) expect(ping(netns, Address.SERVER)).toBe(true);
    expect(ping(wan, Address.UPLINK)).toBe(true);
    const explain = (...words: string[]): Explanation =>
      JSON.parse(tapir.mustTapir("explain", "-j", ...words)) as Explanation;
    const shown = (table: string): string => tapir.mustTapir("show", table, "-j");
    const text = (explanation: Explanation): string =>
      explanation.steps.map((step) => `${step.stage} ${step.text}`).join("\n");
    const flows = tapir.mustTapir("conntrack", "-L").split("\n").length;
    const [drops, rules] = [shown("drops"), shown("rules")];

    const masqueraded = explain("--in", "c1", "udp 10.55.66.2:4000 > 203.0.113.2:9");
    expect(masqueraded).toMatchObject({ verdict: "routed", egress: ["wan"] });
    expect(masqueraded.sent).toMatchObject([{ port: "wan", own: false }]);
    expect(masqueraded.sent[0].frame).toContain("203.0.113.1.4000 > 203.0.113.2.9: UDP");
    expect(masqueraded.sentence).toBe(
      "The packet from c1 leaves by wan as udp 203.0.113.1:4000 > 203.0.113.2:9 (source translated).",
    );

    const dropped = explain("--in", "c1", "udp 10.55.66.2:4000 > 203.0.113.2:53");
    expect(dropped).toMatchObject({ verdict: "forward-drop", sent: [], rule: { chain: "FORWARD", number: 1 } });
    const unrouted = explain("--in", "c1", "udp > 192.0.2.1:9");
    expect(unrouted).toMatchObject({ verdict: "no-route", sent: [{ port: "c1", own: true }] });
    expect(unrouted.sent[0].frame).toContain("ICMP net 192.0.2.1 unreachable");
    const published = explain("--in", "wan", "tcp 203.0.113.2:5555 > 203.0.113.1:8080");
    expect(published).toMatchObject({ verdict: "routed", egress: ["c2"] });
    expect(text(published)).toContain("filter FORWARD: no rule decides, and what is published passes");
    const hairpin = explain("--in", "c1", "tcp > 203.0.113.1:8080");
    expect(hairpin.sentence).toContain(
      "leaves by c2 as tcp 203.0.113.1:40000 > 10.55.66.3:80 (source and destination translated)",
    );
    expect(explain("--in", "c1", "udp > 10.55.66.3:9")).toMatchObject({ verdict: "switched", egress: ["c2"] });

    // Nothing has happened.
    expect(tapir.mustTapir("conntrack", "-L").split("\n").length).toBe(flows);
    const withoutTime = (json: string): unknown =>
      (JSON.parse(json) as DropRow[])
        .filter(({ outcome }) => outcome === "dropped")
        .map(({ reason, count }) => [reason, count]);
    expect(withoutTime(shown("drops"))).toEqual(withoutTime(drops));
    expect(shown("rules")).toBe(rules);

    // And now it does.
    send(c1, 4000, Address.SERVER, 9);
    const flow = tapir.mustTapir("conntrack", "-L", "-p", "udp");
    expect(flow).toContain("src=10.55.66.2 dst=203.0.113.2 sport=4000 dport=9");
    expect(flow).toContain("src=203.0.113.2 dst=203.0.113.1 sport=9 dport=4000");
    expect(text(explain("--in", "c1", "udp 10.55.66.2:4000 > 203.0.113.2:9"))).toContain("admitted before");
    send(c1, 4000, Address.SERVER, 53);
    const last = (JSON.parse(shown("drops")) as DropRow[]).find(({ reason }) => reason === "forward-drop")?.last;
    expect(last).toMatchObject({ port: "c1", rule: { chain: "FORWARD", number: 1 } });
    expect(last?.frame).toContain("10.55.66.2.4000 > 203.0.113.2.53: UDP, length 1");
    expect(tapir.mustTapir("show", "drops")).toMatch(
      /^ {4}by FORWARD rule 1: .*no-dns.*\n {4}last [\d:.]+ from c1: IP /m,
    );
  });

  it("traces live packets", async () => {
    const { c1, tapir } = await world();
    const words = ["trace", "-j", "-c", "2", "icmp", "--socket", tapir.socket];
    const tracing = spawnIn(undefined, process.execPath, [TAPIR, ...words]);
    // They go on until the trace has begun, and has seen enough.
    spawnIn(c1, "ping", ["-i", "0.2", Address.SERVER]);
    await tracing.until(/2 packets have been shown/);
    const walks = tracing
      .stdout()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Walk);
    expect(walks.length).toBe(2);
    for (const walk of walks) expect(walk.frame).toContain("ICMP echo");
    const ended = tapir.tapir("trace", "-i", "nowhere");
    expect(ended.stderr.trim()).toBe('tapir: no port is called "nowhere"; there are c1, c2, wan');
    expect(tapir.tapir("trace", "foo bar").status).toBe(2);
  });

  it("takes frames, captures and bad input", async () => {
    const { c1, tapir } = await world();
    expect(ping(c1, Address.SERVER)).toBe(true);
    const { sourceMac, destinationMac } = JSON.parse(
      tapir.mustTapir("explain", "-j", "--in", "c1", "udp > 203.0.113.2:9"),
    ) as Explanation;
    const arp = `0001080006040001${sourceMac.replaceAll(":", "")}0a374202${"00".repeat(6)}0a374201`;
    const frame = `ffffffffffff${sourceMac.replaceAll(":", "")}0806${arp}`;
    expect(tapir.mustTapir("explain", "--in", "c1", "--hex", frame)).toContain(`10.55.66.1 is-at ${destinationMac}`);

    const bytes = Buffer.from(frame, "hex");
    const header = Buffer.alloc(24);
    header.writeUInt32LE(0xa1b2c3d4, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(65_535, 16);
    header.writeUInt32LE(1, 20);
    const record = Buffer.alloc(16);
    record.writeUInt32LE(bytes.length, 8);
    record.writeUInt32LE(bytes.length, 12);
    const file = join(temporaryFolder(), "one.pcap");
    writeFileSync(file, Buffer.concat([header, record, bytes]));
    expect(tapir.mustTapir("explain", "--in", "c1", "--pcap", `${file}#1`)).toContain(
      `10.55.66.1 is-at ${destinationMac}`,
    );

    const fails = (words: string[], status: number, message: RegExp): void => {
      const ended = tapir.tapir("explain", ...words);
      expect(ended.stderr.trim().split("\n").length, ended.stderr).toBe(1);
      expect(ended.stderr).toMatch(message);
      expect(ended.status).toBe(status);
    };
    fails(["--in", "c1", "--pcap", `${file}#2`], 1, /it has 1 packets, no packet 2/);
    fails(["--in", "c1", "--pcap", "/nowhere.pcap"], 1, /\/nowhere.pcap: no such file/);
    fails(["--in", "c1", "--hex", "xyz"], 2, /no bytes in hexadecimal/);
    fails(["--in", "c1"], 2, /which packet/);
    fails(["--in", "c9", "udp > 203.0.113.2:9"], 1, /no port is called "c9"/);
    fails(["--in", "c1", "udp > 203.0.113.2:9 nonsense"], 2, /'nonsense' is no word/);
  });
});
