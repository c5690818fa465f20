/** What a stage of one's own sees of a packet. */
import type { Router } from "../dataplane/router.ts";
import type { Frame } from "../packet/frame.ts";
import { Protocol } from "../packet/ipv4.ts";
import { formatAddress } from "../packet/ipv4_address.ts";

/** Valid until the stage returns. */
export interface StagePacket {
  /** Name of the port that it came by. */
  readonly port: string;
  readonly protocol: number;
  /** Dotted quads, as the packet has them. */
  readonly source: string;
  readonly destination: string;
  /** Undefined for protocols other than TCP and UDP. */
  readonly sourcePort: number | undefined;
  readonly destinationPort: number | undefined;
  /** The whole frame: the router's memory itself, not to be written to. */
  readonly bytes: Uint8Array;
}

/** False stops the packet. */
export type Stage = (packet: StagePacket) => boolean;

/** The stage as the pipeline asks it: one view of the packet, made once and filled anew by looking. */
export function stageOf({ arena }: Router, stage: Stage, portName: (index: number) => string) {
  let frame: Frame;
  const hasPorts = (): boolean => frame.protocol === Protocol.TCP || frame.protocol === Protocol.UDP;
  const packet: StagePacket = {
    get port() {
      return portName(frame.ingressPort);
    },
    get protocol() {
      return frame.protocol;
    },
    get source() {
      return formatAddress(frame.source);
    },
    get destination() {
      return formatAddress(frame.destination);
    },
    get sourcePort() {
      return hasPorts() ? frame.ports >>> 16 : undefined;
    },
    get destinationPort() {
      return hasPorts() ? frame.ports & 0xffff : undefined;
    },
    get bytes() {
      return arena.bytes.subarray(frame.at, frame.at + frame.length);
    },
  };
  return (asked: Frame): boolean => {
    frame = asked;
    return stage(packet);
  };
}
