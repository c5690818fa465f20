/** Assertion files: what they find, how they say what is wrong with themselves, and the forms in which results come. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatText } from "../../src/cli/assert.ts";
import { formatJunit, formatTap } from "../../src/cli/assert_formats.ts";
import { parseConfiguration } from "../../src/control/configuration/configuration.ts";
import { type Result, runExperiments } from "../../src/control/experiments/assert.ts";
import { loadExperiments } from "../../src/control/experiments/assertion_file.ts";
import { assertionsSchemaText } from "../../src/control/experiments/schema_assertions.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { temporaryFolder } from "../support/temporary.ts";

const EXAMPLES = join(packageRoot(), "examples");

/** Writes an assertion file about the example's router and returns its path. */
function fileOf(text: string): string {
  return temporaryFolder(
    { "a.yaml": `version: 1\nconfiguration: ${join(EXAMPLES, "router.yaml")}\n${text}` },
    "a.yaml",
  );
}

const run = (text: string): Result[] => [...runExperiments(loadExperiments(fileOf(text), undefined))];
const problems = (text: string): string[] => {
  const file = fileOf(text);
  try {
    loadExperiments(file, undefined);
  } catch (error) {
    expect(error).toMatchObject({ exitCode: 3 });
    return (error as Error).message.split("\n").map((line) => line.replace(`${file}:`, ""));
  }
  return [];
};

describe("the examples", () => {
  it.each(["policy.yaml", "scenarios.yaml"])("hold: %s", (name) => {
    const results = [...runExperiments(loadExperiments(join(EXAMPLES, name), undefined))];
    expect(results.filter(({ passed }) => !passed)).toEqual([]);
    expect(results.length).toBeGreaterThan(2);
  });

  it("do not hold for a configuration that does otherwise", () => {
    const results = [...runExperiments(loadExperiments(join(EXAMPLES, "policy.yaml"), join(EXAMPLES, "quiet.yaml")))];
    expect(results.filter(({ passed }) => !passed).map(({ name, found }) => `${name}: ${found}`)).toEqual([
      "c1 -> 198.51.100.7 icmp: denied: forward-drop (dropped by the forward chain)",
    ]);
  });
});

describe("docs/experiments.md", () => {
  const documentation = readFileSync(join(packageRoot(), "docs/experiments.md"), "utf8");

  it("shows what the examples' assertions find", () => {
    const results = [...runExperiments(loadExperiments(join(EXAMPLES, "policy.yaml"), undefined))];
    expect(documentation).toContain(
      `$ tapir assert examples/policy.yaml\n${formatText("examples/policy.yaml", results)}\n`,
    );
  });

  it("has valid examples", () => {
    const [router, ...files] = [...documentation.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text);
    expect(parseConfiguration(router, "experiments.md").errors).toBeUndefined();
    expect(files.length).toBe(2);
    for (const text of files) {
      const results = [
        ...runExperiments(
          loadExperiments(temporaryFolder({ "a.yaml": text }, "a.yaml"), join(EXAMPLES, "router.yaml")),
        ),
      ];
      expect(results.filter(({ passed }) => !passed)).toEqual([]);
    }
  });
});

describe("schema/assertions.schema.json", () => {
  it("is that of the code (npm run schema)", () => {
    expect(readFileSync(join(packageRoot(), "schema/assertions.schema.json"), "utf8")).toBe(assertionsSchemaText());
  });
});

