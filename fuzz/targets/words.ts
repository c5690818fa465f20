/** Smaller languages: capture expressions, packets in words, filters of flows, assertions and routes. */
import { readOperation, readQuery } from "../../src/cli/route_words.ts";
import { FilterError, matchesFlow, parseFilter } from "../../src/conntrack/filter.ts";
import { type Configuration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { TapirError } from "../../src/control/errors.ts";
import { frameOf } from "../../src/control/explain/packet_bytes.ts";
import { readPacket } from "../../src/control/explain/packet_wish.ts";
import { Ingress } from "../../src/control/explain/surroundings.ts";
import { PacketTextError, parsePacket } from "../../src/control/packet_text.ts";
import { printFrame } from "../../src/packet/print.ts";
import { compileExpression, ExpressionError, selects } from "../../src/pcap_filter/expression.ts";
import { randomExpression } from "../../test/support/pcap_filter/expressions.ts";
import { randomFrame } from "../../test/support/pcap_filter/frames.ts";
import { Dice } from "../dice.ts";
import { insist, refusing, type Target } from "../target.ts";
import { kindOf, textTarget } from "./texts.ts";

function refusal(run: () => void, kinds: readonly (abstract new (...args: never[]) => Error)[]): string[] {
  try {
    run();
    return ["accepted"];
  } catch (error) {
    if (!kinds.some((kind) => error instanceof kind)) throw error;
    return [kindOf((error as Error).message)];
  }
}

const dice = new Dice(1);
const FRAMES = Array.from({ length: 60 }, () => randomFrame(dice.below).bytes);

export const EXPRESSION = textTarget({
  name: "expression",
  about: "capture expressions (pcap-filter), compiled and run over frames",
  seeds: Array.from({ length: 200 }, () => randomExpression(dice.below, 4)),
  words: [
    " and ",
    " or ",
    " not ",
    "(",
    ")",
    "[",
    "]",
    "&",
    "proto",
    "\\tcp",
    "vlan",
    "mask",
    "portrange",
    "0xffffffff",
  ],
  run: (text) =>
    refusal(() => {
      const program = compileExpression(text);
      for (const bytes of FRAMES) {
        for (const length of [bytes.length, Math.min(14, bytes.length), 0])
          selects(program, new DataView(bytes.slice().buffer), 0, length);
      }
    }, [ExpressionError]),
});

const CONFIGURATION: Configuration = {
  version: 1,
  networks: {
    lab: {
      subnet: "10.55.66.0/24",
      ports: { c1: { netns: "c1", address: "10.55.66.2" }, c2: { netns: "c2", address: "10.55.66.3" } },
    },
  },
  uplinks: { wan: { kind: "packet", device: "up0", address: "203.0.113.1/24", gateway: "203.0.113.2" } },
};
const resolved = resolvePlan(CONFIGURATION);
const INGRESSES = ["c1", "wan"].map((name) => new Ingress(resolved, name, { neighbours: [], fdb: [] }));

export const EXPLAIN = textTarget({
  name: "explain",
  about: "packets in words, as tapir explain takes them, made into frames",
  seeds: [
    "tcp 10.55.66.2:4000 > 203.0.113.2:443 syn ttl 3 df",
    "udp > 203.0.113.2:53 len 1400 tos 0x10 id 7",
    "icmp > 203.0.113.2 echo id 7 seq 9",
    "icmp 203.0.113.9 > 203.0.113.1 port-unreachable about udp 203.0.113.1:4000 > 203.0.113.2:53",
    "proto 47 > 203.0.113.2 offset 1480 more len 8",
    "arp who-has 10.55.66.1 tell 10.55.66.2",
    "arp 10.55.66.2 is-at 02:00:00:00:00:02",
    "ether 0x86dd mac > 33:33:00:00:00:01 len 40 vlan 7",
    "tcp > 203.0.113.2:80 flags SA seq 1 ack 2 win 65535 mac 02:00:00:00:00:09 > 02:00:00:00:00:0a",
  ],
  words: [" about ", " > ", "frag", "len 70000", "type 3", "code 9", "ttl 0", "ack", "mac"],
  run: (text) =>
    refusal(() => {
      const wish = readPacket(text);
      for (const ingress of INGRESSES) {
        const frame = refusing([TapirError], () => frameOf(ingress.settle(wish)));
        if (frame === undefined) continue;
        insist(frame.length >= 14 && frame.length <= 65_549, () => `a frame of ${frame.length} bytes`);
        printFrame(new DataView(frame.buffer, frame.byteOffset), 0, frame.length);
      }
    }, [TapirError]),
});

export const PACKET_TEXT = textTarget({
  name: "packet-text",
  about: "packets in scenarios and assertions, and words of routes",
  seeds: [
    "tcp 10.55.66.2:4000 > 203.0.113.2:443 syn",
    "icmp 10.55.66.2 > 203.0.113.2 echo-request ttl 63 id 9",
    "udp 10.55.66.2:4000 > 203.0.113.2:53 length 100 df",
    "10.0.0.0/8 via 203.0.113.9 dev wan metric 5 table 100 proto static",
    "default nexthop via 203.0.113.9 weight 2 nexthop via 203.0.113.10",
    "blackhole 198.51.100.0/24 metric 0xffffffff",
    "203.0.113.9 from 10.55.66.2 iif lab mark 0x7",
  ],
  run: (text) => {
    const words = text.trim().split(/\s+/);
    return [
      ...refusal(() => void parsePacket(text), [PacketTextError]),
      ...refusal(() => void readOperation("add", words), [TapirError]),
      ...refusal(() => void readOperation("flush", words), [TapirError]),
      ...refusal(() => void readQuery(words), [TapirError]),
    ];
  },
});

const FILTER_SEEDS = [
  '{"proto":"tcp","src":"10.55.66.2","dport":"80"}',
  '{"proto":"17","orig-src":"10.55.66.0/24","state":"ESTABLISHED"}',
  '{"status":"ASSURED,SEEN_REPLY","mark":"0x1/0xff","reply-dst":"203.0.113.1"}',
  '{"sport":"1-100","icmp-type":"8","icmp-id":"5","zone":"0","src-nat":"any","timeout":"5"}',
];

export const FLOW_FILTER: Target<string> = textTarget({
  name: "flow-filter",
  about: "filters of the flow table, as the API takes them",
  seeds: FILTER_SEEDS,
  words: ["ESTABLISHED", "icmp", "0/0", "mask-src", "any-nat", "dying"],
  run(text) {
    const words = refusing([SyntaxError], () => JSON.parse(text) as unknown);
    if (typeof words !== "object" || words === null || Array.isArray(words)) return ["no words"];
    const texts = Object.entries(words).map(([name, value]) => [name, String(value)] as const);
    return refusal(() => {
      const filter = parseFilter(Object.fromEntries(texts));
      matchesFlow(filter, new Int32Array(64), 0);
    }, [FilterError]);
  },
});
