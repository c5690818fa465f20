/**
 * Policy routing: which tables are asked, as `ip rule` says it. Rules are asked in the order of their priorities; each
 * that fits the packet names a table, or refuses. A table without a route (or with a route of type throw) leaves the
 * packet to the next rule. The router's own addresses come before all rules: Linux's rule 0 and its table local.
 */
import { contains, type Prefix } from "../packet/ipv4_address.ts";
import { Route, RouteKind } from "./route_set.ts";

export const TableId = { DEFAULT: 253, MAIN: 254 } as const;

export const MAIN_PRIORITY = 32_766;
export const DEFAULT_PRIORITY = 32_767;

/** A rule as plain data. */
export interface PolicyRule {
  priority: number;
  from?: Prefix;
  to?: Prefix;
  /** Fits where the rest does not. */
  not?: true;
  /** `(mark & mask) === value`. */
  fwmark?: { value: number; mask: number };
  /** Ingress: an interface, or a port of a network. */
  iif?: { interface: number } | { port: number };
  /** A table, or what becomes of the packet: a `RouteKind`. */
  action: { table: number } | { kind: number };
}

/** What rules ask about. */
export interface PolicyPacket {
  source: number;
  destination: number;
  mark: number;
  ingressInterface: number;
  ingressPort: number;
}

export const DEFAULT_POLICY: readonly PolicyRule[] = [
  { priority: MAIN_PRIORITY, action: { table: TableId.MAIN } },
  { priority: DEFAULT_PRIORITY, action: { table: TableId.DEFAULT } },
];

/** Rules in the order of their priorities, ready to be asked. */
export class Policy {
  readonly rules: readonly PolicyRule[];
  /** Where a packet goes that a rule refuses, by the rule's place; undefined for rules that name a table. */
  readonly refusals: readonly (Route | undefined)[];
  /** Only the table main is asked, for every packet. */
  readonly isPlain: boolean;

  constructor(rules: readonly PolicyRule[], hasDefaultTable: boolean) {
    this.rules = [...rules].sort((left, right) => left.priority - right.priority);
    this.refusals = this.rules.map(({ action }) => ("kind" in action ? new Route(action.kind, -1, 0) : undefined));
    const asked = this.rules.filter((rule) => hasDefaultTable || !isForTable(rule, TableId.DEFAULT));
    this.isPlain = asked.length === 1 && isForTable(asked[0], TableId.MAIN) && fitsAll(asked[0]);
  }
}

function isForTable({ action }: PolicyRule, table: number): boolean {
  return "table" in action && action.table === table;
}

function fitsAll({ from, to, fwmark, iif, not }: PolicyRule): boolean {
  return from === undefined && to === undefined && fwmark === undefined && iif === undefined && not === undefined;
}

/** Whether a rule fits a packet. */
export function fits(rule: PolicyRule, packet: PolicyPacket): boolean {
  return fitsEach(rule, packet) !== (rule.not === true);
}

function fitsEach({ from, to, fwmark, iif }: PolicyRule, packet: PolicyPacket): boolean {
  if (from !== undefined && !contains(from, packet.source)) return false;
  if (to !== undefined && !contains(to, packet.destination)) return false;
  if (fwmark !== undefined && ((packet.mark ^ fwmark.value) & fwmark.mask) !== 0) return false;
  if (iif === undefined) return true;
  return "port" in iif ? iif.port === packet.ingressPort : iif.interface === packet.ingressInterface;
}

/** Whether a look-up has an answer, or the next rule is to be asked. */
export function isAnswer(route: Route | undefined): route is Route {
  return route !== undefined && route.kind !== RouteKind.THROW;
}