describe("an assertion", () => {
  it.each([
    ["c1 -> c2 tcp/5432: deny", "allowed: arrives by c2 as 10.55.66.2:40000 > 10.55.66.3:5432", "deny"],
    ["c1 -> 198.51.100.7 tcp/22: allow", "denied: forward-drop (dropped by the forward chain)", "allow"],
    ["c1 -> 198.51.100.7 tcp/22: reject", "denied: forward-drop (dropped by the forward chain)", "reject"],
    [
      "c1 -> 198.51.100.7 tcp/443: { allow: true, source: 10.55.66.2 }",
      "allowed: arrives by wan as 203.0.113.1:40000 > 198.51.100.7:443",
      "allow, source 10.55.66.2",
    ],
    [
      "c1 -> 198.51.100.7 tcp/443: { allow: true, via: c2 }",
      "allowed: arrives by wan as 203.0.113.1:40000 > 198.51.100.7:443",
      "allow, via c2",
    ],
    [
      "wan -> wan tcp/8080: { allow: true, to: 10.55.66.3:81 }",
      "allowed: arrives by c2 as 203.0.113.2:40000 > 10.55.66.3:80",
      "allow, to 10.55.66.3:81",
    ],
    [
      "c1 -> 198.51.100.7 udp/123: { allow: false, reason: no-route }",
      "denied: forward-drop (dropped by the forward chain)",
      "deny, reason no-route",
    ],
    ["c1 -> 10.55.66.77 tcp/80: allow", "denied: no host of its own network has that address", "allow"],
  ])("that does not hold says what was found: %s", (text, found, expected) => {
    const [result] = run(`assertions:\n  - ${text}\n`);
    expect(result).toMatchObject({ passed: false, found, expected, line: 4, column: 5 });
  });

  it("needs the answer to come back as well", () => {
    const router = readFileSync(join(EXAMPLES, "router.yaml"), "utf8").replace(/.*established.*\n/, "");
    const file = temporaryFolder(
      {
        "r.yaml": router,
        "a.yaml": "version: 1\nconfiguration: r.yaml\nassertions: [ c1 -> 1.1.1.1 tcp/80: allow ]\n",
      },
      "a.yaml",
    );
    const [{ passed, found }] = [...runExperiments(loadExperiments(file, undefined))];
    expect(passed).toBe(false);
    expect(found).toBe(
      "denied: arrives by wan as 203.0.113.1:40000 > 1.1.1.1:80, but its answer stops: forward-drop (dropped by the forward chain)",
    );
  });
});

