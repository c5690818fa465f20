/** The shape of rate limits: what a port may send in a second. */
import { type Static, Type } from "typebox";
import { CLOSED, integer } from "./schema_parts.ts";

const MOST = 1_000_000_000_000;

const properties = {
  packetsPerSecond: Type.Optional(
    integer(1, MOST, { description: "Frames, as the device brings them: a super-frame is one." }),
  ),
  bytesPerSecond: Type.Optional(integer(1, MOST, { description: "Bytes of Ethernet frames." })),
  newFlowsPerSecond: Type.Optional(
    integer(1, MOST, { description: "New flows, routed or judged by a bridge policy." }),
  ),
};

/** Whose ports: words that end "How much may come in a second by ...". */
export function rateLimit(whose: string) {
  const description = `How much may come in a second by ${whose}. What is beyond is dropped.`;
  return Type.Optional(Type.Object(properties, { ...CLOSED, title: "a map of rate limits", description }));
}

export type RateLimitConfiguration = Static<ReturnType<typeof rateLimit>>;
