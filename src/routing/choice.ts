/**
 * Which route of a set a flow takes, and which of its next hops.
 *
 * The route with the lowest metric that has a next hop on a link that is up wins, as in Linux, where a link that goes
 * down takes its next hops with it. Among several next hops the flow's hash decides, by the highest random weight
 * (Thaler and Ravishankar, 1998): each next hop draws a number from the hash, and the best one, weighted, wins. So a
 * next hop that dies gives its flows to the others, and no other flow moves. One whose neighbour does not answer ARP is
 * left out while another answers. A flow that has a next hop of the set keeps it as long as that lives.
 */
import type { Neighbours } from "./neighbours.ts";
import { type Route, RouteKind, type RouteSet, type SetRoute } from "./route_set.ts";

/** What a choice depends on besides the flow. */
export interface Links {
  /** 1 for each interface whose link is up. */
  readonly up: Uint8Array;
  readonly neighbours: Neighbours;
}

/** A flow that asks: where to, its hash, and the neighbour that it has used so far, or -1. */
export interface Asker {
  destination: number;
  hash: number;
  kept: number;
}

/** The next hop for a flow; undefined when all are down. */
export function chooseRoute(set: RouteSet, links: Links, asker: Asker): Route | undefined {
  const { routes } = set;
  for (let i = 0; i < routes.length; i++) {
    const { hops } = routes[i];
    const first = hops[0];
    if (hops.length === 1) {
      if (first.kind !== RouteKind.UNICAST || links.up[first.interface] !== 0) return first;
    } else {
      const hop = keptHop(hops, links, asker) ?? drawHop(routes[i], links, asker.hash);
      if (hop !== undefined) return hop;
    }
  }
  return undefined;
}

function keptHop(hops: readonly Route[], links: Links, { kept, destination }: Asker): Route | undefined {
  const { neighbours, up } = links;
  if (kept < 0 || neighbours.unanswered[kept] !== 0) return undefined;
  const address = neighbours.address[kept];
  const owner = neighbours.interfaceOf[kept];
  for (const hop of hops) {
    if (hop.interface !== owner || up[owner] === 0) continue;
    if ((hop.via === 0 ? destination : hop.via) === address) return hop;
  }
  return undefined;
}

function drawHop({ hops, weights }: SetRoute, links: Links, hash: number): Route | undefined {
  let best: Route | undefined;
  let bestScore = Number.POSITIVE_INFINITY;
  let isBestAnswering = false;
  for (let i = 0; i < hops.length; i++) {
    const hop = hops[i];
    if (links.up[hop.interface] === 0) continue;
    const isAnswering = answers(hop, links.neighbours);
    const score = -Math.log(draw(hash, hop)) / weights[i];
    if (isAnswering === isBestAnswering ? score >= bestScore : isBestAnswering) continue;
    best = hop;
    bestScore = score;
    isBestAnswering = isAnswering;
  }
  return best;
}

/** Whether a next hop has not failed to answer. One that was never asked may be there. */
function answers(hop: Route, neighbours: Neighbours): boolean {
  if (hop.via === 0) return true;
  const neighbour = neighbours.find(hop.interface, hop.via);
  return neighbour < 0 || neighbours.unanswered[neighbour] === 0;
}

/** Above 0, at most 1, the same for the same flow and next hop. */
function draw(hash: number, hop: Route): number {
  let mixed = Math.imul(hash ^ Math.imul(hop.via ^ (hop.interface << 24), 0x9e3779b1), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
  return (((mixed ^ (mixed >>> 15)) >>> 0) + 1) / 0x100000000;
}