describe("a scenario", () => {
  it("tells the step that fails, and what came instead", () => {
    const [result] = run(`scenarios:
  - name: too much
    steps:
      - send: c1 udp 10.55.66.2:4000 > 198.51.100.7:53
      - expect: wan udp 203.0.113.1:4000 > 198.51.100.7:53 ttl 64
`);
    expect(result).toMatchObject({ passed: false, line: 7, column: 9 });
    expect(result.expected).toBe("wan udp 203.0.113.1:4000 > 198.51.100.7:53 ttl 64");
    expect(result.found).toMatch(/^wan IP \(tos 0x0, ttl 63, .* 203\.0\.113\.1\.4000 > 198\.51\.100\.7\.53: UDP/);
  });

  it.each([
    ["expect: nothing", /^wan IP/],
    ["drop: forward-drop", /^wan IP/],
    ["expect: c2 udp 1.1.1.1:1 > 2.2.2.2:2", /^wan IP/],
  ])("fails where a step is not met: %s", (step, found) => {
    const send = "send: c1 udp 10.55.66.2:4000 > 198.51.100.7:53";
    const [result] = run(`scenarios: [ { name: x, steps: [ { ${send} }, { ${step} } ] } ]\n`);
    expect(result.passed).toBe(false);
    expect(result.found).toMatch(found);
  });

  it("meets the same chance for the same seed", () => {
    const steps = ["apply: lossy.yaml", ...Array.from({ length: 8 }, () => "send: c2 icmp 10.55.66.3 > 10.55.66.2")];
    const lossy = readFileSync(join(EXAMPLES, "router.yaml"), "utf8").replace(
      "c1: { ",
      "c1: { impair: { loss: 50% }, ",
    );
    const play = (seed: number, last: string) => {
      const list = [...steps, last].map((step) => `      - ${step}\n`).join("");
      const text = `version: 1\nconfiguration: lossy.yaml\nscenarios:\n  - name: x\n    seed: ${seed}\n    steps:\n${list}`;
      const file = temporaryFolder({ "lossy.yaml": lossy, "a.yaml": text }, "a.yaml");
      return [...runExperiments(loadExperiments(file, undefined))][0].passed;
    };
    const fates = Array.from({ length: 12 }, (_, seed) => play(seed, "drop: impairment-loss"));
    expect(fates).toContain(true);
    expect(fates).toContain(false);
    expect(Array.from({ length: 12 }, (_, seed) => play(seed, "drop: impairment-loss"))).toEqual(fates);
  });
});

describe("what is wrong with a file", () => {
  it.each([
    ["assertions: []", "1:1: the file asserts nothing: it needs assertions or scenarios"],
    [
      "assertions: [ c1 -> c3 tcp/1: allow ]",
      '3:15: assertions[0]."c1 -> c3 tcp/1": "c3" is neither an address nor a port, network, uplink or "gateway"',
    ],
    ["assertions: [ c1 -> c2 tcp: allow ]", 'expected a protocol with a port like tcp/80, not "tcp"'],
    ["assertions: [ c1 -> c2 tcp/0: allow ]", 'expected a protocol with a port like tcp/80, not "tcp/0"'],
    ["assertions: [ c1 -> c2 icmp/8: allow ]", '"icmp/8": this protocol has no ports'],
    ["assertions: [ c9 -> c2 icmp: allow ]", 'no port is called "c9"'],
    ["assertions: [ c1 => c2 icmp: allow ]", 'expected an assertion like "c1 -> c2 tcp/5432"'],
    ["assertions: [ c1 -> c2 icmp: alow ]", '{ allow, via, source, to, reason }, not "alow"; did you mean "allow"?'],
    ["assertions: [ c1 -> c2 icmp: { allow: true, vai: wan } ]", 'vai: unknown key "vai"; did you mean "via"?'],
    ["assertions: [ c1 -> c2 icmp: { via: wan } ]", 'missing key "allow"'],
    [
      "assertions: [ c1 -> c2 icmp: { allow: true, via: wam } ]",
      'no port or network is called "wam"; did you mean "wan"?',
    ],
    ["assertions: [ c1 -> c2 icmp: { allow: false, reason: lost } ]", '"lost" is no reason to stop'],
    ["assertions: [ c1 -> c2 icmp: { allow: true, reason: no-route } ]", "what is allowed has no reason to stop"],
    ["assertions: [ { c1 -> c2 icmp: allow, c2 -> c1 icmp: allow } ]", "expected one assertion like c1 -> c2 tcp/5432"],
    ["scenarios: [ { name: x, steps: [ sent: a ] } ]", 'unknown key "sent"; did you mean "send"?'],
    ["scenarios: [ { name: x, steps: [ send: c1 udp ] } ]", "expected a packet like"],
    ["scenarios: [ { name: x, steps: [ send: c1 ] } ]", "expected a port and a packet like"],
    ["scenarios: [ { name: x, steps: [ advance: 400d ] } ]", "400d is more than 365d"],
    ["scenarios: [ { name: x, steps: [ apply: none.yaml ] } ]", "none.yaml: no such file"],
    ["scenarios: [ { name: x, steps: [ { advance: 1s, drop: no-route } ] } ]", "expected one step"],
  ])("is said in one line: %s", (text, message) => {
    const said = problems(text);
    expect(said.length).toBe(1);
    expect(said[0]).toContain(message);
  });
});

describe("results", () => {
  const results: Result[] = [
    { kind: "assertion", name: "a -> b tcp/1", line: 3, column: 5, passed: true, found: "allowed" },
    {
      kind: "scenario",
      name: 'x # <y> & "z"',
      line: 9,
      column: 7,
      passed: false,
      found: "nothing",
      expected: "c1 <i>",
    },
  ];

  it("come as TAP", () => {
    expect(formatTap(results)).toBe(`TAP version 14
1..2
ok 1 - a -> b tcp/1
not ok 2 - x \\# <y> & "z"
  ---
  at: "9:7"
  expected: "c1 <i>"
  found: "nothing"
  ...`);
  });

  it("come as JUnit's XML", () => {
    expect(formatJunit("p.yaml", results)).toBe(`<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="p.yaml" tests="2" failures="1">
  <testcase classname="assertion" name="a -&gt; b tcp/1" file="p.yaml" line="3"/>
  <testcase classname="scenario" name="x # &lt;y&gt; &amp; &quot;z&quot;" file="p.yaml" line="9">
    <failure message="expected c1 &lt;i&gt;; nothing"/>
  </testcase>
</testsuite>`);
  });
});
