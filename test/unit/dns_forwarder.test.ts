/** The DNS forwarder as a state machine: a clock by hand, and servers that say what the test wants. */
import dnsPacket from "dns-packet";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { DnsPlan } from "../../src/control/configuration/build_network_services.ts";
import { Rcode } from "../../src/control/dns/codec.ts";
import { type Asker, Forwarder } from "../../src/control/dns/forwarder.ts";
import type { OwnSocket } from "../../src/dataplane/messages.ts";
import { formatAddress } from "../../src/packet/ipv4_address.ts";
import { word } from "../support/frames.ts";

const FIRST = "203.0.113.53";
const SECOND = "203.0.113.54";
const MOST_PENDING = 64;

const PLAN: DnsPlan = {
  network: "lab",
  interface: 0,
  gateway: word("10.55.66.1"),
  subnet: { address: word("10.55.66.0"), length: 24 },
  mtu: 1500,
  ports: [
    { index: 0, name: "c1", mac: "02:00:00:00:00:01", address: word("10.55.66.2") },
    { index: 1, name: "c2", mac: "02:00:00:00:00:02" },
  ],
  servers: [word(FIRST), word(SECOND)],
  domain: "lab",
};

interface Asked {
  server: string;
  message: Buffer;
  socket: OwnSocket;
  id: number;
}

interface Wish {
  name: string;
  type?: string;
  id?: number;
  edns?: number;
  port?: number;
  source?: string;
  sourcePort?: number;
}

class World {
  now = 1_000;
  readonly asked: Asked[] = [];
  readonly answers: { asker: Asker; message: Buffer }[] = [];
  readonly open = new Set<OwnSocket>();
  readonly leased = new Map([["c2", [word("10.55.66.100"), word("10.55.66.101")]]]);
  hasRoute = true;
  private drawn = 100;
  readonly forwarder: Forwarder;

  constructor(changes: Partial<DnsPlan> = {}) {
    this.forwarder = new Forwarder(
      { ...PLAN, ...changes },
      {
        ask: async (server, message) => {
          if (!this.hasRoute) throw new Error("no route");
          const sourcePort = 2000 + this.asked.length;
          const socket = { source: 1, sourcePort, destination: server, destinationPort: 53 };
          this.open.add(socket);
          this.asked.push({ server: formatAddress(server), message, socket, id: message.readUInt16BE(0) });
          return socket;
        },
        forget: (socket) => this.open.delete(socket),
        answer: (asker, message) => this.answers.push({ asker, message }),
        drawId: () => this.drawn++,
        leases: {
          addressesOf: (_, port) => this.leased.get(port) ?? [],
          portOf: (_, address) => [...this.leased].find(([, each]) => each.includes(address))?.[0],
        },
      },
    );
  }

  async ask(wish: Wish): Promise<void> {
    this.askRaw(encoded(wish), wish);
    await Promise.resolve();
    await Promise.resolve();
  }

  askRaw(bytes: Buffer, { port = 0, source = "10.55.66.2", sourcePort = 4000 }: Partial<Wish> = {}): void {
    const asker = {
      interface: 0,
      port,
      mac: "02:00:00:00:00:01",
      source: word(source),
      destination: PLAN.gateway,
      sourcePort,
      destinationPort: 53,
    };
    this.forwarder.ask(asker, bytes, this.now);
  }

  /** A server's answer to what was asked last, or something like it. */
  async answer(
    changes: Partial<{ id: number; from: string; port: number; bytes: Buffer; rcode: number }> = {},
    to = this.last,
  ) {
    const { socket, message } = to;
    const { questions } = dnsPacket.decode(message);
    const bytes =
      changes.bytes ??
      dnsPacket.encode({
        id: changes.id ?? to.id,
        type: "response",
        flags: 0x0180 | (changes.rcode ?? 0),
        questions,
        answers: [{ type: "A", name: questions[0].name, ttl: 60, data: "198.51.100.7" }],
      });
    const isTaken = this.forwarder.take(
      {
        service: "answer",
        interface: 1,
        port: 2,
        mac: "",
        source: word(changes.from ?? to.server),
        sourcePort: changes.port ?? 53,
        destination: socket.source,
        destinationPort: socket.sourcePort,
        payload: "",
      },
      bytes,
      this.now,
    );
    await Promise.resolve();
    await Promise.resolve();
    return isTaken;
  }

