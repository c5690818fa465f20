/** `tapir show`: the router's tables. */
import type { LeaseView } from "../control/dhcp/leased_uplink.ts";
import { ExitCode } from "../control/errors.ts";
import type { Invariants } from "../dataplane/invariants.ts";
import type { DropRow, LastDrop } from "../dataplane/messages.ts";
import { ask } from "./client.ts";
import { formatTable } from "./table.ts";
import { formatClock } from "./walk_text.ts";

export const SHOWN = [
  "ports",
  "fdb",
  "neighbours",
  "leases",
  "routes",
  "rules",
  "nat",
  "drops",
  "stats",
  "invariants",
  "config",
] as const;
export type Shown = (typeof SHOWN)[number];

const COLUMNS: Partial<Record<Shown, string[]>> = {
  ports: [
    "name",
    "interface",
    "kind",
    "device",
    "namespace",
    "mtu",
    "state",
    "rxFrames",
    "txFrames",
    "txFull",
    "txErrors",
  ],
  fdb: ["network", "mac", "port", "ageSeconds"],
  neighbours: ["interface", "address", "mac", "state", "parked"],
  leases: ["network", "address", "mac", "port", "hostName", "state", "expiresSeconds"],
  routes: ["to", "via", "interface", "kind"],
  nat: ["kind", "profile", "proto", "from", "out", "to", "ports"],
  drops: ["reason", "stage", "outcome", "count", "text"],
};

interface ShownChain {
  policy: string;
  policyPackets: number;
  policyBytes: number;
  rules: { rule: string; packets: number; bytes: number }[];
}

export async function show(socket: string, table: Shown, asJson: boolean): Promise<string> {
  const answer = await ask<object>(socket, "GET", `/v1/${table === "config" ? "configuration" : table}`);
  if (asJson) return JSON.stringify(answer, null, 2);
  if (table === "config") return (await import("yaml")).stringify(answer, { lineWidth: 0 }).trimEnd();
  if (table === "stats") return formatStats(answer as Record<string, number>);
  if (table === "invariants") return formatInvariants(answer as Invariants);
  if (table === "rules") return formatRules(answer as Record<string, ShownChain>);
  if (table === "drops") return formatDrops(answer as DropRow[]);
  if (table === "ports") return formatPorts(answer as PortRow[]);
  return formatTable(answer as Record<string, unknown>[], COLUMNS[table] as string[]);
}

interface PortRow extends Record<string, unknown> {
  /** Of an uplink with `address: dhcp`. */
  lease?: LeaseView;
  /** Of a port that Docker has asked for. */
  container?: string;
}

/** Containers, leases, and what rate limits have dropped, have columns where there are any. */
function formatPorts(rows: PortRow[]): string {
  const [name, ...columns] = COLUMNS.ports as string[];
  const hasContainers = rows.some(({ container }) => container !== undefined);
  const hasLeases = rows.some(({ lease }) => lease !== undefined);
  const limited = ["rxLimited", "flowsLimited"].filter((each) => rows.some((row) => Number(row[each] ?? 0) > 0));
  const told = rows.map((row) => ({
    ...row,
    container: row.container ?? "",
    lease: row.lease === undefined ? "" : describe(row.lease),
  }));
  const shown = [name, ...(hasContainers ? ["container"] : []), ...columns, ...limited];
  return formatTable(told, hasLeases ? [...shown, "lease"] : shown);
}

function describe({ state, address, server, expiresSeconds }: LeaseView): string {
  if (address === null) return state;
  const time = expiresSeconds === null ? "for ever" : `${expiresSeconds} s left`;
  return `${address} from ${server}, ${time} (${state})`;
}

/** Reasons that were met, each with the rule that stopped the last packet, and that packet. */
function formatDrops(rows: readonly DropRow[]): string {
  const kept = rows.filter((row) => row.count !== 0);
  const [heading, ...lines] = formatTable(kept, COLUMNS.drops as string[]).split("\n");
  const details = kept.map(({ last }) => (last === undefined ? [] : describeLast(last)));
  return [heading, ...lines.flatMap((line, index) => [line, ...details[index]])].join("\n");
}

function describeLast({ time, port, frame, rule }: LastDrop): string[] {
  const clock = formatClock(time);
  const by =
    rule === undefined ? [] : [`    by ${rule.chain} ${rule.number === 0 ? "" : `rule ${rule.number}: `}${rule.rule}`];
  return [...by, `    last ${clock} from ${port}: ${frame}`];
}

function formatStats(stats: Record<string, number>): string {
  return formatTable(
    Object.entries(stats).map(([counter, value]) => ({ counter, value })),
    ["counter", "value"],
  );
}

/** A violation is a fault of the router: it is said, and the command fails. */
function formatInvariants({ violations, ...counted }: Invariants): string {
  if (violations.length > 0) process.exitCode = ExitCode.FAILED;
  const holds = violations.length === 0 ? "all hold: ports in use are live mappings" : violations.join("\n");
  return `${formatStats({ ...counted })}\n${holds}`;
}

function formatRules(chains: Record<string, ShownChain>): string {
  return Object.entries(chains)
    .map(([name, chain]) => {
      const rows = [
        ...chain.rules,
        { rule: `policy ${chain.policy}`, packets: chain.policyPackets, bytes: chain.policyBytes },
      ];
      return `chain ${name}\n${formatTable(rows, ["packets", "bytes", "rule"])}`;
    })
    .join("\n\n");
}
