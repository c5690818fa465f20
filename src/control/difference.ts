/**
 * What lies between two configurations, as a list of actions in the configuration's own words. Pure: it touches nothing.
 *
 * Maps are compared key by key, lists as texts are by diff(1): what stays in order stays, the rest is removed and added.
 * Nothing here knows the keys one by one, so that a new key of the configuration is never left out.
 */
import { stringify } from "yaml";
import type { Configuration, DevicePlan, ResolvedPlan } from "./configuration/configuration.ts";
import { compareDevices } from "./device_change.ts";

export interface Action {
  change: "add" | "remove" | "alter";
  /** `network`, `port`, `uplink`, `route`, `rule`, `policy`, `nat rule`, `limit`, or `setting`. */
  kind: string;
  /** Where in the configuration, as in `networks.lab.ports.c1` or `filter.forward.rules`. */
  path: string;
  /** What was there, and what is: one line of YAML each; absent where nothing is. */
  before?: string;
  after?: string;
  /** Of members of lists: their place from 0, in the list that they are in. */
  index?: number;
}

export interface Difference {
  actions: Action[];
  /** Devices, as in `eth0 in c3`. */
  opens: string[];
  closes: string[];
  /** Why it cannot be applied as it is; what only trying can tell is not among them. */
  problems: string[];
}

type Path = readonly string[];

export function compareConfigurations(before: Configuration, after: Configuration): Action[] {
  const actions: Action[] = [];
  compare([], before, after, actions);
  return actions;
}

/** Devices that have to be opened and closed, in words. */
export function compareOpen(before: ResolvedPlan, after: ResolvedPlan): Pick<Difference, "opens" | "closes"> {
  const { closing, opening, replacing } = compareDevices(before.devices, new Set(), after.devices);
  return { opens: [...opening, ...replacing].map(describeDevice), closes: closing.map(describeDevice) };
}

export function describeDevice({ name, ifname, netns }: DevicePlan): string {
  const place = netns === undefined ? "" : ` in ${netns.replace(/^\/run\/netns\//, "")}`;
  return `${name}: ${ifname}${place}`;
}

/** One line for each action, as in `+ port networks.lab.ports.c3: { netns: c3 }`. */
export function formatAction({ change, kind, path, before, after, index }: Action): string {
  const sign = { add: "+", remove: "-", alter: "~" }[change];
  const place = index === undefined ? path : `${path}[${index}]`;
  const values = change === "alter" ? `${before} -> ${after}` : (after ?? before);
  return `${sign} ${kind} ${place}: ${values}`;
}

const PLURALS: Record<string, string> = { policy: "policies" };

