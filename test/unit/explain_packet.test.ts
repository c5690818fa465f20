/** A packet in words becomes the bytes that a host would send, with sensible things where nothing was said. */
import { describe, expect, it } from "vitest";
import { type Configuration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { frameOf } from "../../src/control/explain/packet_bytes.ts";
import { readPacket } from "../../src/control/explain/packet_wish.ts";
import { Ingress } from "../../src/control/explain/surroundings.ts";
import { arp, decode, decodeIpv4, ethernet, tcp, udp } from "../support/frames.ts";

const CONFIGURATION: Configuration = {
  version: 1,
  networks: {
    lab: {
      subnet: "10.55.66.0/24",
      ports: {
        c1: { netns: "c1", address: "10.55.66.2", mac: "02:00:00:00:00:02" },
        c2: { netns: "c2", address: "10.55.66.3", mac: "02:00:00:00:00:03" },
      },
    },
  },
  uplinks: { wan: { kind: "packet", device: "up0", address: "203.0.113.1/24", gateway: "203.0.113.2" } },
};
const RESOLVED = resolvePlan(CONFIGURATION);
const GATEWAY = RESOLVED.plan.interfaces[0].mac;
const UPLINK = RESOLVED.plan.interfaces[1].mac;
const SERVER = "02:00:00:00:00:99";
const STATIONS = {
  neighbours: [{ interface: 1, address: "203.0.113.2", mac: SERVER, state: "reachable" as const, parked: 0 }],
  fdb: [],
};

const frame = (port: string, words: string): Uint8Array =>
  frameOf(new Ingress(RESOLVED, port, STATIONS).settle(readPacket(words)));

describe("a packet in words", () => {
  it("is what a host would send", () => {
    const ends = { source: "10.55.66.2", destination: "203.0.113.2" };
    const syn = tcp({ ...ends, id: 1 }, 4000, 443, { flags: "S", window: 64240 });
    expect(frame("c1", "tcp 10.55.66.2:4000 > 203.0.113.2:443 syn")).toEqual(
      ethernet(GATEWAY, "02:00:00:00:00:02", 0x0800, syn),
    );
    const datagram = udp({ ...ends, id: 7, ttl: 3, fragment: 0x4000 }, 40_000, 53, new Uint8Array(10));
    const words = "udp > 203.0.113.2:53 len 10 ttl 3 df id 7";
    expect(frame("c1", words)).toEqual(ethernet(GATEWAY, "02:00:00:00:00:02", 0x0800, datagram));
    const question = arp({
      operation: 1,
      senderMac: "02:00:00:00:00:02",
      sender: "10.55.66.2",
      targetMac: "00:00:00:00:00:00",
      target: "10.55.66.1",
    });
    expect(frame("c1", "arp who-has 10.55.66.1")).toEqual(
      ethernet("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:02", 0x0806, question),
    );
  });

  it("takes TCP flags as words and as tcpdump's letters, and addresses as tcpdump prints them", () => {
    const flagsOf = (words: string) => decode(frame("c1", `tcp 10.55.66.2.4000 > 203.0.113.2.443: ${words}`)).tcpFlags;
    expect(flagsOf("")).toBe("S");
    expect(flagsOf("syn ack")).toBe("SA");
    expect(flagsOf("flags [P.]")).toBe("PA");
    expect(flagsOf("fin ack 77 seq 5")).toBe("FA");
    const decoded = decode(frame("c1", "tcp > 203.0.113.2:443 seq 4294967295 ack 77 win 9 len 5"));
    expect(decoded).toMatchObject({ sequence: 0xffffffff, acknowledgement: 77, tcpFlags: "A", bad: [] });
    expect(decoded.payload?.length).toBe(5);
  });

  it("knows ICMP by name, and what an error quotes", () => {
    expect(decode(frame("c1", "icmp > 203.0.113.2 echo id 9"))).toMatchObject({
      icmpType: 8,
      icmpRest: (9 << 16) | 1,
      bad: [],
    });
    const error = decode(
      frame("wan", "icmp 203.0.113.9 > 203.0.113.1 port-unreachable about udp 203.0.113.1:4000 > 203.0.113.2:53"),
    );
    expect(error).toMatchObject({ sourceMac: SERVER, destinationMac: UPLINK, icmpType: 3, icmpCode: 3, bad: [] });
    expect(decodeIpv4(error.payload as Uint8Array)).toMatchObject({
      source: "203.0.113.1",
      sourcePort: 4000,
      destinationPort: 53,
    });
  });

  it("is addressed as its sender would address it", () => {
    const macs = (port: string, words: string) => {
      const { sourceMac, destinationMac } = decode(frame(port, words));
      return [sourceMac, destinationMac];
    };
    expect(macs("c1", "udp > 10.55.66.3:53")).toEqual(["02:00:00:00:00:02", "02:00:00:00:00:03"]);
    expect(macs("c1", "udp > 10.55.66.255:53")[1]).toBe("ff:ff:ff:ff:ff:ff");
    expect(macs("c1", "udp > 224.0.0.251:5353")[1]).toBe("01:00:5e:00:00:fb");
    expect(macs("wan", "udp 198.51.100.4:53 > 203.0.113.1:53")).toEqual([SERVER, UPLINK]);
    expect(macs("c1", "udp > 203.0.113.2:53 mac 02:00:00:00:00:aa > 02:00:00:00:00:bb")).toEqual([
      "02:00:00:00:00:aa",
      "02:00:00:00:00:bb",
    ]);
    expect(decode(frame("c1", "udp > 203.0.113.2:53 vlan 7")).etherType).toBe(0x8100);
    expect(decode(frame("c1", "arp 10.55.66.2 is-at 02:00:00:00:00:02")).arp).toMatchObject({
      operation: 2,
      target: "10.55.66.1",
    });
  });

  it.each([
    ["", /it is empty/],
    ["udp", /where to/],
    ["10.55.66.2 > 203.0.113.2", /which protocol/],
    ["tcp > 203.0.113.2", /to which port/],
    ["udp > 203.0.113.2:70000", /no IPv4 address and port/],
    ["udp > 203.0.113.256:7", /no IPv4 address and port/],
    ["udp > 203.0.113.2:53 ttl 256", /ttl is a number from 0 to 255, not '256'/],
    ["udp > 203.0.113.2:53 ttl", /'ttl' needs something behind it/],
    ["udp > 203.0.113.2:53 frag 7", /multiple of 8/],
    ["udp > 203.0.113.2:53 whatever", /'whatever' is no word of a packet/],
    ["udp > 203.0.113.2:53 mac 02:zz", /no hardware address/],
    ["udp > 10.55.66.77:53", /explain 'arp who-has 10.55.66.77'/],
    ["icmp > 203.0.113.2 port-unreachable", /an ICMP error quotes a packet/],
    ["tcp > 203.0.113.2:80 flags X", /'X' is no TCP flag/],
    ["constructor", /no word of a packet/],
  ])("says what is wrong with '%s'", (words, message) => {
    expect(() => frame("c1", words)).toThrow(message);
  });

  it("says which ports there are", () => {
    expect(() => frame("c9", "udp > 203.0.113.2:53")).toThrow('no port is called "c9"; there are c1, c2, wan');
  });
});
