/** Each match and each target of iptables through the whole router: one packet that it is about, and one that it is not. */
import { describe, expect, it } from "vitest";
import type { RuleLog } from "../../src/dataplane/messages.ts";
import { RuleLogger } from "../../src/dataplane/rule_log.ts";
import { restore } from "../../src/filter/iptables/restore.ts";
import { emptyRuleSet } from "../../src/filter/rule_set.ts";
import { echoRequest, ethernet, icmp, ipv4, tcp, udp, word } from "../support/frames.ts";
import { C1_MAC, C2_MAC, defaultPlan, Port, TestRouter } from "../support/router.ts";
import { planOf } from "../support/rules.ts";

const out = { source: "10.55.66.2", destination: "203.0.113.2" };
const other = { source: "10.55.66.3", destination: "203.0.113.2" };
const back = { source: "203.0.113.2", destination: "10.55.66.2" };

/** A router with these rules alone. */
function routerWith(filter: readonly string[], nat: readonly string[] = []): TestRouter {
  const plan = planOf(defaultPlan());
  const sets = { friends: [{ first: word("10.55.66.2"), last: word("10.55.66.2") }] };
  const text = ["*filter", ...filter, "COMMIT", "*nat", ...nat, "COMMIT"].join("\n");
  const router = new TestRouter({ ...plan, rules: restore({ ...emptyRuleSet(), sets }, text, {}).rules });
  router.introduce();
  return router;
}

type Send = (router: TestRouter) => number;
const c1 =
  (packet: Uint8Array): Send =>
  (r) =>
    r.fromC1(packet).filter(({ port }) => port === Port.WAN).length;
const c2 =
  (packet: Uint8Array): Send =>
  (r) =>
    r.fromC2(packet).filter(({ port }) => port === Port.WAN).length;
const syn = (dport: number, fields = out) => tcp(fields, 4000, dport, { flags: "S" });
const ack = tcp(out, 4000, 80, { flags: "A" });
const query = udp(out, 4000, 53);
const ping = echoRequest(out, 7);

/** What the rule asks, the packet that passes, and the one that meets the policy. */
const MATCHES: [string, Send, Send][] = [
  ["-s 10.55.66.2", c1(query), c2(udp(other, 4000, 53))],
  ["! -s 10.55.66.2", c2(udp(other, 4000, 53)), c1(query)],
  ["-d 203.0.113.0/24", c1(query), c1(udp({ ...out, destination: "198.51.100.7" }, 4000, 53))],
  ["-i lab -o wan", c1(query), (r) => r.fromServer(udp(back, 53, 4000)).length],
  ["-i c2", c2(udp(other, 4000, 53)), c1(query)],
  ["-o w+", c1(query), (r) => r.fromServer(udp(back, 53, 4000)).length],
  ["-p udp", c1(query), c1(ping)],
  ["-p 47", c1(ipv4(out, 47, new Uint8Array(8))), c1(query)],
  ["-p tcp --dport 80:90", c1(syn(85)), c1(syn(91))],
  ["-p tcp --sport 4000", c1(syn(80)), c1(tcp(out, 4001, 80, { flags: "S" }))],
  ["-p tcp --syn", c1(syn(80)), c1(ack)],
  ["-p tcp --tcp-flags ALL ACK", c1(ack), c1(syn(80))],
  ["-p udp ! --dport 54", c1(query), c1(udp(out, 4000, 54))],
  ["-p icmp --icmp-type echo-request", c1(ping), c1(icmp(out, 13, 0, 0, new Uint8Array(12)))],
  ["-p udp -m multiport --ports 53,4000:4001", c1(query), c1(udp(out, 3999, 54))],
  ["-m iprange --src-range 10.55.66.1-10.55.66.2", c1(query), c2(udp(other, 4000, 53))],
  ["-m conntrack --ctstate NEW", c1(query), c1(tcp(out, 4000, 80, { flags: "SF" }))],
  ["-m state --state NEW", c1(query), c1(tcp(out, 4000, 80, { flags: "SF" }))],
  [
    "-m conntrack --ctstatus NONE --ctdir ORIGINAL --ctorigdst 203.0.113.2",
    c1(query),
    c1(udp({ ...out, destination: "203.0.113.3" }, 4000, 53)),
  ],
  ["-m mac --mac-source 02:00:00:00:00:02", c1(query), c2(udp(other, 4000, 53))],
  ["-m set --match-set friends src", c1(query), c2(udp(other, 4000, 53))],
  [
    "-m addrtype --src-type UNICAST ! --dst-type LOCAL",
    c1(query),
    (r) => c1(udp({ ...out, destination: "10.55.66.255" }, 4000, 53))(r),
  ],
  ["-m physdev --physdev-in c1", c1(query), c2(udp(other, 4000, 53))],
  ["-m comment --comment all -p udp", c1(query), c1(ping)],
];

