/** Captures in memory: what each hook point shows of a frame, what is said of it, and what happens when a ring is full. */
import { describe, expect, it } from "vitest";
import type { HookName } from "../../src/dataplane/capture_ring.ts";
import { rehearse } from "../../src/dataplane/explain/rehearse.ts";
import { Capturing, headline } from "../support/capturing.ts";
import { echoRequest, ethernet, tcp, udp, word } from "../support/frames.ts";
import { C1_MAC, C2_MAC, defaultPlan, GATEWAY_MAC, Port, TestRouter, UPLINK_MAC } from "../support/router.ts";
import { Action, type ShortPlan } from "../support/rules.ts";

const C1 = "10.55.66.2";
const C2 = "10.55.66.3";
const WAN = "203.0.113.1";
const SERVER = "203.0.113.2";
const out = { source: C1, destination: SERVER };

function capturing(plan: ShortPlan = defaultPlan()): { r: TestRouter; capturing: Capturing } {
  const r = new TestRouter(plan);
  r.introduce();
  return { r, capturing: new Capturing(r) };
}

describe("a capture shows", () => {
  it("a masqueraded flow at each of its points, both ways", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start();
    r.fromC1(udp(out, 4000, 53));
    r.fromServer(udp({ source: SERVER, destination: WAN }, 53, 4000));
    const seen = c.seen(reader);
    expect(seen.map(headline)).toEqual([
      `ingress ${Port.C1} ${C1}:4000>${SERVER}:53 ttl 64`,
      `prerouting ${Port.C1} ${C1}:4000>${SERVER}:53 ttl 64`,
      `postrouting ${Port.WAN} ${WAN}:4000>${SERVER}:53 ttl 63`,
      `egress ${Port.WAN} ${WAN}:4000>${SERVER}:53 ttl 63`,
      `ingress ${Port.WAN} ${SERVER}:53>${WAN}:4000 ttl 64`,
      `prerouting ${Port.WAN} ${SERVER}:53>${WAN}:4000 ttl 64`,
      `postrouting ${Port.C1} ${SERVER}:53>${C1}:4000 ttl 63`,
      `egress ${Port.C1} ${SERVER}:53>${C1}:4000 ttl 63`,
    ]);
    const flow = `flow=udp:${C1}:4000>${SERVER}:53 nat=${WAN}:4000>${SERVER}:53`;
    const said = (direction: string) => `verdict=routed rule=FORWARD:policy ${flow} direction=${direction}`;
    expect(seen.map(({ comment }) => comment)).toEqual([
      ...new Array(4).fill(said("original")),
      ...new Array(4).fill(said("reply")),
    ]);
    expect(seen.flatMap(({ bad }) => bad)).toEqual([]);
    expect(seen[0]).toMatchObject({ sourceMac: C1_MAC, destinationMac: GATEWAY_MAC });
    expect(seen[3]).toMatchObject({ sourceMac: UPLINK_MAC });
  });

  it("a published port: before and after DNAT", () => {
    const publish = [{ protocol: 6, interface: 1, ports: { first: 8080, last: 8080 }, to: word(C2), toPort: 80 }];
    const { r, capturing: c } = capturing({ ...defaultPlan(), publish });
    const reader = c.start({ hooks: ["prerouting", "postrouting"] });
    r.fromServer(tcp({ source: SERVER, destination: WAN }, 5000, 8080, { flags: "S", sequence: 1 }));
    expect(c.seen(reader).map(headline)).toEqual([
      `prerouting ${Port.WAN} ${SERVER}:5000>${WAN}:8080 ttl 64`,
      `postrouting ${Port.C2} ${SERVER}:5000>${C2}:80 ttl 63`,
    ]);
  });

  it("a hairpin: out of the network into it, under the uplink's address", () => {
    const publish = [{ protocol: 6, interface: 1, ports: { first: 8080, last: 8080 }, to: word(C2), toPort: 80 }];
    const { r, capturing: c } = capturing({ ...defaultPlan(), publish });
    const reader = c.start({ hooks: ["ingress", "egress"] });
    r.fromC1(tcp({ source: C1, destination: WAN }, 5000, 8080, { flags: "S", sequence: 1 }));
    const seen = c.seen(reader);
    expect(seen.map(headline)).toEqual([
      `ingress ${Port.C1} ${C1}:5000>${WAN}:8080 ttl 64`,
      `egress ${Port.C2} ${WAN}:${seen[1].sourcePort}>${C2}:80 ttl 63`,
    ]);
    expect(seen[0].comment).toContain(`flow=tcp:${C1}:5000>${WAN}:8080 nat=${WAN}:${seen[1].sourcePort}>${C2}:80`);
  });

  it("a bridged frame: unchanged, with the port that it goes to", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start();
    r.send(Port.C1, ethernet(C2_MAC, C1_MAC, 0x0800, udp({ source: C1, destination: C2 }, 1, 2)));
    const seen = c.seen(reader);
    expect(seen.map(headline)).toEqual([
      `ingress ${Port.C1} ${C1}:1>${C2}:2 ttl 64`,
      `bridge ${Port.C1} ${C1}:1>${C2}:2 ttl 64`,
      `egress ${Port.C2} ${C1}:1>${C2}:2 ttl 64`,
    ]);
    expect(seen[1].comment).toBe(`verdict=switched to=${Port.C2}`);
  });

  it("a flooded frame once at the bridge, and at each port that it leaves by", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start({ hooks: ["bridge", "egress"] });
    const frame = ethernet("02:00:00:00:00:77", C1_MAC, 0x0800, udp({ source: C1, destination: C2 }, 1, 2));
    r.send(Port.C1, frame);
    expect(c.seen(reader).map(({ hook, port, comment }) => [hook, port, comment])).toEqual([
      ["bridge", Port.C1, "verdict=flooded"],
      ["egress", Port.C2, "verdict=flooded"],
    ]);
  });

  it("a dropped frame as it came, with the reason and the rule", () => {
    const rules = [{ protocol: 17, action: Action.DROP, name: "no-datagrams" }];
    const { r, capturing: c } = capturing({ ...defaultPlan(), forward: { policy: Action.DROP, rules } });
    const reader = c.start({ hooks: ["ingress", "drop"] });
    r.fromC1(udp(out, 4000, 53));
    r.fromC1(echoRequest(out, 7, 1));
    const seen = c.seen(reader);
    expect(seen.map(headline)).toEqual([
      `ingress ${Port.C1} ${C1}:4000>${SERVER}:53 ttl 64`,
      `drop ${Port.C1} ${C1}:4000>${SERVER}:53 ttl 64`,
      `ingress ${Port.C1} ${C1}>${SERVER} ttl 64`,
      `drop ${Port.C1} ${C1}>${SERVER} ttl 64`,
    ]);
    expect(seen.map(({ comment }) => comment.replace(/ flow.*/, ""))).toEqual([
      expect.stringMatching(/^verdict=dropped reason=forward-drop rule=FORWARD:1/),
      expect.stringMatching(/^verdict=dropped reason=forward-drop rule=FORWARD:1/),
      "verdict=dropped reason=forward-drop rule=FORWARD:policy",
      "verdict=dropped reason=forward-drop rule=FORWARD:policy",
    ]);
  });

  it("what the router itself sends as its own", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start({ hooks: ["egress"] });
    r.fromC1(echoRequest({ source: C1, destination: "10.55.66.1" }, 7, 1));
    r.arp(Port.C1, { operation: 1, senderMac: C1_MAC, sender: C1, target: "10.55.66.1" });
    expect(c.seen(reader).map(({ etherType, comment }) => [etherType, comment])).toEqual([
      [0x0800, "verdict=own"],
      // The question goes to the other port as well.
      [0x0806, "verdict=flooded"],
      [0x0806, "verdict=own"],
    ]);
  });

  it("a frame that waits for ARP: parked where it came in, routed when it leaves", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start({ hooks: ["ingress", "postrouting"], expression: "ip" });
    r.fromC1(udp({ source: C1, destination: "203.0.113.7" }, 4000, 53));
    expect(c.seen(reader).map(({ hook, comment }) => [hook, comment.split(" ")[0]])).toEqual([
      ["ingress", "verdict=parked"],
    ]);
    r.arp(Port.WAN, { operation: 2, senderMac: "02:00:00:00:00:07", sender: "203.0.113.7", target: WAN }, UPLINK_MAC);
    expect(c.seen(reader).map(headline)).toEqual([`postrouting ${Port.WAN} ${WAN}:4000>203.0.113.7:53 ttl 63`]);
  });

  it("fragments as they are at the ports, and whole datagrams in between", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start({ expression: "ip" });
    const payload = new Uint8Array(1400);
    const whole = udp(out, 4000, 53, payload);
    const piece = (offset: number, length: number, more: boolean) => fragment(whole, offset, length, more);
    r.fromC1(piece(0, 800, true));
    r.fromC1(piece(800, 608, false));
    const hooks = c.seen(reader).map(({ hook, length }) => [hook, length]);
    expect(hooks.slice(0, 2)).toEqual([
      ["ingress", 834],
      ["ingress", 642],
    ]);
    expect(hooks.slice(2, 4)).toEqual([
      ["prerouting", 1442],
      ["postrouting", 1442],
    ]);
    expect(hooks.slice(4).every(([hook, length]) => hook === "egress" && (length as number) <= 834)).toBe(true);
    expect(hooks.length).toBeGreaterThan(5);
  });

  it("merged frames as one packet with all their bytes", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start({ hooks: ["ingress", "egress"], expression: "udp" });
    r.fromC1(udp(out, 4000, 53, Uint8Array.of(0)));
    const payloads = [1, 2, 3].map((value) => new Uint8Array(100).fill(value));
    const frames = payloads.map((payload) => ethernet(GATEWAY_MAC, C1_MAC, 0x0800, udp(out, 4000, 53, payload)));
    r.send(Port.C1, ...frames);
    const seen = c.seen(reader).slice(2);
    expect(seen.map(({ hook, length }) => [hook, length])).toEqual([
      ["ingress", 142],
      ["ingress", 142],
      ["ingress", 142],
      ["egress", 342],
    ]);
    expect([...seen[3].bytes.slice(42)]).toEqual(payloads.flatMap((payload) => [...payload]));
  });
});

