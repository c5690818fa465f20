import { describe, expect, it } from "vitest";
import { decodeIpv4, echoReply, echoRequest, type Ipv4Fields, icmp, ipv4, tcp, udp } from "../support/frames.ts";
import { C1_MAC, C2_MAC, defaultPlan, Port, SERVER_MAC, TestRouter, UPLINK_MAC } from "../support/router.ts";

const C1 = "10.55.66.2";
const C2 = "10.55.66.3";
const WAN = "203.0.113.1";
const SERVER = "203.0.113.2";
const FAR = "198.51.100.7";

const out = (source = C1, destination = SERVER, more: Partial<Ipv4Fields> = {}) => ({ source, destination, ...more });
const back = (more: Partial<Ipv4Fields> = {}) => ({ source: SERVER, destination: WAN, ...more });

function router(plan = defaultPlan(), limits = {}): TestRouter {
  const made = new TestRouter(plan, limits);
  made.introduce();
  return made;
}

describe("MASQUERADE", () => {
  it("gives UDP the uplink's address, keeps the port, and turns the answer round", () => {
    const r = router();
    const payload = Uint8Array.from("hello", (c) => c.charCodeAt(0));
    const [sent] = r.fromC1(udp(out(), 40000, 53, payload));
    expect(sent).toMatchObject({
      port: Port.WAN,
      sourceMac: UPLINK_MAC,
      destinationMac: SERVER_MAC,
      source: WAN,
      destination: SERVER,
      sourcePort: 40000,
      destinationPort: 53,
      ttl: 63,
      bad: [],
    });
    const [answer] = r.fromServer(udp(back(), 53, 40000, payload));
    expect(answer).toMatchObject({
      port: Port.C1,
      destinationMac: C1_MAC,
      source: SERVER,
      destination: C1,
      sourcePort: 53,
      destinationPort: 40000,
      ttl: 63,
      bad: [],
    });
    expect(answer.payload).toEqual(payload);
  });

  it("carries TCP both ways with checksums right", () => {
    const r = router();
    const [syn] = r.fromC1(tcp(out(), 40000, 80, { flags: "S", sequence: 100 }));
    expect(syn).toMatchObject({ source: WAN, sourcePort: 40000, tcpFlags: "S", bad: [] });
    const [synAck] = r.fromServer(tcp(back(), 80, 40000, { flags: "SA", sequence: 900, acknowledgement: 101 }));
    expect(synAck).toMatchObject({ destination: C1, destinationPort: 40000, tcpFlags: "SA", bad: [] });
    const [ack] = r.fromC1(tcp(out(), 40000, 80, { flags: "A", sequence: 101, acknowledgement: 901 }));
    expect(ack).toMatchObject({ source: WAN, tcpFlags: "A", bad: [] });
  });

  it("translates echo by its identifier", () => {
    const r = router();
    const [request] = r.fromC1(echoRequest(out(), 77));
    expect(request).toMatchObject({ source: WAN, icmpRest: (77 << 16) | 1, bad: [] });
    const [reply] = r.fromServer(echoReply(back(), 77));
    expect(reply).toMatchObject({ port: Port.C1, destination: C1, icmpRest: (77 << 16) | 1, bad: [] });
  });

  it("changes the port only when two sources want the same one towards the same peer", () => {
    const r = router();
    const [first] = r.fromC1(udp(out(), 5000, 53));
    const [second] = r.fromC2(udp(out(C2), 5000, 53));
    const [third] = r.fromC2(udp(out(C2, FAR), 5000, 53));
    expect(first.sourcePort).toBe(5000);
    expect(second.sourcePort).not.toBe(5000);
    expect(second.sourcePort).toBeGreaterThanOrEqual(1024);
    expect(second.bad).toEqual([]);
    // Linux: a source that has been given a port uses it towards other peers too.
    expect(third.sourcePort).toBe(second.sourcePort);
    const [answer] = r.fromServer(udp(back(), 53, second.sourcePort as number));
    expect(answer).toMatchObject({
      port: Port.C2,
      destination: C2,
      destinationPort: 5000,
      destinationMac: C2_MAC,
      bad: [],
    });
    expect(r.fromServer(udp(back(), 53, 5000))[0]).toMatchObject({ destination: C1, destinationPort: 5000 });
  });

  it.each([
    [7, 1, 511],
    [700, 600, 1023],
    [1024, 1024, 65535],
  ])("keeps the class of port %i", (port, low, high) => {
    const r = router();
    r.fromC1(udp(out(), port, 53));
    const [second] = r.fromC2(udp(out(C2), port, 53));
    expect(second.sourcePort).not.toBe(port);
    expect(second.sourcePort).toBeGreaterThanOrEqual(low);
    expect(second.sourcePort).toBeLessThanOrEqual(high);
  });

  it("drops and counts when no port of the class is free, and the port comes back when its flow ends", () => {
    const r = router(defaultPlan(), { flows: 2048 });
    for (let i = 1; i < 512; i++) r.fromC1(udp(out(), i, 53));
    // Another host behind the same port; one behind another port may take over a port (attacks_flows.test.ts).
    expect(r.fromC1(udp(out("10.55.66.9"), 7, 53))).toEqual([]);
    expect(r.stopped("nat-ports-exhausted")).toBe(1);
    r.advance(31_000);
    expect(r.fromC2(udp(out(C2), 7, 53))[0].sourcePort).toBe(7);
  });

  it("does not touch traffic between networks or to an unmatched source", () => {
    const plan = defaultPlan();
    plan.sourceNat = [{ from: { address: (10 << 24) | (55 << 16) | (66 << 8) | 3, length: 32 }, out: 1 }];
    const r = router(plan);
    expect(r.fromC1(udp(out(), 4000, 53))[0]).toMatchObject({ source: C1, ttl: 63, bad: [] });
    expect(r.fromC2(udp(out(C2), 4000, 53))[0]).toMatchObject({ source: WAN });
  });

  it("leaves a UDP checksum of zero alone", () => {
    const r = router();
    const packet = udp(out(), 4000, 53, Uint8Array.of(1, 2, 3));
    packet.set([0, 0], 26);
    const [sent] = r.fromC1(packet);
    expect([sent.bytes[14 + 26], sent.bytes[14 + 27]]).toEqual([0, 0]);
    expect(sent.bad).toEqual([]);
  });

  it("translates other protocols by address alone", () => {
    const r = router();
    const gre = Uint8Array.of(0, 0, 8, 0, 1, 2, 3, 4);
    expect(r.fromC1(ipv4(out(), 47, gre))[0]).toMatchObject({ source: WAN, protocol: 47, bad: [] });
    expect(r.fromServer(ipv4(back(), 47, gre))[0]).toMatchObject({ port: Port.C1, destination: C1, bad: [] });
    // One source at a time: there is nothing to tell two apart by.
    expect(r.fromC2(ipv4(out(C2), 47, gre))).toEqual([]);
    expect(r.stopped("nat-ports-exhausted")).toBe(1);
  });

  it("keeps a partial checksum partial, and in step with the addresses", () => {
    const r = router();
    const packet = tcp(out(), 40000, 80, { flags: "S", options: Uint8Array.of(2, 4, 5, 180) });
    const pseudo = pseudoSum(C1, SERVER, 6, packet.length - 20);
    packet.set([pseudo >> 8, pseudo & 0xff], 20 + 16);
    const header = Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 16, 0);
    r.io.inject(Port.C1, frameFor(packet), header);
    const [sent] = r.turn();
    expect(sent).toMatchObject({ source: WAN, bad: [] });
    expect([...sent.vnetHeader]).toEqual([...header]);
  });

  it("passes a super-frame through whole, judging the MTU by its segments", () => {
    const r = router();
    const data = new Uint8Array(20_000).fill(7);
    const packet = tcp(out(), 40000, 80, { flags: "S", payload: data });
    const pseudo = pseudoSum(C1, SERVER, 6, packet.length - 20);
    packet.set([pseudo >> 8, pseudo & 0xff], 20 + 16);
    const gso = (size: number) => Uint8Array.of(1, 1, 0, 0, size & 0xff, size >> 8, 34, 0, 16, 0);
    r.io.inject(Port.C1, frameFor(packet), gso(1460));
    const [sent] = r.turn();
    expect(sent).toMatchObject({ source: WAN, totalLength: packet.length, bad: [] });
    expect(sent.vnetHeader[2] | (sent.vnetHeader[3] << 8)).toBe(54);
    r.io.inject(Port.C1, frameFor(packet), gso(1461));
    const [error] = r.turn();
    expect(error).toMatchObject({ port: Port.C1, icmpType: 3, icmpCode: 4, icmpRest: 1500 });
  });
});

