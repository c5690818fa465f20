/** conntrack(8)'s filters on the words of a flow. */
import { describe, expect, it } from "vitest";
import { EVERY_FLOW, FilterError, matchesFlow, parseFilter } from "../../src/conntrack/filter.ts";
import { FLOW_WORDS, FlowFlag, FlowWord } from "../../src/conntrack/flow_layout.ts";
import { TcpState } from "../../src/conntrack/tcp_states.ts";
import { word } from "../support/frames.ts";

const BASE = FLOW_WORDS;

/** A flow at the second place, so that a test that forgets the base is seen. */
function flow(status: number, ports: number, replyPorts: number, mark = 0): Int32Array {
  const words = new Int32Array(2 * FLOW_WORDS);
  words.set(
    [word("10.55.66.2"), word("203.0.113.2"), ports, word("203.0.113.2"), word("203.0.113.1"), replyPorts, status],
    BASE,
  );
  words[BASE + FlowWord.MARK] = mark;
  return words;
}

const { SEEN_REPLY, ASSURED, SOURCE_NAT, DESTINATION_NAT } = FlowFlag;
const tcp = flow(
  6 | (TcpState.ESTABLISHED << 8) | SEEN_REPLY | ASSURED | SOURCE_NAT,
  (40000 << 16) | 65535,
  (65535 << 16) | 50000,
  -1,
);
const udp = flow(17, (4000 << 16) | 9, (9 << 16) | 4000);
const ping = flow(1 | SEEN_REPLY | DESTINATION_NAT, (0xfedc << 16) | (8 << 8), 0xfedc << 16, 6);

type Words = Record<string, string>;
const matched = (words: Words): string[] => {
  const filter = JSON.parse(JSON.stringify(parseFilter(words)));
  return Object.entries({ tcp, udp, ping }).flatMap(([name, each]) => (matchesFlow(filter, each, BASE) ? [name] : []));
};

describe("a filter", () => {
  it.each<[Words, string[]]>([
    [{}, ["tcp", "udp", "ping"]],
    [{ src: "10.55.66.2" }, ["tcp", "udp", "ping"]],
    [{ src: "10.55.66.3" }, []],
    [{ src: "10.55.66.3/31" }, ["tcp", "udp", "ping"]],
    [{ src: "0.0.0.0/0", dst: "203.0.113.0/24" }, ["tcp", "udp", "ping"]],
    [{ dst: "203.0.112.0/24" }, []],
    [{ "reply-src": "203.0.113.2", "reply-dst": "203.0.113.1" }, ["tcp", "udp", "ping"]],
    [{ "reply-dst": "10.55.66.2" }, []],
    [{ proto: "tcp" }, ["tcp"]],
    [{ proto: "17" }, ["udp"]],
    [{ proto: "tcp", sport: "40000" }, ["tcp"]],
    [{ proto: "tcp", sport: "40001" }, []],
    [{ proto: "tcp", dport: "65535", "reply-port-src": "65535", "reply-port-dst": "50000" }, ["tcp"]],
    [{ proto: "tcp", "reply-port-dst": "40000" }, []],
    [{ proto: "udp", sport: "40000" }, []],
    [{ proto: "tcp", state: "ESTABLISHED" }, ["tcp"]],
    [{ proto: "tcp", state: "TIME_WAIT" }, []],
    [{ status: "ASSURED" }, ["tcp"]],
    [{ status: "SEEN_REPLY" }, ["tcp", "ping"]],
    [{ status: "UNREPLIED" }, ["udp"]],
    [{ status: "ASSURED,SEEN_REPLY" }, ["tcp"]],
    [{ status: "ASSURED,UNREPLIED" }, []],
    [{ mark: "0" }, ["udp"]],
    [{ mark: "4294967295" }, ["tcp"]],
    [{ mark: "0x6" }, ["ping"]],
    [{ mark: "0x2/0x3" }, ["ping"]],
    [{ "src-nat": "" }, ["tcp"]],
    [{ "src-nat": "203.0.113.1" }, ["tcp"]],
    [{ "src-nat": "203.0.113.9" }, []],
    [{ "dst-nat": "" }, ["ping"]],
    [{ "dst-nat": "203.0.113.2" }, ["ping"]],
    [{ "any-nat": "" }, ["tcp", "ping"]],
    [{ "any-nat": "203.0.113.1" }, ["tcp"]],
    [{ "any-nat": "", proto: "icmp" }, ["ping"]],
    [{ family: "ipv4" }, ["tcp", "udp", "ping"]],
    [{ family: "ipv6" }, []],
    [{ proto: "icmp", "icmp-type": "8", "icmp-code": "0", "icmp-id": "65244" }, ["ping"]],
    [{ proto: "icmp", "icmp-type": "13" }, []],
  ])("%j asks for %j", (words, expected) => {
    expect(matched(words)).toEqual(expected);
  });

  it.each<[Words, RegExp]>([
    [{ cats: "1" }, /unknown filter 'cats'/],
    [{ toString: "1" }, /unknown filter/],
    [{ src: "10.55.66" }, /not an IPv4 address/],
    [{ src: "10.55.66.256" }, /not an IPv4 address/],
    [{ src: "10.55.66.0/33" }, /address or prefix/],
    [{ src: "10.55.66.0/" }, /address or prefix/],
    [{ src: "" }, /not an IPv4 address/],
    [{ proto: "cats" }, /--proto: 'cats'/],
    [{ proto: "256" }, /--proto: '256'/],
    [{ sport: "1" }, /--sport: its protocol/],
    [{ proto: "icmp", dport: "1" }, /--dport: its protocol/],
    [{ proto: "tcp", dport: "65536" }, /--dport: '65536'/],
    [{ proto: "tcp", dport: "-1" }, /--dport: '-1'/],
    [{ state: "ESTABLISHED" }, /only with -p tcp/],
    [{ proto: "tcp", state: "established" }, /unknown TCP state/],
    [{ status: "ASSURED,CATS" }, /'CATS' is none of/],
    [{ mark: "x" }, /--mark: 'x'/],
    [{ mark: "1/" }, /--mark: ''/],
    [{ "src-nat": "cats" }, /--src-nat: 'cats'/],
    [{ family: "ipx" }, /--family: 'ipx'/],
    [{ "icmp-id": "1" }, /--icmp-id: only with -p icmp/],
    [{ proto: "icmp", "icmp-type": "256" }, /--icmp-type: '256'/],
  ])("%j is refused", (words, message) => {
    expect(() => parseFilter(words)).toThrow(FilterError);
    expect(() => parseFilter(words)).toThrow(message);
  });

  it("that asks for nothing is every flow's", () => {
    expect(parseFilter({ src: undefined })).toEqual(EVERY_FLOW);
  });
});
