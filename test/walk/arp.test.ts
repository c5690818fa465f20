import { describe, expect, it } from "vitest";
import { decodeIpv4, ethernet, udp } from "../support/frames.ts";
import { BROADCAST, C1_MAC, C2_MAC, GATEWAY_MAC, Port, SERVER_MAC, TestRouter, UPLINK_MAC } from "../support/router.ts";

const request = { operation: 1, senderMac: C1_MAC, sender: "10.55.66.2", target: "10.55.66.1" } as const;

describe("ARP", () => {
  it("answers for the gateway, and the broadcast still reaches the other ports", () => {
    const router = new TestRouter();
    const out = router.arp(Port.C1, request);
    const reply = out.find((each) => each.arp?.operation === 2);
    expect(reply).toMatchObject({
      port: Port.C1,
      destinationMac: C1_MAC,
      sourceMac: GATEWAY_MAC,
      arp: { senderMac: GATEWAY_MAC, sender: "10.55.66.1", targetMac: C1_MAC, target: "10.55.66.2" },
    });
    expect(out.filter((each) => each.port === Port.C2).length).toBe(1);
  });

  it("does not answer for others", () => {
    const router = new TestRouter();
    expect(router.arp(Port.C1, { ...request, target: "10.55.66.77" }).map((each) => each.port)).toEqual([Port.C2]);
    const out = router.arp(Port.WAN, {
      ...request,
      senderMac: SERVER_MAC,
      sender: "203.0.113.2",
      target: "10.55.66.1",
    });
    expect(out).toEqual([]);
  });

  it("answers a probe and learns nothing from it (RFC 5227)", () => {
    const router = new TestRouter();
    const out = router.arp(Port.C1, { ...request, sender: "0.0.0.0" });
    expect(out.some((each) => each.arp?.operation === 2)).toBe(true);
    expect(router.router.neighbours.size).toBe(0);
  });

  it("refuses group hardware addresses and claims to its own address", () => {
    const router = new TestRouter();
    router.introduce();
    const size = router.router.neighbours.size;
    router.send(Port.C1, arpFrame("01:00:5e:00:00:05", "10.55.66.2"));
    router.send(Port.WAN, arpFrame("01:00:5e:00:00:05", "203.0.113.2", UPLINK_MAC));
    router.arp(Port.WAN, { operation: 2, senderMac: SERVER_MAC, sender: "203.0.113.1", target: "203.0.113.1" });
    expect(router.stopped("arp-spoofed")).toBe(3);
    expect(router.router.neighbours.size).toBe(size);
    // The neighbour's good address has survived.
    const out = router.fromC1(udp({ source: "10.55.66.2", destination: "203.0.113.2" }, 4000, 53));
    expect(out[0].destinationMac).toBe(SERVER_MAC);
  });

  it("parks packets until the next hop answers, and sends them in order", () => {
    const router = new TestRouter();
    router.arp(Port.C1, request);
    const packets = [1, 2, 3].map((id) => udp({ source: "10.55.66.2", destination: "203.0.113.2", id }, 4000, 53));
    const first = router.fromC1(packets[0]);
    expect(first.length).toBe(1);
    expect(first[0].arp).toMatchObject({ operation: 1, sender: "203.0.113.1", target: "203.0.113.2" });
    expect(first[0].destinationMac).toBe(BROADCAST);
    expect(router.fromC1(packets[1])).toEqual([]);
    expect(router.fromC1(packets[2])).toEqual([]);
    expect(router.stopped("parked")).toBe(3);
    const out = router.arp(Port.WAN, {
      operation: 2,
      senderMac: SERVER_MAC,
      sender: "203.0.113.2",
      target: "203.0.113.1",
    });
    expect(out.map((each) => [each.id, each.source, each.ttl, each.bad])).toEqual([
      [1, "203.0.113.1", 63, []],
      [2, "203.0.113.1", 63, []],
      [3, "203.0.113.1", 63, []],
    ]);
    expect(router.router.neighbours.parkedTotal).toBe(0);
    expect(router.arena.heldSlots()).toBe(0);
  });

  it("asks three times, a second apart, then says host unreachable", () => {
    const router = new TestRouter();
    router.arp(Port.C1, request);
    const packet = udp({ source: "10.55.66.2", destination: "10.55.66.200" }, 4000, 53);
    expect(router.fromC1(packet).filter((each) => each.arp !== undefined).length).toBe(2);
    const out = router.advance(3_500);
    expect(out.filter((each) => each.port === Port.C1 && each.arp?.operation === 1).length).toBe(2);
    const error = out.find((each) => each.icmpType === 3);
    expect(error).toMatchObject({
      port: Port.C1,
      source: "10.55.66.1",
      destination: "10.55.66.2",
      icmpCode: 1,
      destinationMac: C1_MAC,
      bad: [],
    });
    expect(decodeIpv4(error?.payload as Uint8Array)).toMatchObject({ destination: "10.55.66.200", ttl: 64, bad: [] });
    expect(router.stopped("neighbour-unreachable")).toBe(1);
    expect(router.arena.heldSlots()).toBe(0);
  });

  it("asks a neighbour that has not been heard of for a while again, by unicast, and goes on using it", () => {
    const router = new TestRouter();
    router.introduce();
    router.advance(31_000);
    const packet = udp({ source: "10.55.66.2", destination: "203.0.113.2" }, 4000, 53);
    expect(router.fromC1(packet)[0]).toMatchObject({ port: Port.WAN, source: "203.0.113.1" });
    const asked = router.advance(200).filter((each) => each.arp?.operation === 1 && each.port === Port.WAN);
    expect(asked[0]).toMatchObject({ destinationMac: SERVER_MAC, arp: { target: "203.0.113.2" } });
  });

  it("drops malformed packets", () => {
    const router = new TestRouter();
    router.send(Port.WAN, ethernet(UPLINK_MAC, SERVER_MAC, 0x0806, new Uint8Array(27)));
    router.send(Port.WAN, ethernet(UPLINK_MAC, SERVER_MAC, 0x0806, new Uint8Array(28)));
    expect(router.stopped("arp-malformed")).toBe(2);
  });
});

function arpFrame(senderMac: string, sender: string, destination = GATEWAY_MAC): Uint8Array {
  const packet = Uint8Array.from([0, 1, 8, 0, 6, 4, 0, 1, ...bytesOf(senderMac), ...sender.split(".").map(Number)]);
  return ethernet(destination, C2_MAC, 0x0806, Uint8Array.from([...packet, 0, 0, 0, 0, 0, 0, 10, 55, 66, 1]));
}

function bytesOf(text: string): number[] {
  return text.split(":").map((part) => Number.parseInt(part, 16));
}