/** A piece of an IPv4 packet's payload, with a header of its own. */
function fragment(packet: Uint8Array, offset: number, length: number, more: boolean): Uint8Array {
  const bytes = new Uint8Array(20 + length);
  bytes.set(packet.subarray(0, 20));
  bytes.set(packet.subarray(20 + offset, 20 + offset + length), 20);
  const view = new DataView(bytes.buffer);
  view.setUint16(2, bytes.length);
  view.setUint16(6, (more ? 0x2000 : 0) | (offset >> 3));
  view.setUint16(10, 0);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += view.getUint16(i);
  view.setUint16(10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
  return bytes;
}

describe("a capture", () => {
  it("takes what its expression selects, as the frame is at the hook", () => {
    const { r, capturing: c } = capturing();
    const before = c.start({ expression: `src host ${C1}` }, 0);
    const after = c.start({ expression: `src host ${WAN}`, hooks: ["egress"] }, 1);
    r.fromC1(udp(out, 4000, 53));
    const hooks: HookName[] = ["ingress", "prerouting"];
    expect(c.seen(before).map(({ hook }) => hook)).toEqual(hooks);
    expect(c.seen(after).map(({ hook }) => hook)).toEqual(["egress"]);
  });

  it("looks at one port, or at those of one interface", () => {
    const { r, capturing: c } = capturing();
    const ofC2 = c.start({ port: Port.C2 }, 0);
    const ofWan = c.start({ interface: 1 }, 1);
    r.fromC1(udp(out, 4000, 53));
    r.send(Port.C1, ethernet(C2_MAC, C1_MAC, 0x0800, udp({ source: C1, destination: C2 }, 1, 2)));
    const places = (seen: { hook: string; port: number }[]) => seen.map(({ hook, port }) => `${hook} ${port}`);
    expect(places(c.seen(ofC2))).toEqual([`bridge ${Port.C1}`, `egress ${Port.C2}`]);
    expect(places(c.seen(ofWan))).toEqual([`postrouting ${Port.WAN}`, `egress ${Port.WAN}`]);
  });

  it("keeps so many bytes of each frame, and says how long it was", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start({ snapBytes: 60 });
    r.fromC1(udp(out, 4000, 53, new Uint8Array(500)));
    const seen = c.seen(reader);
    expect(seen).toHaveLength(4);
    for (const { bytes, length } of seen) expect([bytes.length, length]).toEqual([60, 542]);
  });

  it("loses what finds no room, and counts it: captured and lost are all that matched", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start({ expression: "udp" });
    let captured = 0;
    for (let i = 0; i < 1300; i++) {
      r.fromC1(udp(out, 4000, 53, new Uint8Array(1400)));
      // In between the reader keeps up for a while, so that records go round the ring's end.
      if (i < 400 && i % 100 === 0) captured += c.seen(reader).length;
    }
    captured += c.seen(reader).length;
    expect(reader.lost).toBeGreaterThan(0);
    expect(captured + reader.lost).toBe(5_200);
    expect(reader.matched).toBe(5_200);
    expect(reader.losses().reduce((sum, { count }) => sum + count, 0)).toBe(reader.lost);
    const { framesCaptured, capturesLost, bytesCopied } = r.router.counters.named();
    expect({ framesCaptured, capturesLost }).toEqual({ framesCaptured: captured, capturesLost: reader.lost });
    expect(bytesCopied).toBe(captured * 1442);
    // And there is room again.
    r.fromC1(udp(out, 4000, 53));
    expect(c.seen(reader)).toHaveLength(4);
  });

  it("costs nothing when it is over: no counter moves, and its ring serves the next", () => {
    const { r, capturing: c } = capturing();
    const first = c.start();
    r.fromC1(udp(out, 4000, 53));
    expect(c.seen(first)).toHaveLength(4);
    c.stop();
    expect(r.router.captures).toBeUndefined();
    const { framesCaptured, bytesCopied } = r.router.counters.named();
    r.fromC1(udp(out, 4000, 53));
    expect(r.router.counters.named()).toMatchObject({ framesCaptured, bytesCopied, capturesLost: 0 });
    expect(c.seen(first)).toEqual([]);
    const second = c.start({ hooks: ["ingress"] });
    r.fromC1(udp(out, 4000, 53));
    expect(c.seen(second).map(({ hook }) => hook)).toEqual(["ingress"]);
  });

  it("does not see what is only rehearsed", () => {
    const { r, capturing: c } = capturing();
    const reader = c.start();
    const frame = ethernet(GATEWAY_MAC, C1_MAC, 0x0800, udp(out, 4000, 53));
    expect(rehearse(r.router, Port.C1, frame).performed).toHaveLength(1);
    r.turn();
    expect(c.seen(reader)).toEqual([]);
    r.fromC1(udp(out, 4000, 53));
    expect(c.seen(reader)).toHaveLength(4);
  });

  it("changes nothing of what is forwarded", () => {
    const run = (isCaptured: boolean) => {
      const { r, capturing: c } = capturing();
      if (isCaptured) c.start();
      const sent = [r.fromC1(udp(out, 4000, 53)), r.fromC1(echoRequest(out, 7, 1)), r.advance(1000)];
      return sent.flat().map(({ port, bytes }) => [port, Buffer.from(bytes).toString("hex")]);
    };
    expect(run(true)).toEqual(run(false));
  });
});
