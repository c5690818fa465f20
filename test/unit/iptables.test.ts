/** iptables' words without the kernel's beside them: what Tapir adds, refuses by name, and what the file may say. */
import { describe, expect, it } from "vitest";
import type { Configuration } from "../../src/control/configuration/configuration.ts";
import { parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { withRules } from "../../src/control/iptables.ts";
import { quoteWord, splitWords } from "../../src/filter/iptables/words.ts";
import { ruleWords } from "../../src/filter/iptables/write_rule.ts";
import type { RuleSet } from "../../src/filter/rule_set.ts";
import { MemoryTables } from "../support/iptables/tables.ts";

function tables(...lines: string[]): MemoryTables {
  const made = new MemoryTables();
  for (const line of lines) expect([line, made.run(line)]).toEqual([line, { isDone: true, output: "" }]);
  return made;
}

describe("the words of iptables", () => {
  it.each([
    ["-t mangle -L", "the table mangle is not supported"],
    ["-t raw -A PREROUTING -j NOTRACK", "the table raw is not supported"],
    ["-t nothing -L", "table 'nothing' does not exist"],
    ["-A FORWARD -m recent --set", 'the match "recent" is not supported'],
    ["-A FORWARD -j TPROXY --on-port 1", "the target TPROXY is not supported"],
    ["-6 -L", "IPv6 is not supported"],
    ["-A FORWARD -s 10.0.0.1/255.0.255.0", "the mask 255.0.255.0, which is no prefix, is not supported"],
    ["-A FORWARD -s localhost", "host/network `localhost' not found"],
    ["-A FORWARD -m conntrack --ctexpire 5", "conntrack's --ctexpire is not supported"],
    ["-A FORWARD -m addrtype --dst-type BLACKHOLE", "addrtype's BLACKHOLE is not supported"],
    ["-A FORWARD -m physdev --physdev-is-in", "physdev's --physdev-is-in is not supported"],
    ["-A FORWARD -p sctp -m multiport --dports 1", "multiport for other protocols than tcp and udp is not supported"],
    [
      "-t nat -A POSTROUTING -j DNAT --to-destination 10.0.0.1",
      "DNAT target: used from hooks POSTROUTING, but only usable from PREROUTING/OUTPUT",
    ],
    ["-A FORWARD -j MASQUERADE", "MASQUERADE target: only valid in nat table, not filter"],
  ])("%s: %s", (line, message) => {
    const made = tables();
    const before = made.save();
    expect(made.run(line)).toEqual({ isDone: false, output: message });
    expect(made.save()).toBe(before);
  });

  it("may stand in one word with their options", () => {
    const made = tables("-AFORWARD -ptcp -ilab --dport=80 --jump=ACCEPT");
    expect(made.run("-SFORWARD").output).toContain("-A FORWARD -i lab -p tcp -m tcp --dport 80 -j ACCEPT\n");
    expect(made.run("-nvLFORWARD").isDone).toBe(true);
  });

  it("have the bridge chain, which is silent while it does nothing", () => {
    const made = tables();
    expect(made.run("-L").output).not.toContain("BRIDGE");
    expect(made.run("-S BRIDGE").output).toBe("-P BRIDGE ACCEPT\n");
    tables("-P BRIDGE DROP", "-A BRIDGE -m physdev --physdev-out c2 -j ACCEPT");
    made.run("-P BRIDGE DROP");
    expect(made.save()).toContain(":BRIDGE DROP [0:0]\n");
  });

  it("ask address sets that there are", () => {
    const made = tables("-A FORWARD -j LOG");
    made.rules.sets.friends = [{ first: 1, last: 9 }];
    const rule = "FORWARD -m set ! --match-set friends src -j DROP";
    expect(made.run(`-A ${rule}`)).toEqual({ isDone: true, output: "" });
    expect(made.run("-S FORWARD").output).toContain(`-A ${rule}\n`);
    expect(made.run("-L FORWARD").output).toContain("! match-set friends src\n");
    expect(made.run("-C FORWARD -m set --match-set foes src").output).toBe("Set foes doesn't exist.");
  });

  it("come back from their quotes", () => {
    for (const word of ["", "a b", "it's", 'a "b"', "c\\d", "x", "tab\there"]) {
      expect(splitWords(`-x ${quoteWord(word)}`)).toEqual(["-x", word]);
    }
    expect(splitWords('-x "open')).toBeUndefined();
  });
});

describe("iptables-restore", () => {
  it("names the line, and changes nothing", () => {
    const made = tables("-A FORWARD -j ACCEPT");
    const before = made.save();
    for (const text of [
      "*filter\n-A FORWARD -j DROP\n-A FORWARD --what\nCOMMIT\n",
      "-A FORWARD -j DROP\n",
      "*filter\n*nat\nCOMMIT\n",
      "*mangle\nCOMMIT\n",
      "*filter\n-A FORWARD -j DROP\n",
      "*filter\n:FORWARD\nCOMMIT\n",
      "*filter\n-L\nCOMMIT\n",
      "*filter\n-t nat -F\nCOMMIT\n",
      '*filter\n-A FORWARD -m comment --comment "open\nCOMMIT\n',
      "*filter\n[1:x] -A FORWARD -j DROP\nCOMMIT\n",
    ]) {
      expect([text, made.restore(text).isDone]).toEqual([text, false]);
    }
    expect(made.save()).toBe(before);
  });

  it("takes one table of several", () => {
    const made = tables();
    const text = "*filter\n-A FORWARD -j DROP\nCOMMIT\n*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n";
    expect(made.restore(text, { table: "nat" }).isDone).toBe(true);
    expect(made.run("-S FORWARD").output).toBe("-P FORWARD ACCEPT\n");
    expect(made.run("-t nat -S POSTROUTING").output).toContain("MASQUERADE");
  });
});

const NETWORKS = `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: c1, address: 10.55.66.2 } } } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }
`;

function errorsOf(text: string): string[] {
  const { errors = [] } = parseConfiguration(NETWORKS + text, "f");
  return errors.map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`);
}

function rulesOf(text: string): { configuration: Configuration; rules: RuleSet } {
  const { configuration, errors } = parseConfiguration(NETWORKS + text, "f");
  if (configuration === undefined) throw new Error(JSON.stringify(errors));
  return { configuration, rules: resolvePlan(configuration).plan.rules };
}

describe("rules of the configuration", () => {
  it("may be iptables' own text, behind those of the other keys", () => {
    const { rules } = rulesOf(`filter:
  sets: { friends: [ 198.51.100.0/24, 203.0.113.20-203.0.113.29 ], one: 203.0.113.9 }
  forward: { policy: drop, rules: [ { in: lab, from: [ 10.55.66.2, 10.55.66.4/31 ], action: accept, name: first } ] }
  iptables: |
    *filter
    :guests - [0:0]
    -A FORWARD -m set --match-set friends src -j guests
    -A guests -s 10.0.0.0/8,192.168.0.0/16 -j RETURN
    COMMIT
`);
    const [, forward] = rules.filter.chains;
    expect([forward.policy, forward.rules.map((rule) => ruleWords(rule))]).toEqual([
      "DROP",
      [
        "-s 10.55.66.2/32,10.55.66.4/31 -i lab -m comment --comment first -j ACCEPT",
        "-m set --match-set friends src -j guests",
      ],
    ]);
    expect(rules.filter.chains.at(-1)).toMatchObject({ name: "guests", rules: [{ target: { kind: "RETURN" } }] });
    expect(rules.sets.friends.length).toBe(2);
  });

  it("are the same after a command has turned them into text", () => {
    const { configuration, rules } = rulesOf(`nat:
  masquerade: [ { from: 10.55.66.0/24, out: wan } ]
  publish: [ { proto: both, on: wan, port: 8080-8089, to: "10.55.66.2:80-89" } ]
filter:
  forward:
    policy: drop
    rules:
      - { in: [ lab, wan ], out: wan, proto: tcp, dport: [ 80, 443, 8000-8009 ], state: [ new, established ], action: accept }
      - { proto: icmp, icmpType: [ echo-request, 3 ], action: reject, with: icmp-admin-prohibited, name: "two words" }
  input: { policy: drop }
  bridge: { rules: [ { in: c1, action: drop } ] }
`);
    const words = (set: RuleSet): string[] =>
      [...set.filter.chains, ...set.nat.chains].flatMap(({ name, policy, rules: all }) => [
        `${name} ${policy}`,
        ...all.map((rule) => ruleWords(rule)),
      ]);
    const turned = resolvePlan(withRules(configuration, rules)).plan.rules;
    expect(words(turned)).toEqual(words(rules));
    expect(words(rules)).toContain(
      "-d 203.0.113.1/32 -p tcp -m tcp --dport 8080:8089 -j DNAT --to-destination 10.55.66.2:80-89/8080 --publish wan",
    );
    expect(withRules(configuration, rules).nat).toEqual({});
  });

  it("are refused with the line that they stand in", () => {
    expect(
      errorsOf("filter:\n  iptables: |\n    *filter\n    -A FORWARD -j DROP\n    -A FORWARD -j nowhere\n    COMMIT\n"),
    ).toEqual(["8:5 filter.iptables: line 3: Chain 'nowhere' does not exist"]);
    expect(errorsOf('filter:\n  iptables: ["*filter", "-A FORWARD --what", COMMIT]\n')).toEqual([
      '5:25 filter.iptables[1]: unknown option "--what"',
    ]);
    expect(errorsOf('filter: { iptables: "*mangle\\nCOMMIT" }\n')).toEqual([
      "4:21 filter.iptables: line 1: the table mangle is not supported",
    ]);
    expect(errorsOf("filter: { sets: { a: 10.0.0.9-10.0.0.1 } }\n")).toEqual([
      '4:22 filter.sets.a: "10.0.0.9-10.0.0.1" ends before it begins; did you mean "10.0.0.1-10.0.0.9"?',
    ]);
    expect(errorsOf("filter: { sets: { a: [ 10.0.0.0/40 ] } }\n")).toEqual([
      expect.stringContaining("filter.sets.a[0]"),
    ]);
  });
});
