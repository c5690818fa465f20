import { describe, expect, it } from "vitest";
import { BCP_TIMEOUTS, LINUX_TIMEOUTS, type TimeoutSeconds, Timeouts } from "../../src/conntrack/timeouts.ts";
import { Conversation } from "../support/conversation.ts";
import { ipv4 } from "../support/frames.ts";
import { parsePlaced, placeFrame } from "../support/packets.ts";

const [CLIENT, SERVER] = [0, 1];

type Script = (conversation: Conversation) => void;

const open: Script = (c) => c.tcp(CLIENT, "S");
const establish: Script = (c) => c.handshake();
const GRE = 47;
const ESP = 50;

const steps = (...parts: Script[]): Script => {
  return (c) => {
    for (const part of parts) part(c);
  };
};
const client =
  (flags: string): Script =>
  (c) =>
    c.tcp(CLIENT, flags);
const server =
  (flags: string): Script =>
  (c) =>
    c.tcp(SERVER, flags);
const data = new Uint8Array(100);
const finWait = steps(establish, client("FA"));
const closeWait = steps(finWait, server("A"));
const lastAck = steps(closeWait, server("FA"));

/** What happens, how long the flow then lives, and the setting that says so. */
const CASES: [string, Script, number, keyof TimeoutSeconds][] = [
  ["a SYN", open, 120, "tcp_timeout_syn_sent"],
  ["a SYN from both", steps(open, server("S"), client("S")), 120, "tcp_timeout_syn_sent2"],
  ["a SYN/ACK", steps(open, server("SA")), 60, "tcp_timeout_syn_recv"],
  ["a handshake", establish, 432_000, "tcp_timeout_established"],
  ["a FIN", finWait, 120, "tcp_timeout_fin_wait"],
  ["its acknowledgement", closeWait, 60, "tcp_timeout_close_wait"],
  ["the other FIN", lastAck, 30, "tcp_timeout_last_ack"],
  ["the last acknowledgement", steps(lastAck, client("A")), 120, "tcp_timeout_time_wait"],
  ["a reset", steps(establish, client("R")), 10, "tcp_timeout_close"],
  [
    "data that nobody acknowledges",
    steps(establish, (c) => c.tcp(CLIENT, "PA", { payload: data })),
    300,
    "tcp_timeout_unacknowledged",
  ],
  [
    "data that was acknowledged",
    steps(establish, (c) => c.tcp(CLIENT, "PA", { payload: data }), server("A")),
    432_000,
    "tcp_timeout_established",
  ],
  ["three retransmissions", steps(establish, client("A"), client("A"), client("A")), 300, "tcp_timeout_max_retrans"],
  ["two retransmissions", steps(establish, client("A"), client("A")), 432_000, "tcp_timeout_established"],
  ["a closed window", steps(establish, (c) => c.tcp(SERVER, "A", { window: 0 })), 300, "tcp_timeout_max_retrans"],
  ["a segment without a handshake", client("A"), 300, "tcp_timeout_unacknowledged"],
  ["an answer to that", steps(client("A"), server("A"), client("A")), 432_000, "tcp_timeout_established"],
  ["a datagram", (c) => c.udp(CLIENT), 30, "udp_timeout"],
  ["its answer", (c) => [c.udp(CLIENT), c.udp(SERVER), c.udp(CLIENT)], 30, "udp_timeout"],
  [
    "datagrams both ways for more than two seconds",
    (c) => [c.udp(CLIENT), c.udp(SERVER), c.advance(2.1), c.udp(SERVER)],
    120,
    "udp_timeout_stream",
  ],
  ["datagrams one way for longer", (c) => [c.udp(CLIENT), c.advance(20), c.udp(CLIENT)], 30, "udp_timeout"],
  ["an echo request", (c) => c.icmp(CLIENT, 8), 30, "icmp_timeout"],
  ["an echo reply", (c) => [c.icmp(CLIENT, 8), c.advance(5), c.icmp(SERVER, 0)], 30, "icmp_timeout"],
  ["a GRE packet", (c) => other(c, GRE, CLIENT), 30, "gre_timeout"],
  ["its answer", (c) => [other(c, GRE, CLIENT), other(c, GRE, SERVER)], 30, "gre_timeout"],
  [
    "GRE packets both ways",
    (c) => [other(c, GRE, CLIENT), other(c, GRE, SERVER), other(c, GRE, CLIENT)],
    180,
    "gre_timeout_stream",
  ],
  ["a packet of another protocol", (c) => other(c, ESP, CLIENT), 600, "generic_timeout"],
];

function other(conversation: Conversation, protocol: number, direction: typeof CLIENT | typeof SERVER): void {
  const ends = { source: "10.55.66.2", destination: "203.0.113.2" };
  const packet = ipv4(
    direction === CLIENT ? ends : { source: ends.destination, destination: ends.source },
    protocol,
    new Uint8Array(12),
  );
  const bytes = new Uint8Array(14 + packet.length);
  bytes.set([8, 0], 12);
  bytes.set(packet, 14);
  conversation.judge(parsePlaced(conversation.arena, placeFrame(conversation.arena, 0, bytes)), direction);
}

describe("how long a flow lives after", () => {
  for (const [name, script, seconds, setting] of CASES) {
    it(`${name}: ${seconds} s`, () => {
      const conversation = new Conversation();
      script(conversation);
      expect(conversation.secondsLeft).toBe(seconds);
      conversation.advance(seconds - 1);
      conversation.table.sweep(conversation.now, 100);
      expect(conversation.isAlive).toBe(true);
      conversation.advance(2);
      expect(conversation.isAlive).toBe(false);
      expect(conversation.table.sweep(conversation.now, 100)).toBe(1);
      expect(conversation.table.count).toBe(0);
    });

    it(`${name}: as ${setting} says`, () => {
      // Shorter than any limit would be, so that the setting decides by itself.
      const conversation = new Conversation({ timeouts: { [setting]: 7 } });
      script(conversation);
      expect(conversation.secondsLeft).toBe(7);
    });
  }
});