  async pass(milliseconds: number): Promise<void> {
    this.now += milliseconds;
    this.forwarder.wake(this.now);
    await Promise.resolve();
    await Promise.resolve();
  }

  get last(): Asked {
    return this.asked[this.asked.length - 1];
  }

  /** What a client has heard last. */
  get heard() {
    const last = this.answers.at(-1);
    if (last === undefined) return undefined;
    const { id, flags, answers, questions, additionals } = dnsPacket.decode(last.message);
    return {
      id,
      rcode: flags & 0xf,
      isTruncated: (flags & 0x0200) !== 0,
      isAuthoritative: (flags & 0x0400) !== 0,
      data: answers.map((each) => ("data" in each ? each.data : "")),
      name: questions[0]?.name,
      hasOpt: additionals.length > 0,
      bytes: last.message.length,
    };
  }
}

function encoded({ name, type = "A", id = 7, edns }: Wish): Buffer {
  const opt = { type: "OPT", name: ".", udpPayloadSize: edns ?? 0 } as const;
  return dnsPacket.encode({
    id,
    type: "query",
    flags: 0x0100,
    questions: [{ name, type, class: "IN" }],
    additionals: edns === undefined ? [] : [opt],
  });
}

let world: World;
beforeEach(() => {
  world = new World();
});

describe("names of the network", () => {
  it.each([
    ["c1", "A", Rcode.NOERROR, ["10.55.66.2"]],
    ["C1.Lab", "A", Rcode.NOERROR, ["10.55.66.2"]],
    ["c2.lab", "A", Rcode.NOERROR, ["10.55.66.100", "10.55.66.101"]],
    ["c1.lab", "AAAA", Rcode.NOERROR, []],
    ["c1", "MX", Rcode.NOERROR, []],
    ["c1.lab", "ANY", Rcode.NOERROR, ["10.55.66.2"]],
    ["lab", "A", Rcode.NOERROR, []],
    ["c3.lab", "A", Rcode.NXDOMAIN, []],
    ["c3.lab", "MX", Rcode.NXDOMAIN, []],
    ["x.c1.lab", "A", Rcode.NXDOMAIN, []],
    ["c3", "A", Rcode.NXDOMAIN, []],
    ["c3", "AAAA", Rcode.NXDOMAIN, []],
    ["localhost", "A", Rcode.NOERROR, ["127.0.0.1"]],
    ["2.66.55.10.in-addr.arpa", "PTR", Rcode.NOERROR, ["c1.lab"]],
    ["101.66.55.10.in-addr.arpa", "PTR", Rcode.NOERROR, ["c2.lab"]],
    ["3.66.55.10.in-addr.arpa", "PTR", Rcode.NXDOMAIN, []],
    ["2.66.55.10.in-addr.arpa", "A", Rcode.NOERROR, []],
    ["999.66.55.10.in-addr.arpa", "PTR", Rcode.NXDOMAIN, []],
  ])("%s %s is answered without asking anybody", async (name, type, rcode, data) => {
    await world.ask({ name, type });
    expect(world.heard).toMatchObject({ id: 7, rcode, data, name, isAuthoritative: true });
    expect(world.asked).toEqual([]);
    expect(world.forwarder.counts).toMatchObject({ questions: 1, local: 1 });
  });

  it.each([
    ["example.test", "A"],
    ["c1.lab.example.test", "A"],
    ["notlab", "NS"],
    [".", "NS"],
    ["1.113.0.203.in-addr.arpa", "PTR"],
    ["66.55.10.in-addr.arpa", "SOA"],
  ])("%s %s is none of them", async (name, type) => {
    await world.ask({ name, type });
    expect(world.asked).toHaveLength(1);
  });
});

