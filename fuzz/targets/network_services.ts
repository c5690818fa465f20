/** Messages of DHCP clients to a network's server, and of DNS to its forwarder, from clients and from servers. */
import dnsPacket from "dns-packet";
import { parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { DhcpServer } from "../../src/control/dhcp/server.ts";
import { Forwarder } from "../../src/control/dns/forwarder.ts";
import type { OwnSocket } from "../../src/dataplane/messages.ts";
import * as dhcp from "../../src/packet/dhcp.ts";
import { bytesOf, DhcpOption, DhcpType } from "../../src/packet/dhcp.ts";
import { contains } from "../../src/packet/ipv4_address.ts";
import type { Dice } from "../dice.ts";
import { fromHex, mutateBytes, shrinkBytes, toHex } from "../mutate_bytes.ts";
import { insist, type Target } from "../target.ts";

const parsed = parseConfiguration(
  `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    dhcp: { range: 10.55.66.100-10.55.66.104, leasesPerPort: 3 }
    dns: { servers: [203.0.113.53, 203.0.113.54] }
    ports: { c1: { netns: c1, address: 10.55.66.2 }, c2: { netns: c2 }, c3: { netns: c3 } }
`,
  "f",
);
const { networkServices } = resolvePlan(parsed.configuration as NonNullable<typeof parsed.configuration>);
const [DHCP_PLAN] = networkServices.dhcp;
const [DNS_PLAN] = networkServices.dns;
const MOST_LEASES = 5;
/** What a message from the dataplane has at most. */
const LONGEST_BYTES = 4096;
const MAC = { high: 0x0200, low: 1 };

type Options = readonly (readonly [number, Uint8Array])[];

function request(type: number, clientAddress: number, options: Options): Uint8Array {
  return dhcp.composeMessage({
    operation: dhcp.DhcpOperation.REQUEST,
    transaction: 7,
    seconds: 0,
    clientAddress,
    yourAddress: 0,
    mac: MAC,
    options: [[DhcpOption.MESSAGE_TYPE, Uint8Array.of(type)], ...options],
  });
}

const OFFERED = bytesOf(0x0a374264);
const dhcpSeeds = [
  request(DhcpType.DISCOVER, 0, [[DhcpOption.PARAMETERS, Uint8Array.of(1, 3, 6, 15, 26, 28)]]),
  request(DhcpType.REQUEST, 0, [
    [DhcpOption.REQUESTED_ADDRESS, OFFERED],
    [DhcpOption.SERVER_ID, bytesOf(DHCP_PLAN.gateway)],
  ]),
  request(DhcpType.REQUEST, 0x0a374264, [[DhcpOption.CLIENT_ID, Uint8Array.of(1, 2, 0, 0, 0, 0, 1)]]),
  request(DhcpType.DECLINE, 0, [[DhcpOption.REQUESTED_ADDRESS, OFFERED]]),
  request(DhcpType.RELEASE, 0x0a374264, [[DhcpOption.HOST_NAME, Uint8Array.of(0x61)]]),
  request(DhcpType.INFORM, 0x0a374205, [[DhcpOption.OVERLOAD, Uint8Array.of(3)]]),
];

/** Several messages, the first byte of each saying by which port it comes. */
function messages(dice: Dice, corpus: readonly string[][], seeds: readonly Uint8Array[]): string[] {
  const some = corpus.length > 0 && dice.once(2) ? dice.pick(corpus).map((hex) => fromHex(hex).subarray(1)) : [];
  const known = [...some.filter(({ length }) => length > 0), ...seeds];
  return Array.from({ length: 1 + dice.below(12) }, () => {
    const bytes = dice.once(3) ? dice.pick(known) : mutateBytes(dice, known, 4);
    return toHex(Uint8Array.of(dice.below(256), ...bytes.subarray(0, LONGEST_BYTES)));
  });
}

function* shrinkMessages(input: string[]): Iterable<string[]> {
  for (let index = 0; index < input.length; index++) yield input.toSpliced(index, 1);
  for (let index = 0; index < input.length; index++) {
    for (const bytes of shrinkBytes(fromHex(input[index]))) yield input.with(index, toHex(bytes));
  }
}

export const DHCP_SERVER: Target<string[]> = {
  name: "dhcp-server",
  about: "messages of DHCP clients behind several ports",
  generate: (dice, corpus) => messages(dice, corpus, dhcpSeeds),
  run(input) {
    const server = new DhcpServer(DHCP_PLAN);
    const reached: string[] = [];
    let now = 1000;
    for (const hex of input) {
      const [choice = 0, ...bytes] = fromHex(hex);
      const memory = new DataView(Uint8Array.from(bytes).buffer);
      const port = DHCP_PLAN.ports[choice % DHCP_PLAN.ports.length];
      now += (choice >> 4) * 200_000;
      const reply = server.receive(memory, { port, isBroadcast: (choice & 4) === 0 }, now);
      insist(server.bindings.size <= MOST_LEASES, () => `${server.bindings.size} leases`);
      if (reply === undefined) continue;
      const answer = new DataView(reply.message.buffer);
      const given = dhcp.yourAddress(answer, 0);
      insist(dhcp.readOptions(answer, 0, answer.byteLength) !== undefined, () => "an answer that cannot be read");
      insist(given === 0 || contains(DHCP_PLAN.subnet, given), () => `address ${given}`);
      insist(given !== DHCP_PLAN.gateway, () => "the gateway's address");
      reached.push(`${reply.type} ${given} ${reply.destination === -1}`);
    }
    for (const [name, count] of Object.entries(server.counts)) if (count > 0) reached.push(name);
    return reached;
  },
  shrink: shrinkMessages,
};

function question(name: string, type: string, hasOpt: boolean): Uint8Array {
  const opt = { type: "OPT", name: ".", udpPayloadSize: 4096 } as const;
  const additionals = hasOpt ? [opt] : [];
  return dnsPacket.encode({
    id: 1,
    type: "query",
    flags: 0x0100,
    questions: [{ name, type, class: "IN" }],
    additionals,
  });
}

function answer(name: string, rcode: number): Uint8Array {
  const questions = [{ name, type: "A", class: "IN" }];
  const answers = [{ type: "A", name, ttl: 60, data: "198.51.100.7" } as const];
  return dnsPacket.encode({ id: 1, type: "response", flags: 0x0180 | rcode, questions, answers });
}

const dnsSeeds = [
  question("example.test", "A", true),
  question("example.test", "A", false),
  question("c1.lab", "AAAA", false),
  question("2.66.55.10.in-addr.arpa", "PTR", true),
  answer("example.test", 0),
  answer("example.test", 2),
];

export const DNS: Target<string[]> = {
  name: "dns",
  about: "messages of DNS to a forwarder, from clients and from the servers that it has asked",
  generate: (dice, corpus) => messages(dice, corpus, dnsSeeds),
  async run(input) {
    const open = new Map<number, OwnSocket>();
    const reached: string[] = [];
    let now = 1000;
    let nextPort = 1024;
    const forwarder = new Forwarder(DNS_PLAN, {
      ask: async (destination, message) => {
        dnsPacket.decode(message);
        const socket = { source: 1, sourcePort: nextPort++, destination, destinationPort: 53 };
        open.set(socket.sourcePort, socket);
        return socket;
      },
      forget: ({ sourcePort }) => void open.delete(sourcePort),
      answer: (_, message) => {
        insist(message.length <= DNS_PLAN.mtu - 28, () => `an answer of ${message.length} bytes`);
        reached.push(`answer ${message[3] & 15}`);
      },
      drawId: () => 1,
      leases: { addressesOf: () => [], portOf: () => undefined },
    });
    for (const hex of input) {
      const [choice = 0, ...rest] = fromHex(hex);
      const bytes = Buffer.from(rest);
      const base = { interface: 0, port: choice % 3, mac: "", destination: 1 };
      if ((choice & 4) === 0)
        forwarder.ask({ ...base, source: 2, sourcePort: choice, destinationPort: 53 }, bytes, now);
      for (const socket of [...open.values()]) {
        const { sourcePort: destinationPort, destination: source } = socket;
        forwarder.take(
          { ...base, service: "answer", source, sourcePort: 53, destinationPort, payload: "" },
          bytes,
          now,
        );
      }
      now += (choice >> 4) * 200;
      forwarder.wake(now);
      await Promise.resolve();
      await Promise.resolve();
    }
    for (let turn = 0; turn < 5; turn++) {
      now += 2000;
      forwarder.wake(now);
      await Promise.resolve();
      await Promise.resolve();
    }
    insist(forwarder.outstanding === 0, () => `${forwarder.outstanding} questions wait for ever`);
    insist(open.size === 0, () => `${open.size} sockets are left open`);
    for (const [name, count] of Object.entries(forwarder.counts)) if (count > 0) reached.push(name);
    return reached;
  },
  shrink: shrinkMessages,
};
