/** Kinds of flow events by conntrack(8)'s names for them (`--event-mask`). */
import { ANY_EVENT, FlowEvent } from "./events.ts";
import { FilterError } from "./filter.ts";

/** Names of events, as conntrack(8)'s `-e` has them. */
const KINDS: Record<string, number> = {
  NEW: FlowEvent.NEW,
  UPDATES: FlowEvent.UPDATE,
  DESTROY: FlowEvent.DESTROY,
  ALL: ANY_EVENT,
};

/** Reads a list of kinds of events; throws where one is none. */
export function parseKinds(text: string): number {
  return text.split(",").reduce((kinds, name) => {
    if (Object.hasOwn(KINDS, name)) return kinds | KINDS[name];
    throw new FilterError(`--event-mask: '${name}' is none of ${Object.keys(KINDS).join(", ")}`);
  }, 0);
}
