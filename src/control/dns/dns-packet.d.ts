/** The part of `dns-packet` that is used here; the package has no types of its own. */
declare module "dns-packet" {
  interface Question {
    /** Labels with dots between them; `.` for the root. */
    name: string;
    /** As in `A`; `UNKNOWN_` and a number for one that the package does not know. */
    type: string;
    class: string;
  }

  type Answer =
    | { type: "A" | "PTR"; name: string; ttl: number; class?: string; data: string }
    | { type: "OPT"; name: "."; udpPayloadSize: number; flags?: number; flag_do?: boolean };

  interface Packet {
    id: number;
    type: "query" | "response";
    /** The word behind the id, without the highest bit. */
    flags: number;
    questions: Question[];
    answers?: Answer[];
    additionals?: Answer[];
  }

  const dnsPacket: {
    /** @throws Error for what is no whole message. */
    decode(bytes: Uint8Array): Required<Packet>;
    encode(packet: Packet): Buffer;
  };
  export default dnsPacket;
}
