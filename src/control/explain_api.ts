/** `explain` over HTTP: a packet in words, or bytes, becomes the frame that the dataplane rehearses. */
import { type Static, Type } from "typebox";
import type { FdbRow, NeighbourRow } from "../dataplane/messages.ts";
import { EtherType } from "../packet/ethernet.ts";
import { destinationAddress, IPV4_HEADER_BYTES, sourceAddress } from "../packet/ipv4.ts";
import type { ApiRoute } from "./api_route.ts";
import { frameOf, withEthernet } from "./explain/packet_bytes.ts";
import { readPacket, refusePacket } from "./explain/packet_wish.ts";
import { Ingress } from "./explain/surroundings.ts";
import type { RunningRouter } from "./router.ts";

/** The largest frame that a device can bring. */
const MOST_FRAME_BYTES = 65_549;

const RequestSchema = Type.Object({
  in: Type.String({ description: "The port that the packet comes in by; an uplink's port has its name." }),
  packet: Type.Optional(Type.String({ description: "In words: `tcp 10.55.66.2:4000 > 203.0.113.2:443 syn`." })),
  frame: Type.Optional(Type.String({ description: "Or an Ethernet frame, in hexadecimal digits." })),
  ip: Type.Optional(Type.String({ description: "Or an IPv4 packet, in hexadecimal digits." })),
});
export type ExplainRequest = Static<typeof RequestSchema>;

const RuleSchema = Type.Object({
  table: Type.String(),
  chain: Type.String(),
  number: Type.Integer({ minimum: 1 }),
  rule: Type.String(),
  matched: Type.Boolean(),
  because: Type.Optional(
    Type.String({ description: "The first thing that a rule asks for and the packet does not have." }),
  ),
});

const StepSchema = Type.Object({
  stage: Type.String(),
  text: Type.String(),
  rules: Type.Optional(Type.Array(RuleSchema)),
  omitted: Type.Optional(Type.Integer({ description: "Rules that do not match and are not listed." })),
});

/** One packet's walk, as `explain` and `trace` tell it. */
export const WalkSchema = Type.Object({
  time: Type.Number({ description: "Milliseconds since 1970." }),
  port: Type.String(),
  interface: Type.String(),
  frame: Type.String({ description: "As it came, in tcpdump's words." }),
  sourceMac: Type.String(),
  destinationMac: Type.String(),
  steps: Type.Array(StepSchema),
  verdict: Type.String({ description: "Name of a stop reason, as `tapir show drops` lists them." }),
  outcome: Type.Enum(["done", "dropped"]),
  rule: Type.Optional(Type.Object({ chain: Type.String(), number: Type.Integer(), rule: Type.String() })),
  flow: Type.Optional(Type.Unknown({ description: "As `tapir conntrack -L -j` prints it." })),
  egress: Type.Array(Type.String()),
  frameAfter: Type.Optional(Type.String()),
  sentence: Type.String(),
});

const ExplanationSchema = Type.Object({
  ...WalkSchema.properties,
  sent: Type.Array(
    Type.Object({
      port: Type.String(),
      own: Type.Boolean({ description: "The router's own: an answer, or a question for a next hop." }),
      frame: Type.String(),
      hex: Type.String(),
      vnetHeader: Type.String(),
    }),
  ),
});

export const EXPLAIN_ROUTES: readonly ApiRoute[] = [
  {
    method: "POST",
    path: "/v1/explain",
    summary: "What the router would do with a packet, stage by stage; changes nothing.",
    body: RequestSchema,
    bodyLimitBytes: 256 * 1024,
    answer: ExplanationSchema,
    handle: (router, { body }) => explainPacket(router, body as ExplainRequest),
  },
];

async function explainPacket(router: RunningRouter, request: ExplainRequest): Promise<unknown> {
  const stations = {
    neighbours: (await router.show("neighbours")) as NeighbourRow[],
    fdb: (await router.show("fdb")) as FdbRow[],
  };
  const ingress = new Ingress(router.resolved, request.in, stations);
  return router.explain(ingress.port.index, ...frameFor(request, ingress));
}

/** The frame, and whether its TCP numbers may be chosen to fit. */
function frameFor({ packet, frame, ip }: ExplainRequest, ingress: Ingress): [frame: Uint8Array, fitsNumbers: boolean] {
  const given = [packet, frame, ip].filter((each) => each !== undefined).length;
  if (given !== 1) throw refusePacket("one of 'packet', 'frame' and 'ip' is needed");
  if (frame !== undefined) return [readHex(frame, 14), false];
  if (ip !== undefined) {
    const bytes = readHex(ip, IPV4_HEADER_BYTES);
    const memory = new DataView(bytes.buffer, bytes.byteOffset);
    const macs = ingress.macsFor(sourceAddress(memory, 0), destinationAddress(memory, 0));
    return [withEthernet(macs, EtherType.IPV4, bytes), false];
  }
  const wish = readPacket(packet as string);
  return [frameOf(ingress.settle(wish)), wish.sequence === undefined && wish.acknowledgement === undefined];
}

function readHex(text: string, least: number): Uint8Array {
  const digits = text.replace(/[\s:]/g, "").replace(/^0x/i, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw refusePacket("those are no bytes in hexadecimal digits");
  const bytes = Uint8Array.from(Buffer.from(digits, "hex"));
  if (bytes.length < least) throw refusePacket(`${bytes.length} bytes are no packet: at least ${least} are needed`);
  if (bytes.length > MOST_FRAME_BYTES) throw refusePacket(`a frame has at most ${MOST_FRAME_BYTES} bytes`);
  return bytes;
}
