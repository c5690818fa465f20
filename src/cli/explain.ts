/** `tapir explain`: what the running router would do with a packet. */
import { closeSync, openSync } from "node:fs";
import type { Command } from "commander";
import { ExitCode, TapirError } from "../control/errors.ts";
import type { ExplainRequest } from "../control/explain_api.ts";
import type { Explanation } from "../dataplane/explain/steps.ts";
import { bytesOfFile } from "../io/byte_source.ts";
import { type CapturedPacket, CaptureFileError, LinkType } from "../io/captured_packet.ts";
import { readPackets } from "../io/pcap_reader.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { type CommonOptions, talking } from "./talking.ts";
import { formatExplanation } from "./walk_text.ts";

interface ExplainOptions extends CommonOptions {
  in: string;
  hex?: string;
  pcap?: string;
}

const NOTES = `A packet in words: a protocol (tcp, udp, icmp, proto N), SOURCE[:PORT] > DESTINATION[:PORT], then any of
  tcp    syn ack fin rst psh urg, flags SA, seq N, ack N, win N
  icmp   echo, echo-reply, timestamp, port-unreachable, host-unreachable, net-unreachable, frag-needed, ttl-exceeded,
         type N, code N, id N; an error quotes a packet: about udp 203.0.113.1:4000 > 203.0.113.2:53
  all    ttl N, len N (bytes of payload), df, tos N, id N, frag OFFSET, more, vlan N, mac SOURCE > DESTINATION
or         arp who-has ADDRESS [tell ADDRESS], arp ADDRESS is-at MAC, ether 0x86dd [len N].
What is left open is filled in: the source is the container's address, hardware addresses are those that it would use,
a TCP packet is a SYN, or has the numbers that fit the connection it belongs to.

It changes nothing: no table, counter, timer, limit or port, and no device sees a frame.`;

export function addExplain(program: Command): void {
  const command = talking(program, "explain", "say what the running router would do with a packet, and why")
    .requiredOption("--in <port>", "the port that it comes in by: a container's, or an uplink's name")
    .argument("[packet...]", "the packet in words")
    .option("--hex <bytes>", "an Ethernet frame in hexadecimal digits")
    .option("--pcap <file>", "a packet of a capture file, the first or that with #NUMBER behind the name")
    .action(async (words: string[], options: ExplainOptions) => {
      const explanation = await ask<Explanation>(socketPath(options.socket), "POST", "/v1/explain", {
        in: options.in,
        ...packetOf(words, options),
      });
      const text = options.json === true ? JSON.stringify(explanation, null, 2) : formatExplanation(explanation);
      process.stdout.write(`${text}\n`);
    });
  addHelp(
    command,
    [
      ["tapir explain --in c1 'tcp 10.55.66.2:4000 > 203.0.113.2:443 syn'", "from a container to the world"],
      ["tapir explain --in wan 'tcp 198.51.100.7:5555 > 203.0.113.1:8080'", "from outside to a published port"],
      ["tapir explain --in c1 icmp '>' 203.0.113.2 echo ttl 1", "a hop too far"],
      ["tapir explain --in c1 'arp who-has 10.55.66.1'", "ARP"],
      ["tapir explain --in wan --pcap trouble.pcap#17", "the 17th packet of a capture"],
      ["tapir explain --in c1 -j 'udp > 203.0.113.2:53'", "as JSON"],
    ],
    { notes: NOTES },
  );
}

function packetOf(words: readonly string[], { hex, pcap }: ExplainOptions): Omit<ExplainRequest, "in"> {
  const given = [words.length > 0, hex !== undefined, pcap !== undefined].filter(Boolean).length;
  if (given !== 1) {
    throw new TapirError(
      "explain: which packet? In words, or --hex, or --pcap; see tapir explain --help",
      ExitCode.USAGE,
    );
  }
  if (hex !== undefined) return { frame: hex };
  return pcap === undefined ? { packet: words.join(" ") } : fromCapture(pcap);
}

function fromCapture(place: string): Omit<ExplainRequest, "in"> {
  const [, file, number] = /^(.*?)(?:#([1-9][0-9]{0,8}))?$/.exec(place) as RegExpExecArray;
  const packet = readCaptured(file, number === undefined ? 1 : Number(number));
  const hex = Buffer.from(packet.bytes).toString("hex");
  if (packet.linkType === LinkType.ETHERNET) return { frame: hex };
  if (packet.linkType === LinkType.RAW || packet.linkType === LinkType.IPV4) return { ip: hex };
  throw new TapirError(`${file}: link type ${packet.linkType} is not supported: Ethernet or bare IP are`);
}

function readCaptured(file: string, number: number): CapturedPacket {
  const descriptor = open(file);
  try {
    let count = 0;
    for (const packet of readPackets(bytesOfFile(descriptor))) {
      if (++count < number) continue;
      if (packet.bytes.length === packet.originalBytes) return packet;
      throw new TapirError(
        `${file}: of packet ${number}, only ${packet.bytes.length} of ${packet.originalBytes} bytes were captured`,
      );
    }
    throw new TapirError(`${file}: it has ${count} packets, no packet ${number}`);
  } catch (error) {
    if (error instanceof CaptureFileError) throw new TapirError(`${file}: ${error.message}`);
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

function open(file: string): number {
  try {
    return openSync(file, "r");
  } catch (error) {
    throw new TapirError(`${file}: ${(error as Error).message.replace(/^\w+: |, open .*$/g, "")}`);
  }
}