describe("a question for a server", () => {
  it("is asked with another id, and its answer comes back with the client's", async () => {
    await world.ask({ name: "www.Example.test", id: 4711 });
    expect(world.last.server).toBe(FIRST);
    expect(dnsPacket.decode(world.last.message)).toMatchObject({
      id: 100,
      flags: 0x0100,
      questions: [{ name: "www.Example.test", type: "A", class: "IN" }],
      additionals: [],
    });
    expect(await world.answer()).toBe(true);
    expect(world.heard).toMatchObject({ id: 4711, rcode: 0, data: ["198.51.100.7"], name: "www.Example.test" });
    expect(world.open.size).toBe(0);
    expect(world.forwarder.outstanding).toBe(0);
    expect(world.forwarder.wakeAt).toBe(Infinity);
  });

  it("says what its sender takes, but no more than what needs no fragments", async () => {
    await world.ask({ name: "example.test", edns: 4096 });
    expect(dnsPacket.decode(world.last.message).additionals).toMatchObject([{ type: "OPT", udpPayloadSize: 1232 }]);
  });

  it("is asked of the next server when one is silent, fails or refuses, and the silent one is asked last from then on", async () => {
    await world.ask({ name: "example.test" });
    await world.pass(1_500);
    expect(world.asked.map(({ server }) => server)).toEqual([FIRST, SECOND]);
    await world.answer({ rcode: Rcode.SERVFAIL });
    expect(world.asked.map(({ server }) => server)).toEqual([FIRST, SECOND, FIRST]);
    expect(world.open.size).toBe(1);
    await world.answer();
    expect(world.heard).toMatchObject({ rcode: 0, data: ["198.51.100.7"] });
    await world.ask({ name: "other.test" });
    expect(world.last.server).toBe(SECOND);
    await world.answer({ rcode: Rcode.REFUSED });
    expect(world.last.server).toBe(FIRST);
    expect(world.forwarder.counts).toMatchObject({ forwarded: 5, timeouts: 1, answered: 1 });
  });

  it("fails when no server answers, or none can be asked", async () => {
    for (const hasRoute of [true, false]) {
      world = new World();
      world.hasRoute = hasRoute;
      await world.ask({ name: "example.test" });
      for (let turn = 0; turn < 3; turn++) {
        expect(world.answers).toHaveLength(0);
        await world.pass(1_500);
      }
      expect(world.heard).toMatchObject({ id: 7, rcode: Rcode.SERVFAIL, isAuthoritative: false });
      expect(world.asked).toHaveLength(hasRoute ? 3 : 0);
      expect(world.open.size).toBe(0);
      await world.pass(100_000);
      expect(world.answers).toHaveLength(1);
    }
  });

  it("passes on that there is no such name", async () => {
    await world.ask({ name: "none.test" });
    await world.answer({ rcode: Rcode.NXDOMAIN });
    expect(world.heard).toMatchObject({ rcode: Rcode.NXDOMAIN });
    expect(world.asked).toHaveLength(1);
  });

  it("is refused where there are no servers", async () => {
    world = new World({ servers: [] });
    await world.ask({ name: "example.test" });
    expect(world.heard).toMatchObject({ rcode: Rcode.REFUSED });
    await world.ask({ name: "c1.lab" });
    expect(world.heard).toMatchObject({ data: ["10.55.66.2"] });
  });

  it("shares its attempt with those that are the same, and each hears its own id", async () => {
    await world.ask({ name: "example.test", id: 1, sourcePort: 5000 });
    await world.ask({ name: "example.test", id: 2, sourcePort: 5001, port: 1 });
    // Asked again, and with other letters.
    await world.ask({ name: "example.test", id: 1, sourcePort: 5000 });
    await world.ask({ name: "EXAMPLE.test", id: 3, sourcePort: 5002 });
    expect(world.asked).toHaveLength(2);
    await world.answer({}, world.asked[0]);
    expect(world.answers.map(({ asker, message }) => [asker.sourcePort, message.readUInt16BE(0)])).toEqual([
      [5000, 1],
      [5001, 2],
    ]);
    expect(world.forwarder.outstanding).toBe(1);
  });

  it("is cut to its head, and says so, where the answer is longer than its sender takes or the network lets pass", async () => {
    const long = (name: string, id: number): Buffer =>
      dnsPacket.encode({
        id,
        type: "response",
        flags: 0x0180,
        questions: [{ name, type: "A", class: "IN" }],
        answers: Array.from({ length: 30 }, () => ({ type: "A", name, ttl: 1, data: "198.51.100.7" }) as const),
      });
    await world.ask({ name: "long.test" });
    await world.answer({ bytes: long("long.test", world.last.id) });
    expect(world.heard).toMatchObject({ isTruncated: true, data: [], name: "long.test", id: 7 });
    await world.ask({ name: "long.test", edns: 1232 });
    await world.answer({ bytes: long("long.test", world.last.id) });
    expect(world.heard).toMatchObject({ isTruncated: false });
    expect(world.heard?.data).toHaveLength(30);
    world = new World({ mtu: 576 });
    await world.ask({ name: "long.test", edns: 4096 });
    await world.answer({ bytes: long("long.test", world.last.id) });
    expect(world.heard).toMatchObject({ isTruncated: true });
    expect(world.heard?.bytes).toBeLessThanOrEqual(548);
  });
});

