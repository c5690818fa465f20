/** Which routes `route show` shows. */
import { prefixOf } from "../control/routing/context.ts";
import { isMeant } from "../control/routing/route_operations.ts";
import type { RouteRow } from "../control/routing/schemas.ts";
import type { RouteChoice } from "./route_words.ts";

export function isChosen(row: RouteRow, choice: RouteChoice): boolean {
  const { via, dev, proto, type, metric, to, match } = choice;
  if (to !== undefined && !isMeant(prefixOf(to), match, prefixOf(row.dst))) return false;
  if (proto !== undefined && proto !== row.protocol) return false;
  if (type !== undefined && type !== row.type) return false;
  if (metric !== undefined && metric !== row.metric) return false;
  // As in iproute2, a route with several next hops is by none of them.
  const only = row.nexthops.length === 1 ? row.nexthops[0] : undefined;
  if (via !== undefined && only?.gateway !== via) return false;
  return dev === undefined || only?.dev === dev;
}