describe("unsolicited and invalid packets", () => {
  it("does not let the outside reach the inside without a route, and answers for the router's closed ports", () => {
    const r = router();
    expect(r.fromServer(udp(back(), 53, 9999))[0]).toMatchObject({
      port: Port.WAN,
      icmpType: 3,
      icmpCode: 3,
      source: WAN,
    });
    expect(r.fromServer(tcp(back(), 80, 9999, { flags: "S", sequence: 5 }))[0]).toMatchObject({
      port: Port.WAN,
      tcpFlags: "RA",
      acknowledgement: 6,
      source: WAN,
      sourcePort: 9999,
      bad: [],
    });
  });

  it("drops what is invalid where NAT would have applied, so that no inside address leaves", () => {
    const r = router();
    expect(r.fromC1(tcp(out(), 40000, 80, { flags: "R" }))).toEqual([]);
    expect(r.fromC1(tcp(out(), 40000, 80, { flags: "SF" }))).toEqual([]);
    expect(r.stopped("invalid-state")).toBe(2);
  });

  it("drops wrong checksums and never repairs them", () => {
    const r = router();
    const packet = udp(out(), 4000, 53, Uint8Array.of(1, 2, 3, 4));
    packet[30] ^= 0xff;
    expect(r.fromC1(packet)).toEqual([]);
    expect(r.stopped("l4-checksum")).toBe(1);
    const header = udp(out(), 4000, 53);
    header[10] ^= 1;
    expect(r.fromC1(header)).toEqual([]);
    expect(r.stopped("ipv4-checksum")).toBe(1);
  });
});

