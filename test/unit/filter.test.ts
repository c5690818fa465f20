/** Each match and each way through the chains, without packets. */
import { describe, expect, it } from "vitest";
import { describeRule } from "../../src/filter/format.ts";
import type { FilterKey } from "../../src/filter/key.ts";
import { type Match, type Rule, RuleState, StatusBit, type Target } from "../../src/filter/rule_set.ts";
import { compile, forwarding, keyOf } from "../support/filter_key.ts";
import { word } from "../support/frames.ts";

const ACCEPT: Target = { kind: "ACCEPT" };
const A = word("10.55.66.2");
const port = (first: number, last = first) => ({ is: { first, last } });
const range = (first: string, last = first) => ({ first: word(first), last: word(last) });
const tcp = { protocol: 6, sourcePort: 40_000, destinationPort: 80, tcpFlags: 2 };
const udp = { protocol: 17, sourcePort: 40_000, destinationPort: 53 };
const icmp = { protocol: 1, icmp: 8 << 8 };

/** What a rule asks, a packet that it matches, and one that it does not; the second for `not` the first. */
const FIELDS: [string, Partial<Rule>, Partial<FilterKey>, Partial<FilterKey>][] = [
  ["in", { in: { is: ["dmz", "wan"] } }, { inInterface: 1 }, { inInterface: 0 }],
  ["in, by wildcard", { in: { is: ["w+"] } }, { inInterface: 2 }, { inInterface: 0 }],
  ["in, a port", { in: { is: ["c2"] } }, { inInterface: 0, inPort: 1 }, { inInterface: 0, inPort: 0 }],
  [
    "in, a port or a network",
    { in: { is: ["c2", "dmz"] } },
    { inInterface: 1, inPort: 2 },
    { inInterface: 0, inPort: 0 },
  ],
  ["in, nobody", { in: { is: ["nobody"], not: true } }, { inInterface: 0 }, {}],
  ["out", { out: { is: ["wan"] } }, { outInterface: 2 }, { outInterface: -1 }],
  ["out, a port", { out: { is: ["c1"] } }, { outInterface: 0, outPort: 0 }, { outInterface: 0, outPort: -1 }],
  ["source", { source: { is: [range("10.55.66.0", "10.55.66.3")] } }, { source: A }, { source: word("10.55.66.4") }],
  [
    "source, of the last half",
    { source: { is: [range("200.0.0.0", "255.255.255.255")] } },
    { source: -1 },
    { source: A },
  ],
  ["destination", { destination: { is: [range("255.255.255.255")] } }, { destination: -1 }, { destination: -2 }],
  ["protocol", { protocol: { is: 47 } }, { protocol: 47 }, { protocol: 6 }],
];

