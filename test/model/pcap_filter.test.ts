/** Expressions beside the real tcpdump: over the same packets both must select the same ones. */
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { compileExpression, ExpressionError, selects } from "../../src/pcap_filter/expression.ts";
import { requireSystem, temporaryFolder } from "../support/netns.ts";
import { randomExpression } from "../support/pcap_filter/expressions.ts";
import { type Below, randomFrame } from "../support/pcap_filter/frames.ts";
import { type CapturedFrame, selectedByTcpdump, writePcap } from "../support/pcap_filter/tcpdump.ts";
import { seededRandom } from "../support/router.ts";
import { SEEDS } from "../support/seeds.ts";

const FRAMES = 600;
const EXPRESSIONS = 40;

const TABLE = [
  "",
  "host 10.55.66.2",
  "host 10.55.66.2 or 203.0.113.2",
  "host 10.55.66.2 and not 203.0.113.2",
  "src host 10.55.66.2 and dst 203.0.113.2",
  "src and dst 10.55.66.2",
  "net 10.55.66.0/24",
  "src net 10.55 or dst net 203.0.113.0/24",
  "net 10.55.66.0 mask 255.255.255.0",
  "net 10",
  "ip host 10.55.66.2",
  "arp host 10.55.66.2 or 10.55.66.3",
  "port 80 or 443",
  "tcp port 80 or 443 or 8080",
  "tcp dst port 80 and src port 40000",
  "udp portrange 22-80",
  "portrange 1024-65535",
  "port (80 or 53)",
  "not port 80",
  "! tcp and ! udp",
  "tcp or udp and host 10.55.66.2",
  "host 10.55.66.2 and tcp or udp",
  "host 10.55.66.2 and (tcp or udp)",
  "icmp or arp or ip6",
  "ip proto 47 or 50",
  "ip proto \\tcp or \\udp",
  "proto 17",
  "ether proto 0x0800",
  "ether proto \\arp or \\ip",
  "ether host 02:00:00:00:00:02",
  "ether src 2:0:0:0:0:2 or 02-00-00-00-00-03",
  "ether broadcast or ether multicast",
  "vlan",
  "vlan 100",
  "vlan 100 and host 10.55.66.2",
  "not vlan and tcp",
  "vlan and vlan and ip",
  "ip or vlan and ip",
  "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
  "tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack = 0",
  "tcp[13] = 2",
  "tcp[13] & 7 != 0 || icmp[icmptype] = icmp-echo",
  "icmp[icmptype] == icmp-unreach and icmp[icmpcode] <= 2",
  "ip[0] & 0xf > 5",
  "ip[6:2] & 0x3fff != 0",
  "ip[2:2] - ((ip[0] & 0xf) << 2) > 30",
  "tcp[((tcp[12] & 0xf0) >> 2)] > 100",
  "tcp[20:4] = 0x01010101",
  "ether[0] & 1 = 0 and ip[16] >= 224",
  "udp[4:2] > 20",
  "ip6[6] = 58 and icmp6[0] > 100",
  "tcp[100] = 5 or udp",
  "not ether[80] = 5",
  "-1 = 0xffffffff and ip",
  "8 % 5 + 1 = 2 and ip",
  "6 ^ 2 + 1 = 5 and ip",
  "net 0.0.0.0/0",
  "ip6 dst net ::/0",
  "ip[0] << ip[8] = 0",
  "greater 100",
  "less 60",
  "len > 60 and len <= 80",
  "60 <= len",
  "(len) = 60 or ((tcp[13]) & 2) != 0",
  "host 2001:db8::1 or ff02::1",
  "ip6 src net 2001:db8::/32",
  "tcp and (port 80 and (host 10.55.66.2 or host 10.55.66.3))",
  "not not tcp",
  "not (host 10.55.66.2 or port 80) and not arp",
];

const below =
  (random: () => number): Below =>
  (limit) =>
    (random() >>> 0) % limit;

/** fast-check draws the seeds, not the numbers: its numbers prefer the ends of their range. */
function sample<T>(make: (below: Below) => T, count: number, seed: number): T[] {
  const drawn = fc.integer().map((value) => make(below(seededRandom(value))));
  return fc.sample(fc.noShrink(drawn), { numRuns: count, seed });
}

function selectedHere(expression: string, frames: readonly CapturedFrame[]): number[] {
  const program = compileExpression(expression);
  return frames.flatMap(({ bytes, wireLength }, index) => {
    // Other bytes stand before and behind it, as in an arena.
    const arena = new Uint8Array(bytes.length + 64).fill(0xa5);
    arena.set(bytes, 24);
    return selects(program, new DataView(arena.buffer), 24, bytes.length, wireLength) ? [index] : [];
  });
}

describe.skipIf(!requireSystem(["tcpdump"], "expressions beside tcpdump"))("an expression", () => {
  const frames = sample(randomFrame, FRAMES, SEEDS[0]);
  let file = "";

  beforeAll(() => {
    file = join(temporaryFolder(), "frames.pcap");
    writePcap(file, frames);
  });

  it.each(TABLE)("selects what tcpdump does: %s", (expression) => {
    const here = selectedHere(expression, frames);
    expect(here).toEqual(selectedByTcpdump(file, expression, true));
    expect(here.length).toBeGreaterThan(0);
  });

  it.each(SEEDS)("at random selects what tcpdump does (seed %i)", (seed) => {
    let selected = 0;
    for (const expression of sample(randomExpression, EXPRESSIONS, seed)) {
      const there = selectedByTcpdump(file, expression, false);
      if (typeof there === "string") {
        // A constant that is divided by, or shifted by.
        expect(there).toMatch(/division by zero|modulus by zero|shift by more than 31 bits/);
        expect(() => compileExpression(expression)).toThrow(ExpressionError);
        continue;
      }
      const here = selectedHere(expression, frames);
      expect(here, expression).toEqual(there);
      if (here.length > 0 && here.length < frames.length) selected++;
    }
    expect(selected).toBeGreaterThan(EXPRESSIONS / 2);
  });
});