/** As in `2 rules added, 1 port removed`; of nothing: `nothing changes`. */
export function summarise(actions: readonly Action[]): string {
  const counts = new Map<string, { kind: string; verb: string; count: number }>();
  for (const { change, kind } of actions) {
    const verb = { add: "added", remove: "removed", alter: "altered" }[change];
    const key = `${kind} ${verb}`;
    counts.set(key, { kind, verb, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  if (counts.size === 0) return "nothing changes";
  const say = (count: number, kind: string): string =>
    count === 1 ? `1 ${kind}` : `${count} ${PLURALS[kind] ?? `${kind}s`}`;
  return [...counts.values()].map(({ kind, verb, count }) => `${say(count, kind)} ${verb}`).join(", ");
}

function compare(path: Path, before: unknown, after: unknown, actions: Action[]): void {
  if (before === undefined && after === undefined) return;
  if (Array.isArray(before ?? []) && Array.isArray(after ?? [])) {
    compareLists(path, (before ?? []) as unknown[], (after ?? []) as unknown[], actions);
  } else if (isMap(before) && isMap(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compare([...path, key], before[key], after[key], actions);
    }
  } else if (isMap(before ?? {}) && isMap(after ?? {}) && !isWhole(path)) {
    compare(path, before ?? {}, after ?? {}, actions);
  } else if (jsonOf(before) !== jsonOf(after)) {
    actions.push(actionOf(path, before, after));
  }
}

/** Networks, ports and uplinks come and go as one; of other maps, each key does. */
function isWhole(path: Path): boolean {
  if (path[0] === "uplinks") return path.length === 2;
  return path[0] === "networks" && (path.length === 2 || path.length === 4);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function actionOf(path: Path, before: unknown, after: unknown): Action {
  return {
    change: before === undefined ? "add" : after === undefined ? "remove" : "alter",
    kind: kindOf(path),
    path: path.join("."),
    ...(before === undefined ? {} : { before: inline(before) }),
    ...(after === undefined ? {} : { after: inline(after) }),
  };
}

const KINDS: Record<string, string> = {
  uplinks: "uplink",
  routes: "route",
  filter: "rule",
  nat: "nat rule",
  limits: "limit",
};

function kindOf(path: Path): string {
  const [first, , third] = path;
  if (first === "networks") return third === "ports" ? "port" : "network";
  if (path.at(-1) === "policy") return "policy";
  return Object.hasOwn(KINDS, first) ? KINDS[first] : "setting";
}

/** A value as one line of YAML. */
function inline(value: unknown): string {
  return stringify(value, { collectionStyle: "flow", lineWidth: 0, flowCollectionPadding: true }).trim();
}

function compareLists(path: Path, before: readonly unknown[], after: readonly unknown[], actions: Action[]): void {
  const kept = commonOf(before.map(jsonOf), after.map(jsonOf));
  for (const [index, value] of before.entries()) {
    if (!kept.before.has(index)) actions.push({ ...actionOf(path, value, undefined), index });
  }
  for (const [index, value] of after.entries()) {
    if (!kept.after.has(index)) actions.push({ ...actionOf(path, undefined, value), index });
  }
}

function jsonOf(value: unknown): string {
  return JSON.stringify(value);
}

interface Common {
  before: Set<number>;
  after: Set<number>;
}

/** Places of what both lists have in the same order. */
function commonOf(before: readonly string[], after: readonly string[]): Common {
  const kept: Common = { before: new Set(), after: new Set() };
  const keep = (left: number, right: number): void => {
    kept.before.add(left);
    kept.after.add(right);
  };
  let first = 0;
  while (first < before.length && first < after.length && before[first] === after[first]) keep(first, first++);
  let [left, right] = [before.length, after.length];
  while (left > first && right > first && before[left - 1] === after[right - 1]) keep(--left, --right);
  const pairs = inOrder(sameAnywhere(before.slice(first, left), after.slice(first, right)));
  for (const [l, r] of pairs) keep(first + l, first + r);
  return kept;
}

/** The most pairs, out of those given in the order of their first places, whose second places rise too (patience sorting). */
function inOrder(pairs: readonly [number, number][]): [number, number][] {
  /** Of the chains of each length, the one whose last pair has the lowest second place: that pair. */
  const ends: number[] = [];
  const before: number[] = [];
  for (const [at, [, place]] of pairs.entries()) {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pairs[ends[middle]][1] < place) low = middle + 1;
      else high = middle;
    }
    before[at] = low === 0 ? -1 : ends[low - 1];
    ends[low] = at;
  }
  const chain: [number, number][] = [];
  for (let at = ends.at(-1) ?? -1; at >= 0; at = before[at]) chain.push(pairs[at]);
  return chain;
}

/** Pairs of equal texts, whatever their order. */
function sameAnywhere(before: readonly string[], after: readonly string[]): [number, number][] {
  const places = new Map<string, number[]>();
  for (const [index, text] of [...after.entries()].reverse()) {
    const found = places.get(text);
    if (found === undefined) places.set(text, [index]);
    else found.push(index);
  }
  return before.flatMap((text, index): [number, number][] => {
    const place = places.get(text)?.pop();
    return place === undefined ? [] : [[index, place]];
  });
}