describe("an answer that nobody asked for", () => {
  const others = [
    ["another id", { id: 101 }],
    ["another question", { bytes: encodedAnswer("other.test", 100) }],
    ["another type", { bytes: encodedAnswer("example.test", 100, "AAAA") }],
    ["a question, no answer", { bytes: encoded({ name: "example.test", id: 100 }) }],
    ["too short", { bytes: Buffer.from([0, 100, 0x81]) }],
    ["a loop in its name", { bytes: Buffer.from("006481800001000000000000c00c00010001", "hex") }],
    ["no question", { bytes: Buffer.from("006481800000000000000000", "hex") }],
  ] as const;

  it.each(others)("changes nothing: %s", async (_, changes) => {
    await world.ask({ name: "example.test" });
    expect(world.last.id).toBe(100);
    expect(await world.answer(changes)).toBe(true);
    expect(world.forwarder.counts.mismatched).toBe(1);
    expect(world.answers).toEqual([]);
    await world.answer();
    expect(world.heard).toMatchObject({ rcode: 0 });
  });

  it("is somebody else's from another server, to another port, or after the answer", async () => {
    await world.ask({ name: "example.test" });
    const [first] = world.asked;
    expect(await world.answer({ from: SECOND })).toBe(false);
    expect(await world.answer({ port: 54 })).toBe(false);
    expect(await world.answer({}, { ...first, socket: { ...first.socket, sourcePort: 9 } })).toBe(false);
    await world.pass(1_500);
    // The first attempt is over.
    expect(await world.answer({}, first)).toBe(false);
    expect(await world.answer()).toBe(true);
    expect(await world.answer()).toBe(false);
    expect(world.answers).toHaveLength(1);
  });
});

function encodedAnswer(name: string, id: number, type = "A"): Buffer {
  return dnsPacket.encode({ id, type: "response", flags: 0x0180, questions: [{ name, type, class: "IN" }] });
}

