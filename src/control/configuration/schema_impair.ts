/** The shape of impairments: what is done on purpose to the frames of a port, in the words of tc-netem(8). */
import { type Static, Type } from "typebox";
import { CLOSED, integer, oneOrMore } from "./schema_parts.ts";

export const DEFAULT_IMPAIRMENT_LIMIT = 1000;
/** The arena of a router has no more slots. */
const LARGEST_LIMIT = 4096;

const duration = (description: string, options: object = {}) =>
  Type.Optional(
    Type.String({
      pattern: "^[0-9]+(\\.[0-9]+)?(us|ms|s)$",
      title: "a time like 20ms, 1.5s or 300us",
      description,
      ...options,
    }),
  );

const percentage = (description: string, options: object = {}) =>
  Type.Optional(
    Type.String({ pattern: "^[0-9]+(\\.[0-9]+)?%$", title: "a percentage like 1% or 0.1%", description, ...options }),
  );

export const ImpairSchema = Type.Object(
  {
    direction: Type.Optional(
      Type.Enum(["in", "out", "both"], {
        default: "out",
        title: "in, out or both",
        description:
          "`out`: frames that leave the router by the port (what tc-netem does to a device). `in`: those that come in by it. `both`: each of them, independently.",
      }),
    ),
    delay: duration("How long each frame is held."),
    jitter: duration("How far the delay varies. More than the distance between frames lets them overtake each other."),
    distribution: Type.Optional(
      Type.Enum(["uniform", "normal"], {
        default: "uniform",
        title: "uniform or normal",
        description: "Of the jitter: anything up to it, or with it as standard deviation.",
      }),
    ),
    loss: percentage("Frames that are lost."),
    lossCorrelation: percentage("How far the chance of being lost depends on the frame before (netem's formula)."),
    duplicate: percentage("Frames that come twice."),
    corrupt: percentage("Frames of which one random bit is turned over."),
    reorder: percentage("Frames that are sent at once, past those that are held."),
    gap: Type.Optional(
      integer(1, 1_000_000, { default: 1, description: "Only every so many-th frame may be sent at once." }),
    ),
    rate: Type.Optional(
      Type.String({
        pattern: "^[0-9]+(\\.[0-9]+)?([kmgt]i?)?(bit|bps)$",
        title: "a rate like 10mbit or 500kbit",
        description:
          "Bits per second (`bit`, `kbit`, `mbit`, `gbit`) that leave one after the other, counted as Ethernet frames; with `bps` bytes.",
        examples: ["10mbit"],
      }),
    ),
    overhead: Type.Optional(
      integer(-64, 1500, {
        default: 0,
        description: "Bytes that `rate` counts for each packet besides its Ethernet frame.",
      }),
    ),
    limit: Type.Optional(
      integer(1, LARGEST_LIMIT, {
        default: DEFAULT_IMPAIRMENT_LIMIT,
        description: "Frames that may be held; those beyond are dropped. Fewer where the router's slots run short.",
      }),
    ),
    seed: Type.Optional(
      integer(0, 4_294_967_295, { description: "Makes chance repeatable. Default: another one each time." }),
    ),
  },
  { ...CLOSED, title: "a map of impairments", description: "What is done on purpose to frames, as by tc-netem(8)." },
);

export const impair = (whose: string) =>
  Type.Optional(
    oneOrMore(ImpairSchema, "a map of impairments", {
      description: `What is done on purpose to the frames of ${whose}; a list of two where the directions differ.`,
    }),
  );

export type ImpairConfiguration = Static<typeof ImpairSchema>;