describe("through the forward chain, a rule with", () => {
  it.each(MATCHES)("%s lets pass what it matches, and nothing else", (words, hit, miss) => {
    const make = () => routerWith([":FORWARD DROP [0:0]", `-A FORWARD ${words} -j ACCEPT`]);
    const passing = make();
    expect(hit(passing)).toBe(1);
    expect(passing.counters("FORWARD").slice(0, 3)).toEqual([1, expect.any(Number), 0]);
    const stopped = make();
    expect(miss(stopped)).toBe(0);
    expect(stopped.counters("FORWARD")[0]).toBe(0);
  });

  it("-m limit lets pass as many as it says, and more with time", () => {
    const r = routerWith([":FORWARD DROP [0:0]", "-A FORWARD -p udp -m limit --limit 1/s --limit-burst 2 -j ACCEPT"]);
    let port = 4000;
    const passed = (): number => [1, 2, 3].filter(() => c1(udp(out, port++, 53))(r) === 1).length;
    expect(passed()).toBe(2);
    expect(passed()).toBe(0);
    r.advance(1000);
    expect(passed()).toBe(1);
  });

  it("-m addrtype tells the router's own addresses", () => {
    const r = routerWith([":INPUT DROP [0:0]", "-A INPUT -m addrtype --dst-type LOCAL -p icmp -j ACCEPT"]);
    expect(r.fromC1(echoRequest({ ...out, destination: "10.55.66.1" }, 7)).length).toBe(1);
    const none = routerWith([":INPUT DROP [0:0]", "-A INPUT -m addrtype --dst-type BROADCAST -j ACCEPT"]);
    expect(none.fromC1(echoRequest({ ...out, destination: "10.55.66.1" }, 7))).toEqual([]);
  });

  it("-m physdev --physdev-is-bridged is about frames that are switched", () => {
    const frame = ethernet(C2_MAC, C1_MAC, 0x0800, udp({ source: "10.55.66.2", destination: "10.55.66.3" }, 1, 2));
    const rule = "-m physdev --physdev-is-bridged --physdev-in c1 --physdev-out c2 -j ACCEPT";
    const bridged = routerWith([":BRIDGE DROP [0:0]", `-A BRIDGE ${rule}`]);
    expect(bridged.send(Port.C1, frame).length).toBe(1);
    const reversed = routerWith([":BRIDGE DROP [0:0]", `-A BRIDGE ${rule.replace("c1", "c2")}`]);
    expect(reversed.send(Port.C1, frame)).toEqual([]);
    const routed = routerWith([":FORWARD DROP [0:0]", "-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT"]);
    expect(c1(query)(routed)).toBe(0);
  });
});

const CODES: [string, number][] = [
  ["icmp-net-unreachable", 0],
  ["icmp-host-unreachable", 1],
  ["icmp-proto-unreachable", 2],
  ["icmp-port-unreachable", 3],
  ["icmp-net-prohibited", 9],
  ["icmp-host-prohibited", 10],
  ["icmp-admin-prohibited", 13],
];