describe("what does not prolong a flow", () => {
  it("a SYN sent again while there is no reply", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    conversation.advance(50);
    expect(conversation.tcp(CLIENT, "S", { sequence: 1000 })).toBe("ok");
    expect(conversation.secondsLeft).toBe(70);
  });

  it("a segment that is invalid, late, or ignored", () => {
    const conversation = new Conversation();
    conversation.handshake();
    conversation.tcp(CLIENT, "A", { payload: new Uint8Array(1400) });
    const left = conversation.secondsLeft;
    conversation.advance(1);
    expect(conversation.tcp(CLIENT, "A", { sequence: 10_000_000, payload: data })).toBe("invalid");
    expect(conversation.tcp(CLIENT, "A", { sequence: -100_000, payload: data })).toBe("ok");
    expect(conversation.tcp(CLIENT, "S")).toBe("ok");
    expect(conversation.secondsLeft).toBe(left - 1);
  });
});

describe("a connection that closes out of step", () => {
  it("does not stay for days when FIN and RST of both sides do not fit", () => {
    const conversation = new Conversation();
    conversation.handshake();
    expect(conversation.tcp(CLIENT, "FA", { sequence: 10_000_000 })).toBe("invalid");
    expect(conversation.secondsLeft).toBe(432_000);
    expect(conversation.tcp(CLIENT, "FA", { sequence: 10_000_000 })).toBe("invalid");
    expect(conversation.secondsLeft).toBe(432_000);
    expect(conversation.tcp(SERVER, "RA", { sequence: 10_000_000 })).toBe("invalid");
    expect(conversation.secondsLeft).toBe(300);
    conversation.advance(301);
    expect(conversation.table.sweep(conversation.now, 100)).toBe(1);
  });

  it("keeps a deadline that is near already", () => {
    const conversation = new Conversation({
      timeouts: { tcp_timeout_established: 119, tcp_timeout_unacknowledged: 5 },
    });
    conversation.handshake();
    conversation.tcp(CLIENT, "FA", { sequence: 10_000_000 });
    conversation.tcp(SERVER, "FA", { sequence: 10_000_000 });
    expect(conversation.secondsLeft).toBe(119);
  });
});

describe("settings", () => {
  it("refuses seconds that are no time or too long for the clock", () => {
    expect(() => new Timeouts({ udp_timeout: 0 })).toThrow(/udp_timeout is 0/);
    expect(() => new Timeouts({ icmp_timeout: Number.NaN })).toThrow(RangeError);
    expect(() => new Timeouts({ tcp_timeout_established: 1_000_001 })).toThrow(RangeError);
    expect(new Timeouts({ tcp_timeout_established: 1_000_000 }).milliseconds[3]).toBe(1_000_000_000);
  });

  it("has no timeout below what the RFCs demand in the profile that follows them", () => {
    for (const [name, seconds] of Object.entries(BCP_TIMEOUTS)) {
      if (name.startsWith("tcp_")) expect(seconds, name).toBeGreaterThanOrEqual(240);
      expect(seconds).toBeGreaterThanOrEqual(60);
    }
    expect(BCP_TIMEOUTS.tcp_timeout_established).toBe(2 * 3600 + 4 * 60);
    expect(BCP_TIMEOUTS.udp_timeout).toBe(300);
    expect(Object.keys(BCP_TIMEOUTS)).toEqual(Object.keys(LINUX_TIMEOUTS));
  });
});

describe("UDP and ICMP flows", () => {
  it("are assured when they are streams, and only then", () => {
    const conversation = new Conversation();
    conversation.udp(CLIENT);
    conversation.advance(3);
    conversation.udp(SERVER);
    expect([conversation.hasReply, conversation.isAssured]).toEqual([true, false]);
    conversation.udp(CLIENT);
    expect(conversation.isAssured).toBe(true);
  });

  it("are swept in time when the deadline has come nearer", () => {
    const conversation = new Conversation({ timeouts: { udp_timeout: 100, udp_timeout_stream: 10 } });
    conversation.udp(CLIENT);
    conversation.udp(SERVER);
    conversation.advance(3);
    conversation.udp(CLIENT);
    conversation.advance(11);
    expect(conversation.table.sweep(conversation.now, 100)).toBe(1);
  });

  it("are no streams within two seconds", () => {
    const conversation = new Conversation();
    conversation.udp(CLIENT);
    conversation.udp(SERVER);
    conversation.advance(2);
    conversation.udp(CLIENT);
    expect(conversation.isAssured).toBe(false);
  });

  it("are never assured by echo replies", () => {
    const conversation = new Conversation();
    conversation.icmp(CLIENT, 8);
    conversation.advance(3);
    conversation.icmp(SERVER, 0);
    conversation.icmp(CLIENT, 8);
    conversation.icmp(SERVER, 0);
    expect([conversation.hasReply, conversation.isAssured]).toEqual([true, false]);
  });

  it("are opened by ICMP queries alone", () => {
    const opening = Array.from({ length: 256 }, (_, type) => type).filter(
      (type) => new Conversation().icmp(CLIENT, type) === "new",
    );
    expect(opening).toEqual([8, 13, 15, 17]);
  });
});