const MATCHES: [string, Match, Partial<FilterKey>, Partial<FilterKey>][] = [
  ["tcp", { kind: "tcp" }, tcp, udp],
  ["tcp sport", { kind: "tcp", sourcePort: port(40_000) }, tcp, { ...tcp, sourcePort: 39_999 }],
  ["tcp dport", { kind: "tcp", destinationPort: port(80, 90) }, tcp, { ...tcp, destinationPort: 91 }],
  ["tcp not dport", { kind: "tcp", destinationPort: { ...port(80), not: true } }, { ...tcp, destinationPort: 81 }, tcp],
  ["tcp flags", { kind: "tcp", flags: { is: { mask: 0x17, set: 2 } } }, tcp, { ...tcp, tcpFlags: 0x12 }],
  ["tcp not flags", { kind: "tcp", flags: { is: { mask: 0x17, set: 2 }, not: true } }, { ...tcp, tcpFlags: 16 }, tcp],
  ["udp sport", { kind: "udp", sourcePort: port(40_000) }, udp, { ...udp, sourcePort: 1 }],
  ["udp dport", { kind: "udp", destinationPort: port(53) }, udp, { ...tcp, destinationPort: 53 }],
  [
    "icmp type",
    { kind: "icmp", types: { is: [{ type: 8, codes: { first: 0, last: 255 } }] } },
    icmp,
    { ...icmp, icmp: 0 },
  ],
  [
    "icmp code",
    { kind: "icmp", types: { is: [{ type: 3, codes: { first: 4, last: 4 } }] } },
    { protocol: 1, icmp: 0x304 },
    { protocol: 1, icmp: 0x303 },
  ],
  ["any icmp", { kind: "icmp", types: { is: [{ type: 255, codes: { first: 0, last: 255 } }] } }, icmp, tcp],
  [
    "multiport sports",
    { kind: "multiport", side: "source", ports: { is: [{ first: 1, last: 9 }] } },
    { ...tcp, sourcePort: 9 },
    tcp,
  ],
  ["multiport dports", { kind: "multiport", side: "destination", ports: { is: [{ first: 80, last: 80 }] } }, tcp, icmp],
  [
    "multiport not dports",
    { kind: "multiport", side: "destination", ports: { is: [{ first: 80, last: 80 }], not: true } },
    udp,
    icmp,
  ],
  [
    "multiport ports",
    { kind: "multiport", side: "either", ports: { is: [{ first: 80, last: 80 }] } },
    { ...tcp, sourcePort: 80, destinationPort: 5 },
    udp,
  ],
  [
    "iprange",
    { kind: "iprange", source: { is: range("10.55.66.2", "10.55.66.5") } },
    { source: A },
    { source: word("10.55.66.6") },
  ],
  [
    "not iprange",
    { kind: "iprange", destination: { is: range("10.55.66.2", "10.55.66.5"), not: true } },
    { destination: 1 },
    { destination: A },
  ],
  [
    "ctstate",
    { kind: "conntrack", states: { is: RuleState.NEW | RuleState.RELATED } },
    { states: RuleState.RELATED },
    { states: RuleState.ESTABLISHED },
  ],
  [
    "ctstate DNAT",
    { kind: "conntrack", states: { is: RuleState.DNAT } },
    { states: RuleState.NEW | RuleState.DNAT },
    { states: RuleState.NEW },
  ],
  [
    "ctstatus",
    { kind: "conntrack", status: { is: StatusBit.ASSURED } },
    { status: StatusBit.ASSURED | StatusBit.CONFIRMED },
    { status: StatusBit.CONFIRMED },
  ],
  [
    "ctstatus NONE",
    { kind: "conntrack", status: { is: StatusBit.NONE } },
    { status: 0 },
    { status: StatusBit.CONFIRMED },
  ],
  ["ctdir", { kind: "conntrack", direction: "REPLY" }, { direction: 1 }, { direction: 0 }],
  ["ctproto", { kind: "conntrack", protocol: { is: 6 } }, tcp, udp],
  [
    "ctorigsrc",
    { kind: "conntrack", originalSource: { is: range("10.55.66.2") } },
    { originalSource: A },
    { originalSource: 1 },
  ],
  [
    "ctorigdst",
    { kind: "conntrack", originalDestination: { is: range("10.55.66.2"), not: true } },
    { originalDestination: 1 },
    { originalDestination: A },
  ],
  ["ctreplsrc", { kind: "conntrack", replySource: { is: range("10.55.66.2") } }, { replySource: A }, {}],
  ["ctrepldst", { kind: "conntrack", replyDestination: { is: range("10.55.66.2") } }, { replyDestination: A }, {}],
  [
    "ctorigsrcport",
    { kind: "conntrack", originalSourcePort: port(7) },
    { originalPorts: 7 << 16 },
    { originalPorts: 7 },
  ],
  [
    "ctorigdstport",
    { kind: "conntrack", originalDestinationPort: port(7) },
    { originalPorts: 7 },
    { originalPorts: 7 << 16 },
  ],
  [
    "state",
    { kind: "state", states: { is: RuleState.INVALID } },
    { states: RuleState.INVALID },
    { states: RuleState.NEW },
  ],
  ["mark", { kind: "mark", value: 0x10, mask: 0xf0 }, { mark: 0x1f }, { mark: 0x2f }],
  ["mark of all bits", { kind: "mark", value: -1, mask: -1 }, { mark: -1 }, { mark: 1 }],
  ["not mark", { kind: "mark", value: 1, mask: -1, not: true }, { mark: 2 }, { mark: 1 }],
  ["connmark", { kind: "connmark", value: 3, mask: 3 }, { connmark: 7 }, { connmark: 4 }],
  [
    "set src",
    { kind: "set", name: "friends", sides: ["src"] },
    { source: word("198.51.100.9") },
    { source: word("198.51.101.9") },
  ],
  ["not set dst", { kind: "set", name: "friends", sides: ["dst"], not: true }, { destination: 1 }, { destination: A }],
  ["an empty set", { kind: "set", name: "none", sides: ["dst"], not: true }, { destination: 1 }, { protocol: 300 }],
  [
    "addrtype dst",
    { kind: "addrtype", destination: { is: ["LOCAL"] } },
    { destination: word("203.0.113.1") },
    { destination: A },
  ],
  [
    "addrtype not src",
    { kind: "addrtype", source: { is: ["BROADCAST"], not: true } },
    { source: A },
    { source: word("10.55.66.255") },
  ],
  ["physdev in", { kind: "physdev", in: { is: "c1" } }, { inPort: 0 }, { inPort: 1 }],
  ["physdev out", { kind: "physdev", out: { is: "c2" } }, { outPort: 1 }, { outPort: -1 }],
  ["physdev bridged", { kind: "physdev", bridged: { is: true } }, { isBridged: true }, { isBridged: false }],
  [
    "mac",
    { kind: "mac", high: 0x0200, low: 5 },
    { frame: { sourceMacHigh: 0x0200, sourceMacLow: 5 } as never },
    { frame: { sourceMacHigh: 0x0200, sourceMacLow: 6 } as never },
  ],
];

