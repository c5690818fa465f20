/** TCP segments that belong to nothing, say nonsense or are broken, through the kernel and through Tapir. */

import { type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential, type Scenario } from "../../support/differential/suite.ts";
import {
  free,
  type Step,
  step,
  TcpTalk,
  text,
  truncated,
  uniqueId,
  withBytes,
  withHeaderChecksum,
} from "../../support/differential/talk.ts";
import { tcp as tcpPacket } from "../../support/frames.ts";

function talk(name: string, say: (tcp: TcpTalk, hosts: Hosts) => Step[]): Scenario {
  return { name, steps: (hosts) => say(new TcpTalk(hosts), hosts) };
}

/** From the server to a port of the uplink that no flow has. */
function unasked(hosts: Hosts, flags: string, destination = UPLINK): Step {
  const fields = { source: hosts.server, destination, id: uniqueId() };
  return step("server", tcpPacket(fields, 80, 40000, { flags, sequence: 7, acknowledgement: 9 }));
}

/** All 64 sets of the six flags of RFC 9293, eight to a scenario. */
const FLAGS = ["F", "S", "R", "P", "A", "U"];
const SETS = Array.from({ length: 64 }, (_, bits) => FLAGS.filter((__, bit) => (bits & (1 << bit)) !== 0).join(""));

const FLAG_SETS: Scenario[] = Array.from({ length: 8 }, (_, group) =>
  talk(
    `flag sets ${group * 8} to ${group * 8 + 7}, each the first of a flow and in an established connection`,
    (tcp, hosts) => [
      ...tcp.handshake(),
      ...SETS.slice(group * 8, group * 8 + 8).flatMap((flags, index) => [
        free(new TcpTalk(hosts, 41_000 + index).client(flags)),
        ...(/[RFS]/.test(flags) ? [] : [free(tcp.client(flags, { sequence: tcp.clientNext }))]),
      ]),
    ],
  ),
);

/** Illegal ones in an established connection must not change it. */
const ILLEGAL = ["", "F", "P", "U", "FS", "SFA", "SR", "SRA", "SP", "FR", "FRA", "FPU", "FSRPAU", "SUA", "RU"];

differential("Odd TCP as the kernel takes it", { counted: false }, [
  ...["SA", "FA", "R", "RA", "", "FPU"].map((flags) => ({
    name: `unasked from outside: ${flags || "no flags"}`,
    steps: (hosts: Hosts) => [unasked(hosts, flags), unasked(hosts, flags, hosts.c1)],
  })),
  ...["S", "A"].map((flags) => ({
    name: `unasked from outside: ${flags}`,
    steps: (hosts: Hosts) => [unasked(hosts, flags), unasked(hosts, flags, hosts.c1)],
  })),
  ...["S", "SA", "A", "PA", "FA", "R", "RA"].map((flags) =>
    talk(`from inside, first of a flow: ${flags}`, (tcp) => [free(tcp.client(flags)), free(tcp.client(flags))]),
  ),
  ...ILLEGAL.map((flags) =>
    talk(`${flags || "no flags"} in an established connection`, (tcp) => [
      ...tcp.handshake(),
      free(tcp.client(flags, { sequence: tcp.clientNext })),
      free(tcp.server(flags, { sequence: tcp.serverNext })),
      free(tcp.client("PA", { payload: text("still here") })),
    ]),
  ),
  ...FLAG_SETS,
  talk("ECN: a SYN with ECE and CWR, and CE marks on the way", (tcp) => [
    tcp.client("SEC"),
    tcp.server("SAE"),
    tcp.client("A", { ip: { tos: 2 } }),
    tcp.server("PA", { ip: { tos: 3 }, payload: text("marked") }),
    tcp.client("AE", { ip: { tos: 2 } }),
    tcp.client("PAC", { payload: text("slower") }),
  ]),
  talk("the reserved bits of the header go through", (tcp) => [
    ...tcp.handshake(),
    free(tcp.client("A", { change: withReservedBits })),
  ]),
  talk("a wrong checksum opens nothing", (tcp) => [tcp.client("S", { change: spoiled, reaches: "" })]),
  talk("a wrong checksum changes nothing", (tcp) => [
    ...tcp.handshake(),
    tcp.client("FA", { change: spoiled, reaches: "" }),
    tcp.server("RA", { change: spoiled, reaches: "" }),
    tcp.client("A", { sequence: 1001 }),
  ]),
  talk("a header that says it is shorter than 20 bytes", (tcp) => [
    tcp.client("S", { change: (packet) => resum(withBytes(packet, 32, 0x40)), reaches: "" }),
  ]),
  talk("a header that says it is longer than the segment", (tcp) => [
    tcp.client("S", { change: (packet) => resum(withBytes(packet, 32, 0xf0)), reaches: "" }),
  ]),
  talk("a packet cut short in the TCP header", (tcp) => [
    tcp.client("S", { change: (packet) => truncated(packet, 32), reaches: "" }),
  ]),
  talk("an IP packet that ends in the TCP header", (tcp, hosts) => [
    step("c1", shortSegment(hosts), ""),
    tcp.client("S"),
  ]),
  talk("ports 0", (tcp, hosts) => [
    free(new TcpTalk(hosts, 0, 80).client("S")),
    free(new TcpTalk(hosts, 40000, 0).client("S")),
    tcp.client("S"),
  ]),
  talk("a low source port", (tcp, hosts) => {
    const low = new TcpTalk(hosts, 22, 80);
    return [...low.handshake(), tcp.client("S")];
  }),
  talk("data on a SYN", (tcp) => [tcp.client("S", { payload: text("early") }), tcp.server("SA"), tcp.client("A")]),
]);

function spoiled(packet: Uint8Array): Uint8Array {
  return withBytes(packet, 36, packet[36] ^ 0x11);
}

/** Computes the checksum of a segment in a packet without IP options again. */
function resum(packet: Uint8Array): Uint8Array {
  const cleared = withBytes(packet, 36, 0, 0);
  let sum = 6 + packet.length - 20;
  for (let at = 12; at < packet.length; at += 2) sum += (cleared[at] << 8) | (cleared[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return withBytes(cleared, 36, (~sum >>> 8) & 0xff, ~sum & 0xff);
}

function withReservedBits(packet: Uint8Array): Uint8Array {
  return resum(withBytes(packet, 32, packet[32] | 0x0e));
}

function shortSegment(hosts: Hosts): Uint8Array {
  const whole = tcpPacket({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 40000, 80, { flags: "S" });
  return withHeaderChecksum(withBytes(whole.slice(0, 36), 2, 0, 36));
}
