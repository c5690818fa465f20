/**
 * Impairments of a running router: edits of the configuration, as attaching a container is one. A direction that is
 * impaired anew takes the new settings in place of all its old ones; the other direction stays as it is.
 */
import type { ImpairmentRow } from "../dataplane/messages.ts";
import type { ImpairmentPlan } from "../dataplane/plan.ts";
import type { Impair } from "./configuration/build_impair.ts";
import type { Configuration, ResolvedPlan } from "./configuration/configuration.ts";
import { suggestion } from "./configuration/nearest.ts";
import type { ImpairConfiguration } from "./configuration/schema_impair.ts";
import { ExitCode, TapirError, UnknownNameError } from "./errors.ts";
import type { ImpairmentView } from "./impair_api.ts";
import type { RunningRouter } from "./router.ts";

type DirectionName = "in" | "out";

export async function showImpairments(router: RunningRouter): Promise<ImpairmentView[]> {
  const rows = (await router.show("impairments")) as ImpairmentRow[];
  const { ports } = router.resolved.plan;
  const views = rows.map(({ port, plan, direction, ...counters }) => {
    const name = ports.find(({ index }) => index === port)?.name ?? String(port);
    return { port: name, direction, settings: describeImpairment(plan), ...counters };
  });
  return views.sort((left, right) => compare(left.port, right.port) || compare(left.direction, right.direction));
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Impairs what is called `name`. The configuration's own checks say what is wrong with `settings`. */
export async function impair(router: RunningRouter, name: string, settings: object): Promise<ImpairmentView[]> {
  await router.change((present) => editImpair(present, name, directionsOf(settings), settings));
  return viewsOf(router, name);
}

/** Ends the impairment of what is called `name`, in a direction or in both. */
export async function clearImpairment(
  router: RunningRouter,
  name: string,
  direction: string | null,
): Promise<ImpairmentView[]> {
  if (direction !== null && !["in", "out", "both"].includes(direction)) {
    throw new TapirError(`impair: direction is in, out or both, not ${direction}`, ExitCode.USAGE);
  }
  await router.change((present) => editImpair(present, name, directionsOf({ direction: direction ?? "both" })));
  return viewsOf(router, name);
}

async function viewsOf(router: RunningRouter, name: string): Promise<ImpairmentView[]> {
  const ports = portsNamed(router.resolved, name);
  return (await showImpairments(router)).filter(({ port }) => ports.has(port));
}

function portsNamed({ plan }: ResolvedPlan, name: string): Set<string> {
  const owner = plan.interfaces.find((each) => each.name === name)?.index;
  return new Set(plan.ports.filter((port) => port.name === name || port.interface === owner).map((port) => port.name));
}

function directionsOf(settings: object): DirectionName[] {
  const { direction = "out" } = settings as { direction?: unknown };
  if (direction === "both") return ["in", "out"];
  return direction === "in" ? ["in"] : ["out"];
}

/** The configuration with other settings for some directions of what is called `name`; without settings, with none. */
export function editImpair(
  present: Configuration,
  name: string,
  directions: readonly DirectionName[],
  settings?: object,
): Configuration {
  const configuration = structuredClone(present);
  const { target, network } = findTarget(configuration, name);
  const others = byDirection(target.impair ?? network?.impair).filter(
    ({ direction }) => !directions.includes(direction as DirectionName),
  );
  const list = [...others, ...(settings === undefined ? [] : [settings as ImpairConfiguration])];
  if (list.length > 0) target.impair = list.length === 1 ? list[0] : list;
  // What the network says would hold again.
  else if (network?.impair !== undefined) target.impair = { loss: "0%" };
  else delete target.impair;
  return configuration;
}

/** A map for each direction. */
function byDirection(impair: Impair | undefined): ImpairConfiguration[] {
  return [impair ?? []].flat().flatMap((each) =>
    each.direction === "both"
      ? [
          { ...each, direction: "in" as const },
          { ...each, direction: "out" as const },
        ]
      : [{ ...each, direction: each.direction ?? ("out" as const) }],
  );
}

interface Target {
  impair?: Impair;
}

function findTarget(configuration: Configuration, name: string): { target: Target; network?: Target } {
  const { networks = {}, uplinks = {} } = configuration;
  if (Object.hasOwn(networks, name)) return { target: networks[name] };
  if (Object.hasOwn(uplinks, name)) return { target: uplinks[name] };
  for (const network of Object.values(networks)) {
    if (network.ports !== undefined && Object.hasOwn(network.ports, name))
      return { target: network.ports[name], network };
  }
  const known = [
    ...Object.keys(networks),
    ...Object.keys(uplinks),
    ...Object.values(networks).flatMap(({ ports }) => Object.keys(ports ?? {})),
  ];
  throw new UnknownNameError(`impair: no port, network or uplink is called ${name}${suggestion(name, known)}`);
}

/** Settings in the words in which they are given; those that do nothing are left out. */
export function describeImpairment(plan: ImpairmentPlan): string {
  const words: [string, number, (value: number) => string][] = [
    ["delay", plan.delay, duration],
    ["jitter", plan.jitter, duration],
    ["loss", plan.loss, percentage],
    ["loss-correlation", plan.lossCorrelation, percentage],
    ["duplicate", plan.duplicate, percentage],
    ["corrupt", plan.corrupt, percentage],
    ["reorder", plan.reorder, percentage],
    ["gap", plan.gap > 1 ? plan.gap : 0, String],
    ["rate", plan.rate, rate],
    ["overhead", plan.overheadBytes, String],
  ];
  const said = words.filter(([, value]) => value !== 0).map(([word, value, print]) => `${word} ${print(value)}`);
  if (plan.distribution === "normal") said.push("distribution normal");
  return [...said, `limit ${plan.limit}`].join(" ");
}

function duration(microseconds: number): string {
  if (microseconds % 1000 !== 0) return `${microseconds}us`;
  return microseconds % 1_000_000 === 0 ? `${microseconds / 1_000_000}s` : `${microseconds / 1000}ms`;
}

function percentage(share: number): string {
  return `${Number((share * 100).toFixed(6))}%`;
}

function rate(bits: number): string {
  const [unit, size] = (
    [
      ["gbit", 1e9],
      ["mbit", 1e6],
      ["kbit", 1e3],
      ["bit", 1],
    ] as const
  ).find(([, size]) => bits >= size) as readonly [string, number];
  return `${Number((bits / size).toFixed(3))}${unit}`;
}
