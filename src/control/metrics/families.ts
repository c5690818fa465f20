/**
 * The families of metrics, each made from what the router has counted. Names follow Prometheus' conventions: base units,
 * `_total` for what only grows. No label is ever an address: series are bounded by the configuration.
 */
import { COUNTER_NAMES, Counter, type CounterName, type Counters } from "../../dataplane/counters.ts";
import type { Histogram } from "../../dataplane/histogram.ts";
import type { PortRow } from "../../dataplane/messages.ts";
import { STOP_REASONS } from "../../packet/stop_reasons.ts";
import type { ExportCounters } from "../ipfix/flow_export.ts";
import type { ServiceCounts } from "../network_services.ts";
import type { Family, HistogramSample, Labels, Sample } from "./exposition.ts";
import type { FlowCensus } from "./flow_census.ts";
import type { ProcessUsage } from "./processes.ts";

const counter = (name: string, help: string, samples: readonly Sample[]): Family => ({
  name: `tapir_${name}_total`,
  help,
  type: "counter",
  samples,
});

const gauge = (name: string, help: string, samples: readonly Sample[]): Family => ({
  name: `tapir_${name}`,
  help,
  type: "gauge",
  samples,
});

export function buildFamilies(version: string): Family[] {
  const labels = { version, node: process.versions.node };
  return [gauge("build_info", "Versions of Tapir and Node.js; always 1", [{ labels, value: 1 }])];
}

/** A row of `RunningRouter.ports()`; one that has failed has no counters. */
export interface PortMetrics extends Partial<PortRow> {
  name: string;
  interface: string;
  kind: string;
  state: string;
}

const PORT_COUNTERS: readonly [keyof PortRow, name: string, help: string][] = [
  ["rxFrames", "port_receive_frames", "Frames that came in"],
  ["rxBytes", "port_receive_bytes", "Bytes of frames that came in"],
  ["rxErrors", "port_receive_errors", "Frames that did not fit or had a malformed offload header: dropped"],
  ["rxLimited", "port_receive_limited", "Frames beyond the port's rate limit: dropped"],
  ["flowsLimited", "port_flows_limited", "Packets of new flows beyond the port's rate limit: dropped"],
  ["txFrames", "port_transmit_frames", "Frames that the device took"],
  ["txBytes", "port_transmit_bytes", "Bytes of frames that the device took"],
  ["txFull", "port_transmit_full", "Frames that the device had no room for: dropped"],
  ["txErrors", "port_transmit_errors", "Frames that the device refused: dropped"],
];

export function portFamilies(ports: readonly PortMetrics[]): Family[] {
  const labelsOf = (port: PortMetrics): Labels => ({ port: port.name, interface: port.interface });
  const up = ports.map((port) => ({
    labels: { ...labelsOf(port), kind: port.kind },
    value: port.state === "up" ? 1 : 0,
  }));
  return [
    gauge("port_up", "Whether the port's device works", up),
    ...PORT_COUNTERS.map(([key, name, help]) => {
      const samples = ports.flatMap((port) => {
        const value = port[key];
        return value === undefined ? [] : { labels: labelsOf(port), value };
      });
      return counter(name, help, samples);
    }),
  ];
}

export function stopFamilies({ stops }: Counters): Family[] {
  const samples = (outcome: string, label: string): Sample[] =>
    STOP_REASONS.flatMap((reason, index) =>
      index === 0 || reason.outcome !== outcome ? [] : { labels: { [label]: reason.name }, value: stops[index] },
    );
  return [
    counter("drops", "Frames dropped, by reason", samples("dropped", "reason")),
    counter("frames", "Frames that were not dropped, by what became of them", samples("done", "outcome")),
  ];
}

/** Where the name does not say enough, or not in the conventions' order. Bursts are the histogram's count. */
const NAMED: Partial<Record<CounterName, string>> = { bytesCopied: "copied_bytes" };
const HELP: Partial<Record<CounterName, string>> = {
  framesReceived: "Frames that the devices brought",
  framesSent: "Frames handed to the devices; a flooded one counts once for each port",
  flowsTableFull: "Packets of new flows dropped because the flow table was full",
  flowsEvicted: "Flows that gave way in a full table",
  flowsReplaced: "Flows that gave way because their port held its share of the table",
  natExhausted: "Packets of new flows dropped because no port was free for them",
  bytesCopied: "Bytes copied between slots: segmentation, fragmentation and quotes",
  framesMerged: "Frames that left as a piece of another",
  ruleLogsLimited: "Packets that met a rule with LOG and were not told of, because there were too many",
};

/** `natExhausted`: the dataplane counts it outside of its array. */
export function counterFamilies({ values }: Counters, natExhausted: number): Family[] {
  return COUNTER_NAMES.filter((name) => name !== "bursts").map((name) => {
    const snake = NAMED[name] ?? snakeOf(name);
    const words = snakeOf(name).replaceAll("_", " ");
    const value = name === "natExhausted" ? natExhausted : values[Counter[name]];
    return counter(snake, HELP[name] ?? `${words[0].toUpperCase()}${words.slice(1)}`, [{ value }]);
  });
}

export const snakeOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Bounds 1 to 64 frames; 1 us to 134 ms. */
const FRAME_BUCKETS = { first: 0, last: 6, unit: 1 };
const TIME_BUCKETS = { first: 10, last: 27, unit: 1e-9 };