function isMet(rule: Partial<Rule>, fields: Partial<FilterKey>): boolean {
  const rules = compile(forwarding([{ matches: [], target: ACCEPT, ...rule }]));
  return rules.evaluate(rules.forward, keyOf(fields)).kind === "ACCEPT";
}

describe("a rule", () => {
  it.each(FIELDS)("looks at %s", (_, rule, hit, miss) => {
    expect(isMet(rule, hit)).toBe(true);
    if (Object.keys(miss).length > 0) expect(isMet(rule, miss)).toBe(false);
  });

  it.each(FIELDS.filter(([, rule]) => !JSON.stringify(rule).includes("not")))(
    "looks at anything but %s",
    (_, rule, hit, miss) => {
      const turned = Object.fromEntries(
        Object.entries(rule).map(([key, wish]) => [key, { ...(wish as object), not: true }]),
      );
      expect(isMet(turned, hit)).toBe(false);
      expect(isMet(turned, miss)).toBe(true);
    },
  );

  it.each(MATCHES.filter(([name]) => name !== "an empty set"))("matches %s", (_, match, hit, miss) => {
    expect(isMet({ matches: [match] }, hit)).toBe(true);
    expect(isMet({ matches: [match] }, miss)).toBe(false);
  });

  it("matches only when all of it does", () => {
    const both: Match[] = [
      { kind: "tcp", destinationPort: port(80) },
      { kind: "mark", value: 1, mask: 1 },
    ];
    expect(isMet({ matches: both, source: { is: [range("10.55.66.2")] } }, { ...tcp, mark: 1, source: A })).toBe(true);
    for (const wrong of [{ mark: 0 }, { source: 1 }, { destinationPort: 81 }]) {
      expect(
        isMet({ matches: both, source: { is: [range("10.55.66.2")] } }, { ...tcp, mark: 1, source: A, ...wrong }),
      ).toBe(false);
    }
  });

  it("twice about one field wants both", () => {
    const ranges: Match[] = [{ kind: "iprange", source: { is: range("10.0.0.0", "10.55.66.2") } }];
    const rule = { source: { is: [range("10.55.66.2", "10.55.66.9")] }, matches: ranges };
    expect([isMet(rule, { source: A }), isMet(rule, { source: A + 1 }), isMet(rule, { source: A - 1 })]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it("with a limit matches as often as it may, and again later", () => {
    const rules = compile(
      forwarding([{ matches: [{ kind: "limit", packets: 60, perSeconds: 60, burst: 3 }], target: ACCEPT }]),
    );
    const met = (now: number, isDry = false) => rules.evaluate(rules.forward, keyOf({ now, isDry })).kind === "ACCEPT";
    expect([met(0), met(0), met(0, true), met(0), met(0), met(999)]).toEqual([true, true, true, true, false, false]);
    expect([met(1000), met(1000), met(3500), met(3500), met(3500)]).toEqual([true, false, true, true, false]);
  });

  it("out of range is refused, by chain and number", () => {
    const make = (rule: Partial<Rule>) => () => compile(forwarding([{ matches: [] }, { matches: [], ...rule }]));
    expect(make({ source: { is: [{ first: 5, last: 4 }] } })).toThrow("FORWARD, rule 2: addresses are out of range");
    expect(make({ matches: [{ kind: "tcp", destinationPort: port(9, 8) }] })).toThrow(RangeError);
    expect(make({ matches: [{ kind: "state", states: { is: 0 } }] })).toThrow(RangeError);
    expect(make({ matches: [{ kind: "set", name: "foes", sides: ["src"] }] })).toThrow('no set called "foes"');
    expect(make({ target: { kind: "JUMP", chain: "nowhere" } })).toThrow(
      'FORWARD, rule 2: there is no chain called "nowhere"',
    );
    expect(make({ target: { kind: "JUMP", chain: "INPUT" } })).toThrow(RangeError);
  });
});

const on = (mark: number): Match[] => [{ kind: "mark", value: mark, mask: -1 }];
const jump = (chain: string): Target => ({ kind: "JUMP", chain });

describe("a walk", () => {
  const user = [
    {
      name: "one",
      rules: [
        { matches: on(1), target: ACCEPT },
        { matches: on(2), target: { kind: "RETURN" } as const },
        { matches: on(4), target: { kind: "GOTO", chain: "two" } as const },
        { matches: [] },
      ],
    },
    {
      name: "two",
      rules: [
        { matches: on(4), target: jump("three") },
        { matches: on(5), target: ACCEPT },
      ],
    },
    { name: "three", rules: [{ matches: on(6), target: ACCEPT }] },
  ];
  const rules = compile(
    forwarding(
      [
        { matches: [] },
        { matches: [], target: jump("one") },
        { matches: on(3), target: ACCEPT },
        { matches: on(4), target: { kind: "REJECT", answer: 9 } },
      ],
      user,
    ),
  );
  const walk = (mark: number) => {
    const target = rules.evaluate(rules.forward, keyOf({ mark }));
    return [
      target.kind,
      rules.isPolicy,
      [...rules.trace.subarray(0, rules.traced)].map((rule) => rule - rules.forward.firstRule),
    ];
  };
  const one = user.length > 0 ? 4 + 1 + 2 : 0;

  it("jumps, returns and comes back, and meets rules without a target on its way", () => {
    expect(walk(1)).toEqual(["ACCEPT", false, [0, 1, one]]);
    expect(walk(2)).toEqual(["DROP", true, [0, 1, one + 1, 4]]);
    expect(walk(3)).toEqual(["ACCEPT", false, [0, 1, one + 3, 2]]);
    expect(walk(0)).toEqual(["DROP", true, [0, 1, one + 3, 4]]);
  });

  it("after GOTO comes back to where the chain was called from", () => {
    expect(walk(4)).toEqual(["REJECT", false, [0, 1, one + 2, one + 5, 3]]);
  });

  it("marks, and the next rules see it", () => {
    const set = forwarding([
      { matches: [], target: { kind: "MARK", value: 5, mask: 0xff } },
      { matches: [], target: { kind: "CONNMARK", action: "save", packetMask: -1, flowMask: -1 } },
      { matches: [], target: { kind: "MARK", value: 0x100, mask: 0 } },
      { matches: [{ kind: "connmark", value: 5, mask: -1 }, ...on(0x105)], target: ACCEPT },
    ]);
    const key = keyOf({ mark: 0xaa });
    const marking = compile(set);
    expect(marking.evaluate(marking.forward, key).kind).toBe("ACCEPT");
    expect([key.mark, key.connmark]).toEqual([0x105, 5]);
  });

  it("tells of LOG and goes on", () => {
    const logging = compile(
      forwarding([
        { matches: [], target: { kind: "LOG", level: 4, prefix: "seen ", options: 0 } },
        { matches: [], target: ACCEPT },
      ]),
    );
    const told: string[] = [];
    logging.onLog = ({ target, table, chain }) => told.push(`${target.prefix}${table} ${chain}`);
    expect(logging.evaluate(logging.forward, keyOf({})).kind).toBe("ACCEPT");
    logging.evaluate(logging.forward, keyOf({ isDry: true }));
    expect(told).toEqual(["seen filter FORWARD"]);
  });

  it("that would never end is refused", () => {
    const loop = (chain: string) => [{ matches: [], target: jump(chain) }];
    const chains = [
      { name: "a", rules: loop("b") },
      { name: "b", rules: loop("a") },
    ];
    expect(() => compile(forwarding(loop("a"), chains))).toThrow("leads to itself");
  });
});

describe("counters", () => {
  const kept: Rule = { protocol: { is: 6 }, matches: [], target: ACCEPT };
  const other: Rule = { protocol: { is: 17 }, matches: [], target: { kind: "DROP" } };
  const ofForward = (rules: ReturnType<typeof compile>) => rules.counted().filter[1];

  function counted() {
    const rules = compile(forwarding([kept, other]));
    for (const protocol of [6, 6, 1]) {
      rules.evaluate(rules.forward, keyOf({ protocol }));
      rules.count(100);
    }
    return rules;
  }

  it("survive a change of other rules", () => {
    const next = compile(forwarding([{ protocol: { is: 1 }, matches: [] }, kept]));
    next.carryCounters(counted());
    expect(ofForward(next)).toEqual({ name: "FORWARD", packets: [0, 2, 1], bytes: [0, 200, 100] });
  });

  it("of twins are told apart by their order", () => {
    const twins = compile(forwarding([kept, kept]));
    twins.setCounters([{ number: twins.forward.firstRule + 1, packets: 7, bytes: 70 }]);
    const next = compile(forwarding([other, kept, kept]));
    next.carryCounters(twins);
    expect(ofForward(next).packets).toEqual([0, 0, 7, 0]);
  });

  it("are set to zero by table, chain and rule", () => {
    const rules = counted();
    rules.zero("filter", "INPUT");
    rules.zero("nat");
    rules.zero("filter", "FORWARD", 2);
    expect(ofForward(rules).packets).toEqual([2, 0, 0]);
    rules.zero("filter");
    expect(ofForward(rules).packets).toEqual([0, 0, 0]);
  });

  it("go on along a path", () => {
    const rules = compile(forwarding([{ matches: [] }, kept]));
    rules.evaluate(rules.forward, keyOf({ protocol: 6 }));
    rules.count(40);
    const path = rules.path();
    expect(rules.path()).toBe(path);
    for (let i = 0; i < 3; i++) rules.paths.count(path, 100);
    rules.evaluate(rules.forward, keyOf({ protocol: 1 }));
    expect(rules.path()).not.toBe(path);
    rules.paths.count(0, 1000);
    expect(ofForward(rules)).toEqual({ name: "FORWARD", packets: [4, 4, 0], bytes: [340, 340, 0] });
    expect(ofForward(rules).packets).toEqual([4, 4, 0]);
  });

  it("of more paths than there may be are lost, and that is counted", () => {
    const rules = compile(forwarding([]));
    for (let i = 0; i < 65_540; i++) {
      rules.trace[0] = i;
      rules.traced = 1;
      rules.path();
    }
    expect(rules.paths.overflows).toBe(5);
  });
});

describe("a rule in words", () => {
  it("uses the configuration's", () => {
    const rule: Rule = {
      in: { is: ["lab"] },
      out: { is: ["wan"], not: true },
      source: { is: [range("10.55.66.0", "10.55.66.255"), range("10.0.0.1"), range("0.0.0.0", "255.255.255.255")] },
      protocol: { is: 6 },
      matches: [
        {
          kind: "multiport",
          side: "destination",
          ports: {
            is: [
              { first: 80, last: 80 },
              { first: 8000, last: 8080 },
            ],
          },
        },
        { kind: "conntrack", states: { is: RuleState.NEW | RuleState.ESTABLISHED } },
      ],
      target: { kind: "REJECT", answer: "tcp-reset" },
      name: "web",
    };
    expect(describeRule(rule)).toBe(
      "in lab not out wan from 10.55.66.0/24,10.0.0.1,0.0.0.0/0 proto tcp dport 80,8000-8080 state new,established -> reject with tcp-reset (web)",
    );
  });
});
