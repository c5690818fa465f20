/** Routes as `ip route` prints them, and as `ip -j route` does. */
import type { FoundRow, RouteRow } from "../control/routing/schemas.ts";
import type { RouteChoice } from "./route_words.ts";

/** A route on one line, or on a line for itself and each next hop. What was asked for is not said again. */
export function formatRoute(row: RouteRow, asked: RouteChoice): string {
  const { dst, type, nexthops, protocol, metric, prefsrc, table } = row;
  const words = [type === "unicast" ? "" : type, dst];
  const [first] = nexthops;
  const isShared = nexthops.length > 1;
  if (first !== undefined && !isShared) {
    if (first.gateway !== undefined && asked.via === undefined) words.push(`via ${first.gateway}`);
    if (asked.dev === undefined) words.push(`dev ${first.dev}`);
  }
  if (saysTable(table, asked)) words.push(`table ${table}`);
  if (protocol !== "boot" && asked.proto === undefined) words.push(`proto ${protocol}`);
  if (isOnLink(row)) words.push("scope link");
  if (prefsrc !== undefined) words.push(`src ${prefsrc}`);
  if (metric !== 0) words.push(`metric ${metric}`);
  const line = `${words.filter((word) => word !== "").join(" ")} `;
  if (!isShared) return line;
  const hops = nexthops.map(({ gateway, dev, weight }) => {
    return `\tnexthop ${gateway === undefined ? "" : `via ${gateway} `}dev ${dev} weight ${weight} `;
  });
  return [line, ...hops].join("\n");
}

/** As `ip -j route` has it. */
export function routeJson(row: RouteRow, asked: RouteChoice): object {
  const { dst, type, nexthops, protocol, metric, prefsrc, table } = row;
  const [first] = nexthops;
  const isShared = nexthops.length > 1;
  return {
    ...(type === "unicast" ? {} : { type }),
    dst,
    ...(first === undefined || isShared ? {} : hopJson(first)),
    ...(saysTable(table, asked) ? { table } : {}),
    ...(protocol === "boot" || asked.proto !== undefined ? {} : { protocol }),
    ...(isOnLink(row) ? { scope: "link" } : {}),
    ...(prefsrc === undefined ? {} : { prefsrc }),
    ...(metric === 0 ? {} : { metric }),
    flags: [],
    ...(isShared ? { nexthops: nexthops.map((hop) => ({ ...hopJson(hop), weight: hop.weight, flags: [] })) } : {}),
  };
}

function hopJson({ gateway, dev }: RouteRow["nexthops"][number]): object {
  return { ...(gateway === undefined ? {} : { gateway }), dev };
}

function isOnLink({ nexthops }: RouteRow): boolean {
  return nexthops.length > 0 && nexthops.every(({ gateway }) => gateway === undefined);
}

/** Of one table that was asked for, or of main, it goes without saying. */
function saysTable(table: string, asked: RouteChoice): boolean {
  return table !== "main" && asked.table === "all";
}

export function formatFound(row: FoundRow): string {
  const { dst, from, gateway, dev, table, prefsrc, mark, iif } = row;
  const words = [
    dst,
    from === undefined ? "" : `from ${from}`,
    gateway === undefined ? "" : `via ${gateway}`,
    `dev ${dev}`,
    table === undefined ? "" : `table ${table}`,
    prefsrc === undefined ? "" : `src ${prefsrc}`,
    mark === undefined || mark === 0 ? "" : `mark ${mark}`,
    iif === undefined ? "uid 0" : "",
  ].filter((word) => word !== "");
  return `${words.join(" ")} \n    cache ${iif === undefined ? "" : `iif ${iif} `}`;
}

export function foundJson({ dst, from, gateway, dev, table, prefsrc, mark, iif }: FoundRow): object {
  return {
    dst,
    ...(from === undefined ? {} : { from }),
    ...(gateway === undefined ? {} : { gateway }),
    dev,
    ...(table === undefined ? {} : { table }),
    ...(prefsrc === undefined ? {} : { prefsrc }),
    ...(mark === undefined || mark === 0 ? {} : { mark }),
    flags: [],
    ...(iif === undefined ? { uid: 0 } : {}),
    cache: [],
    ...(iif === undefined ? {} : { iif }),
  };
}

/** What `ip route get` says of a destination that packets do not get to. */
export const NO_WAY: Record<string, string> = {
  none: "RTNETLINK answers: Network is unreachable",
  unreachable: "RTNETLINK answers: No route to host",
  prohibit: "RTNETLINK answers: Permission denied",
  blackhole: "RTNETLINK answers: Invalid argument",
  broadcast: "RTNETLINK answers: Network is unreachable",
  throw: "RTNETLINK answers: Network is unreachable",
};