describe("ICMP errors of known flows", () => {
  it("reach the inside host with the quote as it had sent it", () => {
    const r = router();
    const [sent] = r.fromC1(udp(out(C1, FAR), 4000, 33434, Uint8Array.of(9, 9, 9, 9)));
    const quote = sent.bytes.slice(14);
    const [error] = r.fromServer(icmp({ source: "192.0.2.55", destination: WAN }, 11, 0, 0, quote));
    expect(error).toMatchObject({ port: Port.C1, source: "192.0.2.55", destination: C1, icmpType: 11, bad: [] });
    const quoted = decodeIpv4(error.payload as Uint8Array);
    expect(quoted).toMatchObject({ source: C1, destination: FAR, sourcePort: 4000, destinationPort: 33434, bad: [] });
  });

  it("translate the quoted port and identifier of a flow whose port was changed", () => {
    const r = router();
    r.fromC1(echoRequest(out(), 9));
    const [second] = r.fromC2(echoRequest(out(C2), 9));
    const [error] = r.fromServer(icmp(back(), 3, 1, 0, second.bytes.slice(14)));
    expect(error).toMatchObject({ port: Port.C2, destination: C2, bad: [] });
    expect(decodeIpv4(error.payload as Uint8Array)).toMatchObject({ source: C2, icmpRest: (9 << 16) | 1, bad: [] });
  });

  it("go out with the router's address when an inside host sends them", () => {
    const r = router();
    r.fromC1(udp(out(), 4000, 53));
    const [answer] = r.fromServer(udp(back(), 53, 4000, Uint8Array.of(1)));
    const [error] = r.fromC1(icmp(out(), 3, 3, 0, answer.bytes.slice(14)));
    expect(error).toMatchObject({ port: Port.WAN, source: WAN, destination: SERVER, icmpType: 3, bad: [] });
    expect(decodeIpv4(error.payload as Uint8Array)).toMatchObject({ destination: WAN, destinationPort: 4000, bad: [] });
  });

  it("step over options in the quoted header", () => {
    const r = router();
    const options = Uint8Array.of(1, 1, 1, 0);
    const [sent] = r.fromC1(udp(out(C1, SERVER, { options }), 4000, 53, Uint8Array.of(5, 5, 5, 5)));
    const [error] = r.fromServer(icmp(back(), 3, 3, 0, sent.bytes.slice(14)));
    expect(error).toMatchObject({ destination: C1, bad: [] });
    expect(decodeIpv4(error.payload as Uint8Array)).toMatchObject({ source: C1, bad: [] });
  });

  it("are refused when forged, truncated or about no flow", () => {
    const r = router();
    const [sent] = r.fromC1(udp(out(), 4000, 53));
    const quote = sent.bytes.slice(14);
    const other = udp({ source: WAN, destination: SERVER }, 4001, 53);
    expect(r.fromServer(icmp(back(), 3, 3, 0, other))).toEqual([]);
    expect(r.fromServer(icmp(back(), 3, 3, 0, quote.slice(0, 27)))).toEqual([]);
    expect(r.fromServer(icmp(back(), 3, 3, 0, new Uint8Array(0)))).toEqual([]);
    expect(r.stopped("icmp-error-unrelated")).toBe(3);
    // About c1's flow, but addressed to c2: it is not RELATED, and nothing of it is translated.
    const [forged] = r.fromServer(icmp({ source: SERVER, destination: C2 }, 3, 3, 0, quote));
    expect(forged).toMatchObject({ port: Port.C2, destination: C2 });
    expect(decodeIpv4(forged.payload as Uint8Array)).toMatchObject({ source: WAN, sourcePort: 4000 });
  });
});

function frameFor(packet: Uint8Array): Uint8Array {
  const macs = [..."020000000101", ..."020000000002"]
    .join("")
    .match(/../g)
    ?.map((pair) => Number.parseInt(pair, 16));
  return Uint8Array.from([...(macs as number[]), 8, 0, ...packet]);
}

function pseudoSum(source: string, destination: string, protocol: number, length: number): number {
  const parts = [...source.split("."), ...destination.split(".")].map(Number);
  let sum = protocol + length;
  for (let i = 0; i < 8; i += 2) sum += (parts[i] << 8) + parts[i + 1];
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return sum;
}