describe("targets", () => {
  it.each(CODES)("REJECT --reject-with %s answers with that code, and only what it matches", (name, code) => {
    const r = routerWith([`-A FORWARD -p udp -j REJECT --reject-with ${name}`]);
    const [answer] = r.fromC1(query);
    expect(answer).toMatchObject({ port: Port.C1, source: "10.55.66.1", icmpType: 3, icmpCode: code, bad: [] });
    expect(r.stopped("forward-reject")).toBe(1);
    expect(c1(ping)(r)).toBe(1);
  });

  it("REJECT --reject-with tcp-reset answers TCP in the name of who was asked", () => {
    const r = routerWith(["-A FORWARD -p tcp --dport 80 -j REJECT --reject-with tcp-reset"]);
    expect(r.fromC1(syn(80))[0]).toMatchObject({ port: Port.C1, source: "203.0.113.2", tcpFlags: "RA", bad: [] });
    expect(c1(syn(81))(r)).toBe(1);
  });

  it("DROP, RETURN, jumps and goto lead where they say", () => {
    const chains = [":u - [0:0]", ":v - [0:0]"];
    const rules = [
      "-A FORWARD -p udp -j u",
      "-A FORWARD -p icmp -g v",
      "-A FORWARD -p tcp --dport 80 -j DROP",
      "-A u -p udp --dport 53 -j RETURN",
      "-A u -j DROP",
      "-A v -j RETURN",
      "-A FORWARD -p icmp -j DROP",
    ];
    const r = routerWith([...chains, ...rules]);
    expect([query, udp(out, 4000, 54), ping, syn(80), syn(81)].map((packet) => c1(packet)(r))).toEqual([1, 0, 1, 0, 1]);
  });

  it("MARK and CONNMARK are seen by the rules behind them, and by the flow's next packets", () => {
    const r = routerWith(
      [
        ":FORWARD DROP [0:0]",
        "-A FORWARD -m mark --mark 0x5/0xf -m conntrack --ctstate NEW -j CONNMARK --save-mark",
        "-A FORWARD -m connmark --mark 0x5/0xff -j ACCEPT",
      ],
      ["-A PREROUTING -p udp --dport 53 -j MARK --set-mark 5"],
    );
    expect(c1(query)(r)).toBe(1);
    expect(r.fromServer(udp(back, 53, 4000)).length).toBe(1);
    expect(c1(udp(out, 4000, 54))(r)).toBe(0);
  });

  it("LOG tells of what it matches, at a bounded rate, and lets it go on", () => {
    const r = routerWith(['-A FORWARD -p udp -j LOG --log-prefix "seen: " --log-level info']);
    const told: RuleLog[] = [];
    const logger = new RuleLogger(r.router, (entry) => told.push(entry));
    r.router.rules.onLog = (rule, key) => logger.note(rule, key);
    expect(c1(ping)(r)).toBe(1);
    expect(told).toEqual([]);
    for (let port = 1; port <= 50; port++) expect(c1(udp(out, port, 53))(r)).toBe(1);
    expect(told.length).toBeLessThan(50);
    expect(told.length).toBeGreaterThan(5);
    expect(told[0]).toMatchObject({
      prefix: "seen: ",
      level: 6,
      table: "filter",
      chain: "FORWARD",
      in: "lab",
      out: "wan",
      src: "10.55.66.2",
      dst: "203.0.113.2",
      proto: 17,
      spt: 1,
      dpt: 53,
    });
    expect(r.router.counters.named().ruleLogsLimited).toBe(50 - told.length);
  });

  it("MASQUERADE and SNAT change the source of what they match", () => {
    const r = routerWith(
      [],
      [
        "-A POSTROUTING -s 10.55.66.2 -o wan -j MASQUERADE",
        "-A POSTROUTING -p udp --dport 54 -j SNAT --to-source 203.0.113.9:2000-2001",
      ],
    );
    expect(r.fromC1(query)[0]).toMatchObject({ source: "203.0.113.1", sourcePort: 4000 });
    expect(r.fromC2(udp(other, 4000, 54))[0]).toMatchObject({ source: "203.0.113.9" });
    expect(r.fromC2(udp(other, 4000, 53))[0]).toMatchObject({ source: "10.55.66.3", sourcePort: 4000 });
  });

  it("DNAT and REDIRECT change the destination of what they match", () => {
    const rules = [
      "-A PREROUTING -i wan -d 203.0.113.1 -p udp --dport 8000:8009 -j DNAT --to-destination 10.55.66.2:80-89/8000",
      "-A PREROUTING -i lab -p icmp -j REDIRECT",
    ];
    const r = routerWith([], rules);
    const inward = { source: "203.0.113.2", destination: "203.0.113.1" };
    expect(r.fromServer(udp(inward, 53, 8003))[0]).toMatchObject({
      port: Port.C1,
      destination: "10.55.66.2",
      destinationPort: 83,
    });
    expect(r.fromServer(udp(inward, 53, 8010)).filter(({ port }) => port === Port.C1)).toEqual([]);
    // The router answers in the name of who was asked.
    expect(r.fromC1(ping)[0]).toMatchObject({ port: Port.C1, source: "203.0.113.2", icmpType: 0 });
    expect(c1(query)(r)).toBe(1);
  });
});