describe("a forwarder's bounds", () => {
  it("has so many questions of a port under way and no more, and others are served", async () => {
    for (let index = 0; index < 200; index++) await world.ask({ name: `n${index}.test`, sourcePort: 1000 + index });
    expect(world.asked).toHaveLength(MOST_PENDING);
    expect(world.forwarder.outstanding).toBe(MOST_PENDING);
    expect(world.heard).toMatchObject({ rcode: Rcode.SERVFAIL });
    expect(world.forwarder.counts.refused).toBe(200 - MOST_PENDING);
    await world.ask({ name: "other.test", port: 1 });
    expect(world.asked).toHaveLength(MOST_PENDING + 1);
    for (let turn = 0; turn < 3; turn++) await world.pass(1_500);
    expect(world.forwarder.outstanding).toBe(0);
    expect(world.open.size).toBe(0);
    await world.ask({ name: "again.test" });
    expect(world.heard).toMatchObject({ rcode: Rcode.SERVFAIL });
    await world.answer();
    expect(world.heard).toMatchObject({ rcode: 0 });
  });

  it("bounds what all ports have under way", async () => {
    for (let index = 0; index < 1000; index++) await world.ask({ name: `n${index}.test`, port: index % 50 });
    expect(world.forwarder.outstanding).toBe(512);
  });

  it.each([
    ["another operation", "000728000001000000000000016100000100010000", Rcode.NOTIMP],
    ["no question", "000701000000000000000000", Rcode.FORMERR],
    ["two questions", "0007010000020000000000000161000001000101620000010001", Rcode.FORMERR],
    ["records", "000701000001ffff0000000001610000010001", Rcode.FORMERR],
    ["many additional records", "00070100000100000000ffff01610000010001", Rcode.FORMERR],
    ["a name that ends beyond the message", "0007010000010000000000003f61", Rcode.FORMERR],
    ["a name that is a loop", "000701000001000000000000c00c00010001", Rcode.FORMERR],
    ["a name that points backwards", "000701000001000000000000c00000010001", Rcode.FORMERR],
    ["a name that is no text", "00070100000100000000000001ff0000010001", Rcode.FORMERR],
    ["a dot inside a label", "000701000001000000000000036162" + "2e" + "0000010001", Rcode.FORMERR],
    ["another class", "000701000001000000000000016100000100" + "03", Rcode.REFUSED],
    ["a whole zone", "00070100000100000000000001610000fc0001", Rcode.REFUSED],
    ["no type", "0007010000010000000000000161", Rcode.FORMERR],
  ])("refuses what it cannot read or pass on: %s", (_, hex, rcode) => {
    world.askRaw(Buffer.from(hex, "hex"));
    expect(world.answers).toHaveLength(1);
    expect(world.answers[0].message.readUInt16BE(0)).toBe(7);
    expect(world.answers[0].message[3] & 0xf).toBe(rcode);
    expect(world.asked).toEqual([]);
    expect(world.forwarder.counts.refused).toBe(1);
  });

  it("is silent about answers and what is too short, and counts them", () => {
    for (const hex of ["", "0007", "0007810000010000000000", "00078100000100000000000001610000010001"]) {
      world.askRaw(Buffer.from(hex, "hex"));
    }
    expect(world.answers).toEqual([]);
    expect(world.forwarder.counts).toMatchObject({ malformed: 4, questions: 0 });
  });

  it("neither throws nor keeps anything, whatever comes", async () => {
    const seeds = [
      encoded({ name: "example.test", edns: 1232 }),
      encoded({ name: "c1.lab" }),
      encodedAnswer("a.b", 100),
    ];
    const harm = fc.array(fc.record({ at: fc.nat(60), value: fc.nat(255) }), { maxLength: 4 });
    const message = fc.record({ seed: fc.nat(2), harm, cut: fc.option(fc.nat(60), { freq: 4, nil: undefined }) });
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 60 }), async (messages) => {
        world = new World();
        for (const { seed, harm: changes, cut } of messages) {
          const bytes = Buffer.from(seeds[seed]);
          for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value;
          const sent = cut === undefined ? bytes : bytes.subarray(0, cut);
          world.askRaw(sent);
          await Promise.resolve();
          if (world.asked.length > 0) await world.answer({ bytes: sent });
          for (const { message } of world.answers) expect(message.length).toBeLessThanOrEqual(1472);
        }
        for (let turn = 0; turn < 4; turn++) await world.pass(1_500);
        expect(world.forwarder.outstanding).toBe(0);
        expect(world.open.size).toBe(0);
      }),
      { numRuns: 150, seed: 11 },
    );
  });
});
