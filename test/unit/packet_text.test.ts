/** Packets as people write them, and the frames that are made of them, read by code that shares nothing with that. */
import { describe, expect, it } from "vitest";
import { PacketTextError, parsePacket } from "../../src/control/packet_text.ts";
import { composeFrame } from "../../src/packet/compose.ts";
import { parseMac } from "../../src/packet/mac_address.ts";
import { decode } from "../support/frames.ts";

const FROM = parseMac("02:00:00:00:00:02");
const TO = parseMac("02:00:00:00:01:01");

const made = (text: string) => decode(composeFrame(parsePacket(text).fields, FROM, TO));

describe("a packet's text", () => {
  it.each([
    ["tcp 10.55.66.2:4000 > 203.0.113.2:443 syn", { protocol: 6, tcpFlags: "S", ttl: 64, sourcePort: 4000 }],
    ["tcp 10.55.66.2:4000 > 203.0.113.2:443 syn-ack seq 7 ackno 9", { tcpFlags: "SA", sequence: 7 }],
    ["tcp 10.55.66.2:4000 > 203.0.113.2:443 psh ack length 100", { tcpFlags: "PA", totalLength: 140 }],
    ["tcp 10.55.66.2:4000 > 203.0.113.2:443", { tcpFlags: "A", destinationPort: 443 }],
    ["udp 10.55.66.2:1 > 203.0.113.2:65535 length 11 ttl 1", { protocol: 17, ttl: 1, totalLength: 39 }],
    ["udp 10.55.66.2:1 > 203.0.113.2:53 fragments ipid 7", { fragment: 0, id: 7 }],
    ["icmp 10.55.66.2 > 203.0.113.2", { protocol: 1, source: "10.55.66.2", destination: "203.0.113.2" }],
    ["icmp 10.55.66.2 > 203.0.113.2 type 13 code 0 id 9 seq 2", { protocol: 1, totalLength: 28 }],
    ["icmp 10.55.66.2 > 203.0.113.2 echo len 30", { protocol: 1, totalLength: 58 }],
    ["47 10.55.66.2 > 203.0.113.2 length 20", { protocol: 47, totalLength: 40 }],
  ])("becomes a frame with right checksums: %s", (text, expected) => {
    expect(made(text)).toMatchObject({ ...expected, bad: [], sourceMac: "02:00:00:00:00:02" });
  });

  it("knows which fields it has named", () => {
    expect([...parsePacket("udp 10.55.66.2:1 > 203.0.113.2:53 ttl 3").named].sort()).toEqual([
      "destination",
      "destinationPort",
      "protocol",
      "source",
      "sourcePort",
      "ttl",
    ]);
  });

  it.each([
    ["", 'expected a packet like "tcp 10.55.66.2:4000 > 203.0.113.2:443 syn", not ""'],
    [
      "tpc 10.55.66.2:1 > 203.0.113.2:2",
      'tpc" is no protocol: tcp, udp, icmp or a number up to 255; did you mean "tcp"?',
    ],
    ["tcp 10.55.66.2 > 203.0.113.2:2", '"10.55.66.2" is not ADDRESS:PORT'],
    ["icmp 10.55.66.2:1 > 203.0.113.2", '"10.55.66.2:1": this protocol has no ports'],
    ["udp 10.55.66.2:1 > 203.0.113.999:2", 'expected an IPv4 address, not "203.0.113.999"'],
    ["udp 10.55.66.2:70000 > 203.0.113.2:2", 'port of 10.55.66.2:70000: expected a number up to 65535, not "70000"'],
    ["tcp 10.55.66.2:1 > 203.0.113.2:2 sin", '"sin" is no word of a packet; did you mean "win"?'],
    ["udp 10.55.66.2:1 > 203.0.113.2:2 syn", '"syn" is no word of a packet'],
    ["udp 10.55.66.2:1 > 203.0.113.2:2 win 7", '"win" does not fit the protocol'],
    ["udp 10.55.66.2:1 > 203.0.113.2:2 echo-request", '"echo-request" does not fit the protocol'],
    ["udp 10.55.66.2:1 > 203.0.113.2:2 ttl", "ttl: expected a number up to 255, not nothing"],
    ["udp 10.55.66.2:1 > 203.0.113.2:2 constructor", '"constructor" is no word of a packet'],
  ])("that is wrong is refused in one line: %s", (text, message) => {
    expect(() => parsePacket(text)).toThrow(PacketTextError);
    expect(() => parsePacket(text)).toThrow(message);
  });
});
