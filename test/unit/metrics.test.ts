/** Metrics: their format, what they say of a router in memory, the port that they are served on, and the dashboard. */
import { readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import type { FlowReader } from "../../src/control/flows.ts";
import { collectMetrics, type MetricsSource, rulesOf } from "../../src/control/metrics/collect.ts";
import { type Family, formatFamilies } from "../../src/control/metrics/exposition.ts";
import { MOST_RULES, type RuleMetrics, ruleFamilies } from "../../src/control/metrics/families.ts";
import { MetricsServer } from "../../src/control/metrics/metrics_server.ts";
import { show } from "../../src/dataplane/show.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { readExposition } from "../support/exposition.ts";
import { echoRequest, tcp, udp } from "../support/frames.ts";
import { TestRouter } from "../support/router.ts";

const CONFIGURATION = `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: c1 } } } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }
filter: { forward: { rules: [ { in: lab, out: wan, action: accept, name: "to the \\"world\\"" } ] } }
`;

function resolved(text = CONFIGURATION) {
  const { configuration, errors } = parseConfiguration(text, "t");
  if (configuration === undefined) throw new Error(JSON.stringify(errors));
  return resolvePlan(configuration);
}

const EXPORTED = { records: 7, messages: 2, messagesFailed: 0, recordsLost: 0, eventsLost: 1 };

/** A router in memory, as the control process sees one. */
function sourceOf(r: TestRouter): MetricsSource {
  const { flows } = r.router;
  return {
    resolved: resolved(),
    counters: r.router.counters,
    flows: { header: flows.header, words: flows.words } as unknown as FlowReader,
    dataplanePid: process.pid,
    services: {
      flowExport: { counters: EXPORTED },
      network: { counts: { dhcp: new Map([["lab", { portLimit: 3 }]]), dns: new Map([["lab", { local: 5 }]]) } },
    },
    show: async (table) => show(r.router, table, new Float64Array(64 * 8)),
    ports: async () => [
      {
        name: "c1",
        interface: "lab",
        kind: "tap",
        state: "up",
        rxFrames: 3,
        rxBytes: 180,
        txFrames: 1,
        txBytes: 60,
        txFull: 0,
        txErrors: 0,
        rxErrors: 0,
        rxLimited: 0,
        flowsLimited: 0,
      },
      { name: "wan", interface: "wan", kind: "packet", state: "failed (gone)" },
    ],
  };
}

async function metricsOf(source: MetricsSource) {
  const families = readExposition(formatFamilies(await collectMetrics(source)));
  const value = (name: string, labels: Record<string, string> = {}): number | undefined =>
    families
      .get(name.replace(/_(bucket|count|sum)$/, ""))
      ?.samples.find(
        (sample) =>
          sample.name === name && Object.entries(labels).every(([label, text]) => sample.labels[label] === text),
      )?.value;
  return { families, value };
}

const out = (source: string) => ({ source, destination: "203.0.113.2" });

describe("what /metrics says", () => {
  it("is what the router has counted", async () => {
    const r = new TestRouter();
    r.introduce();
    r.fromC1(tcp(out("10.55.66.2"), 40000, 80, { flags: "S", sequence: 1 }));
    for (const destination of ["203.0.113.2", "203.0.113.77"]) {
      r.fromC1(udp({ source: "10.55.66.2", destination }, 5000, 53, new Uint8Array(4)));
    }
    r.fromC2(echoRequest(out("10.55.66.3"), 7, 1));
    r.fromC1(tcp(out("10.55.66.2"), 40001, 80, { flags: "A", sequence: 1 }).subarray(0, 30));
    const { value } = await metricsOf(sourceOf(r));
    const { counters } = r.router;
    expect(value("tapir_build_info")).toBe(1);
    expect(value("tapir_flows", { protocol: "tcp", state: "syn_sent" })).toBe(1);
    expect(value("tapir_flows", { protocol: "udp", state: "unreplied" })).toBe(2);
    expect(value("tapir_flows", { protocol: "icmp", state: "unreplied" })).toBe(1);
    expect(value("tapir_nat_flows", { kind: "source", protocol: "udp" })).toBe(2);
    // One port, shared by flows to different destinations.
    expect(value("tapir_nat_ports_in_use", { protocol: "udp" })).toBe(1);
    expect(value("tapir_nat_ports_in_use", { protocol: "tcp" })).toBe(1);
    expect(value("tapir_nat_ports_in_use", { protocol: "icmp" })).toBe(1);
    expect(value("tapir_drops_total", { reason: "l4-malformed" })).toBe(counters.stopped("l4-malformed"));
    expect(value("tapir_frames_total", { outcome: "routed" })).toBe(counters.stopped("routed"));
    expect(value("tapir_flows_created_total")).toBe(4);
    expect(value("tapir_frames_received_total")).toBe(8);
    expect(value("tapir_burst_frames_count")).toBe(8);
    expect(value("tapir_burst_frames_bucket", { le: "1" })).toBe(8);
    expect(value("tapir_table_entries", { table: "flows" })).toBe(4);
    expect(value("tapir_table_limit", { table: "flows" })).toBe(1024);
    expect(value("tapir_port_up", { port: "c1" })).toBe(1);
    expect(value("tapir_port_up", { port: "wan" })).toBe(0);
    expect(value("tapir_port_receive_bytes_total", { port: "c1", interface: "lab" })).toBe(180);
    expect(value("tapir_port_receive_bytes_total", { port: "wan" })).toBeUndefined();
    expect(value("tapir_export_records_total")).toBe(7);
    expect(value("tapir_dhcp_messages_total", { network: "lab", kind: "port_limit" })).toBe(3);
    expect(value("tapir_dns_messages_total", { network: "lab", outcome: "local" })).toBe(5);
    expect(value("tapir_process_resident_memory_bytes", { process: "dataplane" })).toBeGreaterThan(1e6);
  });

  it("has each bucket's bound in seconds", async () => {
    const r = new TestRouter();
    for (const nanoseconds of [1, 1024, 1025, 2 ** 27, 2 ** 27 + 1])
      r.router.counters.burstNanoseconds.record(nanoseconds);
    const { families, value } = await metricsOf(sourceOf(r));
    const name = "tapir_burst_duration_seconds";
    const bounds = families.get(name)?.samples.flatMap(({ labels }) => labels.le ?? []);
    expect(bounds?.slice(0, 2)).toEqual(["0.000001024", "0.000002048"]);
    expect(bounds?.slice(-2)).toEqual(["0.134217728", "+Inf"]);
    expect(value(`${name}_bucket`, { le: "0.000001024" })).toBe(2);
    expect(value(`${name}_bucket`, { le: "0.000002048" })).toBe(3);
    expect(value(`${name}_bucket`, { le: "0.134217728" })).toBe(4);
    expect(value(`${name}_count`)).toBe(5);
    expect(value(`${name}_sum`)).toBeCloseTo((1 + 1024 + 1025 + 2 ** 28 + 1) / 1e9, 12);
  });

  it("names rules by chain, number and their own name", () => {
    const { plan } = resolved();
    const counted = {
      filter: [{ name: "FORWARD", packets: [5, 1], bytes: [500, 60] }],
      nat: [{ name: "POSTROUTING", packets: [0], bytes: [0] }],
    } as unknown as Parameters<typeof rulesOf>[1];
    const rules = rulesOf(plan.rules, counted);
    expect(rules.map(({ chain, rule, name, packets }) => [chain, rule, name, packets])).toEqual([
      ["FORWARD", "1", 'to the "world"', 5],
      ["FORWARD", "policy", "", 1],
      ["POSTROUTING", "policy", "", 0],
    ]);
    expect(formatFamilies(ruleFamilies(rules))).toContain(
      'tapir_rule_bytes_total{table="filter",chain="FORWARD",rule="1",name="to the \\"world\\""} 500\n',
    );
  });

  it("has a bounded number of rules", () => {
    const rule: RuleMetrics = { table: "filter", chain: "X", rule: "1", name: "", packets: 0, bytes: 0 };
    const rules = Array.from({ length: MOST_RULES + 5 }, (_, index) => ({ ...rule, rule: String(index) }));
    const families = readExposition(formatFamilies(ruleFamilies(rules)));
    expect(families.get("tapir_rule_packets_total")?.samples).toHaveLength(MOST_RULES);
    expect(families.get("tapir_rules_left_out")?.samples[0].value).toBe(5);
  });
});

describe("the reader of this test", () => {
  const family = (change: Partial<Family>): string =>
    formatFamilies([{ name: "tapir_x_total", help: "X", type: "counter", samples: [{ value: 1 }], ...change }]);

  it("refuses what Prometheus' conventions forbid", () => {
    expect(() => readExposition(family({}))).not.toThrow();
    for (const wrong of [
      family({ name: "tapir_x" }),
      family({ name: "tapir_xMs_total" }),
      family({ type: "gauge" }),
      family({ help: "X." }),
      family({ samples: [{ value: -1 }] }),
      family({ samples: [{ value: 1 }, { value: 2 }] }),
      family({ samples: [{ labels: { source: "10.55.66.2" }, value: 1 }] }),
      family({}) + family({}),
      "tapir_y 1 \n",
    ]) {
      expect(() => readExposition(wrong), wrong).toThrow();
    }
  });
});

describe("the dashboard in docs/grafana", () => {
  it("asks for nothing that is not exported, and has something of every kind", async () => {
    const text = readFileSync(join(packageRoot(), "docs/grafana/tapir.json"), "utf8");
    const dashboard = JSON.parse(text) as { panels: { title: string; targets: { expr: string }[] }[] };
    const { families } = await metricsOf(sourceOf(new TestRouter()));
    const names = new Set<string>();
    for (const [name, { type }] of families) {
      for (const suffix of type === "histogram" ? ["_bucket", "_sum", "_count"] : [""]) names.add(name + suffix);
    }
    const asked = dashboard.panels.flatMap(({ targets }) =>
      targets.flatMap(({ expr }) => expr.match(/tapir_\w+/g) ?? []),
    );
    expect(asked.length).toBeGreaterThan(20);
    expect(asked.filter((name) => !names.has(name))).toEqual([]);
    for (const { title, targets } of dashboard.panels) expect([title, targets.length > 0]).toEqual([title, true]);
  });
});

describe("the port for metrics", () => {
  function ask(
    port: number,
    path = "/metrics",
    method = "GET",
  ): Promise<{ status: number; text: string; type: string }> {
    return new Promise((resolve, reject) => {
      const call = request({ host: "127.0.0.1", port, path, method, agent: false }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, text, type: response.headers["content-type"] ?? "" }),
        );
      });
      call.on("error", reject).end();
    });
  }

  /** A port that nothing listens on: taken, and given back. */
  async function freePort(): Promise<number> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  it("serves /metrics and nothing else, where the configuration says, until it says otherwise", async () => {
    const server = new MetricsServer(sourceOf(new TestRouter()));
    onTestFinished(() => server.close());
    const port = await freePort();
    await server.follow({ address: "127.0.0.1", port });
    const answer = await ask(port);
    expect([answer.status, answer.type]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
    expect(readExposition(answer.text).has("tapir_build_info")).toBe(true);
    expect((await ask(port, "/v1/ports")).status).toBe(404);
    expect((await ask(port, "/metrics", "POST")).status).toBe(405);
    const second = new MetricsServer(sourceOf(new TestRouter()));
    await expect(second.follow({ address: "127.0.0.1", port })).rejects.toThrow(
      /control\.metrics: cannot listen on .*in use/,
    );
    await server.follow(undefined);
    await expect(ask(port)).rejects.toThrow(/ECONNREFUSED/);
  });

  it("says so when the dataplane does not answer", async () => {
    const broken = { ...sourceOf(new TestRouter()), show: () => Promise.reject(new Error("the dataplane has ended")) };
    const server = new MetricsServer(broken);
    onTestFinished(() => server.close());
    const port = await freePort();
    await server.follow({ address: "127.0.0.1", port });
    expect(await ask(port)).toMatchObject({ status: 503, text: "the dataplane has ended\n" });
  });

  it.each([
    ["metrics: 127.0.0.1:9100", undefined],
    ["metrics: 10.1.2.3:9100, metricsAnyAddress: true", undefined],
    ["metrics: 10.1.2.3:9100", /10\.1\.2\.3 is no loopback address/],
    ["metrics: 0.0.0.0:9100", /no loopback address/],
    ["metrics: 127.0.0.1", /has no port/],
    ["metrics: 127.0.0.1:0", /is not a port/],
    ["metrics: 127.0.0.1:65536", /is not a port/],
    ["metrics: localhost:9100", /expected an IPv4 address and a port/],
  ])("is checked: %s", (control, expected) => {
    const { errors } = parseConfiguration(`${CONFIGURATION}control: { ${control} }\n`, "t");
    if (expected === undefined) expect(errors).toBeUndefined();
    else expect(errors?.map(({ message }) => message).join("\n")).toMatch(expected);
  });
});