export function burstFamilies({ burstFrames, burstNanoseconds }: Counters): Family[] {
  return [
    {
      name: "tapir_burst_frames",
      help: "Frames of a burst",
      type: "histogram",
      samples: histogramSample(burstFrames, FRAME_BUCKETS),
    },
    {
      name: "tapir_burst_duration_seconds",
      help: "Time from a burst's being received to its having been sent",
      type: "histogram",
      samples: histogramSample(burstNanoseconds, TIME_BUCKETS),
    },
  ];
}

interface Buckets {
  first: number;
  last: number;
  unit: number;
}

/** What lies below the first bound joins its bucket; what lies above the last stands behind it. */
function histogramSample({ buckets, sum }: Histogram, { first, last, unit }: Buckets): HistogramSample {
  const total = (from: number, to: number): number => buckets.subarray(from, to).reduce((a, b) => a + b, 0);
  const bounds = Array.from({ length: last - first + 1 }, (_, index) =>
    Number((2 ** (first + index) * unit).toPrecision(10)),
  );
  const counts = bounds.map((_, index) => (index === 0 ? total(0, first + 1) : buckets[first + index]));
  return { bounds, counts: [...counts, total(last + 1, buckets.length)], sum: sum * unit };
}

export function flowFamilies({ flows, translated, portsInUse }: FlowCensus): Family[] {
  return [
    gauge(
      "flows",
      "Flows in the table, by protocol and state",
      flows.map(({ count, ...labels }) => ({ labels, value: count })),
    ),
    gauge(
      "nat_flows",
      "Flows whose source or destination is translated",
      translated.map(({ count, ...labels }) => ({ labels, value: count })),
    ),
    gauge(
      "nat_ports_in_use",
      "Ports (of ICMP: identifiers) of the router's addresses that translated flows have",
      portsInUse.map(({ count, ...labels }) => ({ labels, value: count })),
    ),
  ];
}

export interface TableFill {
  name: string;
  used: number;
  limit: number;
}

export function tableFamilies(tables: readonly TableFill[]): Family[] {
  const labelsOf = ({ name }: TableFill): Labels => ({ table: name.replaceAll(" ", "_") });
  return [
    gauge(
      "table_entries",
      "Entries in use",
      tables.map((table) => ({ labels: labelsOf(table), value: table.used })),
    ),
    gauge(
      "table_limit",
      "Entries that there may be",
      tables.map((table) => ({ labels: labelsOf(table), value: table.limit })),
    ),
  ];
}

/** What a rule, or a chain's policy, has met. */
export interface RuleMetrics {
  table: string;
  chain: string;
  /** From 1; `policy` behind the last. */
  rule: string;
  /** Empty where the rule has none. */
  name: string;
  packets: number;
  bytes: number;
}

/** Rules that have series of their own; those beyond are only counted. */
export const MOST_RULES = 1000;

export function ruleFamilies(rules: readonly RuleMetrics[]): Family[] {
  const shown = rules.slice(0, MOST_RULES);
  const samples = (key: "packets" | "bytes"): Sample[] =>
    shown.map(({ table, chain, rule, name, ...counts }) => ({
      labels: { table, chain, rule, name },
      value: counts[key],
    }));
  return [
    counter("rule_packets", "Packets that met a rule, or a chain's policy", samples("packets")),
    counter("rule_bytes", "Bytes of packets that met a rule, or a chain's policy", samples("bytes")),
    gauge("rules_left_out", "Rules without series of their own, because there are too many", [
      { value: rules.length - shown.length },
    ]),
  ];
}

export function processFamilies(processes: Readonly<Record<string, ProcessUsage | undefined>>): Family[] {
  const samples = (key: keyof ProcessUsage): Sample[] =>
    Object.entries(processes).flatMap(([name, usage]) =>
      usage === undefined ? [] : { labels: { process: name }, value: usage[key] },
    );
  return [
    counter("process_cpu_seconds", "Processor time of the two processes", samples("cpuSeconds")),
    gauge("process_resident_memory_bytes", "Memory that they have resident", samples("residentBytes")),
    gauge("process_open_fds", "Descriptors that they have open", samples("openDescriptors")),
  ];
}

const EXPORT_COUNTERS: readonly [keyof ExportCounters, name: string, help: string][] = [
  ["records", "export_records", "Flow records written"],
  ["messages", "export_messages", "Messages sent to the collector"],
  ["messagesFailed", "export_messages_failed", "Messages that could not be sent to the collector"],
  ["recordsLost", "export_records_lost", "Flow records in messages that could not be sent"],
  ["eventsLost", "export_events_lost", "Ends of flows that came faster than they could be read, and are not exported"],
];

export function exportFamilies(counters: ExportCounters): Family[] {
  return EXPORT_COUNTERS.map(([key, name, help]) => counter(name, help, [{ value: counters[key] }]));
}

/** DHCP and DNS: what became of messages, by network. */
export function serviceFamilies({ dhcp, dns }: ServiceCounts): Family[] {
  const samplesOf = (counts: ServiceCounts["dhcp"], label: string): Sample[] =>
    [...counts].flatMap(([network, each]) =>
      Object.entries(each).map(([name, value]) => ({ labels: { network, [label]: snakeOf(name) }, value })),
    );
  return [
    counter("dhcp_messages", "Messages of DHCP, by kind, and those that were not answered", samplesOf(dhcp, "kind")),
    counter("dns_messages", "Questions of DNS, and what became of them", samplesOf(dns, "outcome")),
  ];
}
