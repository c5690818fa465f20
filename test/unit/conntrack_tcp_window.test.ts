import { describe, expect, it } from "vitest";
import { windowScale } from "../../src/conntrack/tcp_detail.ts";
import { Conversation } from "../support/conversation.ts";
import { concat, u32 } from "../support/frames.ts";
import { buildTcp } from "../support/packets.ts";

const [CLIENT, SERVER] = [0, 1];

const NOP = 1;
const scaleOption = (scale: number): Uint8Array => Uint8Array.of(NOP, 3, 3, scale);
const SACK_PERMITTED = Uint8Array.of(NOP, NOP, 4, 2);
const TIMESTAMP = concat(Uint8Array.of(NOP, NOP, 8, 10), new Uint8Array(8));
const sackOption = (...edges: number[]): Uint8Array =>
  concat(Uint8Array.of(NOP, NOP, 5, 2 + edges.length * 4), ...edges.map(u32));
const bytes = (length: number): Uint8Array => new Uint8Array(length);

/** After a handshake: client at 1001, server at 5001, windows of 65535. */
function established(clientOptions?: Uint8Array, serverOptions?: Uint8Array): Conversation {
  const conversation = new Conversation();
  conversation.handshake(clientOptions, serverOptions);
  return conversation;
}

describe("bound I: not beyond what the receiver allows", () => {
  it("accepts a segment that begins at the edge of the window, and passes one a little beyond", () => {
    const conversation = established();
    expect(conversation.tcp(CLIENT, "A", { sequence: 1001 + 65535 })).toBe("ok");
    expect(conversation.tcp(CLIENT, "FA", { sequence: 1001 + 65535 + 1 })).toBe("ok");
    expect(conversation.state).toBe("ESTABLISHED");
  });

  it("calls a segment invalid that ends a window beyond it", () => {
    const conversation = established();
    expect(conversation.tcp(CLIENT, "A", { sequence: 1001 + 2 * 65535 - 10, payload: bytes(100) })).toBe("invalid");
  });

  it("lets a small overshoot pass without a change, and accepts its acknowledgement", () => {
    const conversation = established();
    const beyond = { sequence: 1001 + 65536, payload: bytes(100) };
    expect(conversation.tcp(CLIENT, "FA", beyond)).toBe("ok");
    expect(conversation.state).toBe("ESTABLISHED");
    expect(conversation.tcp(SERVER, "A", { acknowledgement: 1001 + 65536 + 101 })).toBe("ok");
    expect(conversation.tcp(SERVER, "A", { acknowledgement: 1001 + 65536 + 102 })).toBe("invalid");
  });

  it("moves with acknowledgements", () => {
    const conversation = established();
    for (let i = 0; i < 200; i++) {
      expect(conversation.tcp(CLIENT, "A", { payload: bytes(1400) })).toBe("ok");
      expect(conversation.tcp(SERVER, "A")).toBe("ok");
    }
    expect(conversation.tcp(CLIENT, "FA")).toBe("ok");
    expect(conversation.state).toBe("FIN_WAIT");
  });

  it("moves with the window, but never back", () => {
    const conversation = established();
    conversation.tcp(SERVER, "A", { window: 100 });
    expect(conversation.tcp(CLIENT, "FA", { sequence: 1001 + 60000 })).toBe("ok");
    expect(conversation.state).toBe("FIN_WAIT");
  });
});

describe("a closed window", () => {
  it.each([false, true])("leaves room for a probe of one byte (general path: %s)", (general) => {
    const conversation = new Conversation({ general });
    conversation.handshake();
    conversation.tcp(CLIENT, "A", { payload: bytes(60_000) });
    conversation.tcp(CLIENT, "A", { payload: bytes(5535) });
    conversation.tcp(SERVER, "A", { window: 0 });
    expect(conversation.word("TCP_MAX_END")).toBe(1001 + 65535 + 1);
  });
});

describe("bound II: not older than the receiver's window", () => {
  it("accepts what is inside, and passes older segments without a change", () => {
    const conversation = established();
    for (let i = 0; i < 100; i++) {
      conversation.tcp(CLIENT, "A", { payload: bytes(1000) });
      conversation.tcp(SERVER, "A");
    }
    conversation.advance(10);
    const end = 1001 + 100 * 1000;
    const left = conversation.secondsLeft;
    expect(conversation.tcp(CLIENT, "A", { sequence: end - 65535 - 101, payload: bytes(100) })).toBe("ok");
    expect(conversation.secondsLeft).toBe(left);
    expect(conversation.tcp(CLIENT, "A", { sequence: end - 65535 - 100, payload: bytes(100) })).toBe("ok");
    expect(conversation.secondsLeft).toBe(432_000);
  });

  it("accepts keep-alives", () => {
    const conversation = established();
    conversation.advance(10);
    expect(conversation.tcp(CLIENT, "A", { sequence: 1000 })).toBe("ok");
    expect(conversation.secondsLeft).toBe(432_000);
    expect(conversation.tcp(CLIENT, "A", { sequence: 1000, payload: bytes(1) })).toBe("ok");
    expect(conversation.tcp(SERVER, "A")).toBe("ok");
  });
});

describe("bound III: acknowledges only what was sent", () => {
  it("accepts up to the last byte sent and not one more", () => {
    const conversation = established();
    conversation.tcp(CLIENT, "PA", { payload: bytes(500) });
    expect(conversation.tcp(SERVER, "A", { acknowledgement: 1502 })).toBe("invalid");
    expect(conversation.tcp(SERVER, "A", { acknowledgement: 1501 })).toBe("ok");
  });

  it("holds across the end of the sequence space", () => {
    const conversation = new Conversation();
    conversation.next[CLIENT] = 0xffff_ff00;
    conversation.handshake();
    for (let i = 0; i < 10; i++) {
      expect(conversation.tcp(CLIENT, "PA", { payload: bytes(100) })).toBe("ok");
      expect(conversation.tcp(SERVER, "A", { acknowledgement: conversation.next[CLIENT] + 1 })).toBe("invalid");
      expect(conversation.tcp(SERVER, "A")).toBe("ok");
    }
    expect(conversation.secondsLeft).toBe(432_000);
  });
});

describe("bound IV: no acknowledgement that is much too late", () => {
  it("allows 66000 bytes whatever the window is, and passes later ones without a change", () => {
    const conversation = established();
    for (let i = 0; i < 100; i++) {
      conversation.tcp(CLIENT, "A", { payload: bytes(1000) });
      conversation.tcp(SERVER, "A");
    }
    const end = 1001 + 100 * 1000;
    conversation.advance(10);
    expect(conversation.tcp(SERVER, "A", { acknowledgement: end - 66_001 })).toBe("ok");
    expect(conversation.secondsLeft).toBe(432_000 - 10);
    expect(conversation.tcp(SERVER, "A", { acknowledgement: end - 66_000 })).toBe("ok");
    expect(conversation.secondsLeft).toBe(432_000);
  });

  it("allows as much as the largest scaled window", () => {
    const conversation = established(scaleOption(4), scaleOption(4));
    for (let i = 0; i < 300; i++) {
      conversation.tcp(CLIENT, "A", { payload: bytes(1000) });
      conversation.tcp(SERVER, "A");
    }
    conversation.advance(10);
    expect(conversation.tcp(SERVER, "A", { acknowledgement: 1001 + 100_000 })).toBe("ok");
    expect(conversation.secondsLeft).toBe(432_000);
  });
});

describe("window scale", () => {
  const fits = (conversation: Conversation, offset: number): boolean => {
    conversation.tcp(SERVER, "A");
    return conversation.tcp(CLIENT, "FA", { sequence: 1001 + offset }) === "ok" && conversation.state === "FIN_WAIT";
  };

  it("counts when both sides have sent the option", () => {
    expect(fits(established(scaleOption(0), scaleOption(7)), 65535 * 128)).toBe(true);
    expect(fits(established(scaleOption(0), scaleOption(7)), 65535 * 128 + 1)).toBe(false);
  });

  it("does not count when one side has not", () => {
    expect(fits(established(undefined, scaleOption(7)), 70_000)).toBe(false);
    expect(fits(established(scaleOption(7), undefined), 70_000)).toBe(false);
    expect(fits(established(SACK_PERMITTED, concat(SACK_PERMITTED, scaleOption(7))), 70_000)).toBe(false);
  });

  it("is at most 14 (RFC 7323 2.3)", () => {
    const conversation = established(scaleOption(0), scaleOption(200));
    expect(windowScale(conversation.word("TCP_DETAIL"), SERVER)).toBe(14);
    expect(fits(conversation, 65535 * 16384 - 1)).toBe(true);
  });

  it("does not count in the SYN itself", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S", { options: scaleOption(7) });
    conversation.tcp(SERVER, "SA", { options: scaleOption(7) });
    expect(conversation.tcp(CLIENT, "FA", { sequence: 1001 + 65535 + 70_000 })).toBe("invalid");
  });

  it("is taken anew from a SYN sent again with higher numbers and other options", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S", { options: scaleOption(2) });
    conversation.next[CLIENT] = 90_000;
    expect(conversation.tcp(CLIENT, "S", { options: scaleOption(5) })).toBe("ok");
    expect(conversation.tcp(SERVER, "SA", { options: scaleOption(3) })).toBe("ok");
    expect(windowScale(conversation.word("TCP_DETAIL"), CLIENT)).toBe(5);
    expect(conversation.tcp(CLIENT, "A")).toBe("ok");
    expect(conversation.state).toBe("ESTABLISHED");
  });
});

describe("SACK", () => {
  it("counts with the highest edge when the receiver permitted it", () => {
    const conversation = established(SACK_PERMITTED, SACK_PERMITTED);
    conversation.tcp(CLIENT, "A", { payload: bytes(1000) });
    conversation.tcp(CLIENT, "A", { payload: bytes(1000) });
    const late = { acknowledgement: 1001 };
    expect(conversation.tcp(SERVER, "A", { ...late, options: sackOption(2001, 3001) })).toBe("ok");
    expect(conversation.tcp(SERVER, "A", { ...late, options: sackOption(2001, 3002) })).toBe("invalid");
    expect(conversation.tcp(SERVER, "A", { ...late, options: sackOption(1500, 1600, 2001, 3002) })).toBe("invalid");
    expect(conversation.tcp(SERVER, "A", { ...late, options: sackOption(2001, 3001, 1500, 1600) })).toBe("ok");
  });

  it("is found behind a timestamp", () => {
    const conversation = established(SACK_PERMITTED, SACK_PERMITTED);
    const options = concat(TIMESTAMP, sackOption(2001, 9999));
    expect(conversation.tcp(SERVER, "A", { options })).toBe("invalid");
    expect(conversation.tcp(SERVER, "A", { options: TIMESTAMP })).toBe("ok");
    expect(conversation.tcp(SERVER, "A", { options: concat(TIMESTAMP, sackOption(900, 1000)) })).toBe("ok");
  });

  it("means nothing when the receiver did not permit it", () => {
    const conversation = established(undefined, SACK_PERMITTED);
    expect(conversation.tcp(SERVER, "A", { options: sackOption(2001, 9999) })).toBe("ok");
  });

  it("opens the window as far as the data that arrived", () => {
    const conversation = established(SACK_PERMITTED, SACK_PERMITTED);
    conversation.tcp(CLIENT, "A", { payload: bytes(1000) });
    conversation.tcp(CLIENT, "A", { payload: bytes(1000) });
    conversation.tcp(SERVER, "A", { acknowledgement: 1001, options: sackOption(2001, 3001) });
    expect(conversation.tcp(CLIENT, "FA", { sequence: 3001 + 65535 })).toBe("ok");
    expect(conversation.state).toBe("FIN_WAIT");
  });
});

describe("options of any bytes", () => {
  const odd: [string, Uint8Array][] = [
    ["a length of zero", Uint8Array.of(3, 0, 7, 0)],
    ["a length of one", Uint8Array.of(5, 1, 7, 0)],
    ["a length beyond the header", Uint8Array.of(NOP, 3, 60, 7)],
    ["a kind without a length", Uint8Array.of(NOP, NOP, NOP, 5)],
    ["an early end", Uint8Array.of(0, 3, 3, 7)],
    ["a scale of a wrong length", Uint8Array.of(3, 4, 7, 7)],
    ["a SACK of half a block", concat(Uint8Array.of(5, 6), u32(99), Uint8Array.of(NOP, NOP))],
    ["a SACK of no block", Uint8Array.of(5, 2, NOP, NOP)],
  ];
  it.each(odd)("%s ends the reading and changes nothing", (_, options) => {
    const conversation = new Conversation();
    conversation.handshake(options, scaleOption(7));
    expect(windowScale(conversation.word("TCP_DETAIL"), SERVER)).toBe(0);
    const permitted = established(SACK_PERMITTED, SACK_PERMITTED);
    expect(permitted.tcp(SERVER, "A", { options })).toBe("ok");
    expect(permitted.tcp(CLIENT, "A", { options })).toBe("ok");
  });

  it("are not read from the payload", () => {
    const conversation = new Conversation();
    const payload = Uint8Array.of(7);
    conversation.tcp(CLIENT, "S", { options: Uint8Array.of(NOP, NOP, 3, 3), payload });
    conversation.tcp(SERVER, "SA", { options: scaleOption(7) });
    expect(windowScale(conversation.word("TCP_DETAIL"), SERVER)).toBe(0);
    const permitted = established(SACK_PERMITTED, SACK_PERMITTED);
    const edges = concat(u32(2001), u32(9999));
    expect(permitted.tcp(SERVER, "A", { options: Uint8Array.of(NOP, NOP, 5, 10), payload: edges })).toBe("ok");
  });

  it("are not read beyond the end of a truncated packet", () => {
    const conversation = established(SACK_PERMITTED, SACK_PERMITTED);
    const frame = buildTcp(conversation.arena, 0, {
      source: "203.0.113.2",
      destination: "10.55.66.2",
      sourcePort: 80,
      destinationPort: 40000,
      sequence: 5001,
      acknowledgement: 1001,
      options: sackOption(2001, 9999),
    });
    frame.end -= 4;
    expect(conversation.judge(frame, SERVER)).not.toBe("reopen");
  });
});

describe("lengths", () => {
  it("counts a super-frame by the packet's length", () => {
    const conversation = established();
    expect(conversation.tcp(CLIENT, "PA", { payload: bytes(60_000), options: TIMESTAMP })).toBe("ok");
    expect(conversation.tcp(SERVER, "A", { acknowledgement: 61_002 })).toBe("invalid");
    expect(conversation.tcp(SERVER, "A", { acknowledgement: 61_001 })).toBe("ok");
  });

  it("does not count the padding of a short frame", () => {
    const conversation = established();
    const frame = buildTcp(conversation.arena, 0, {
      source: "10.55.66.2",
      destination: "203.0.113.2",
      sequence: 1001,
      acknowledgement: 5001,
    });
    frame.length += 6;
    conversation.judge(frame, CLIENT);
    expect(conversation.tcp(SERVER, "A", { acknowledgement: 1002 })).toBe("invalid");
  });
});

describe("liberal tracking", () => {
  it("accepts what does not fit, with all consequences but for the window", () => {
    const conversation = new Conversation({ liberal: true });
    conversation.handshake();
    conversation.advance(10);
    expect(conversation.tcp(CLIENT, "A", { sequence: 10_000_000 })).toBe("ok");
    expect(conversation.secondsLeft).toBe(432_000);
    expect(conversation.tcp(CLIENT, "FA", { sequence: 10_000_000 })).toBe("ok");
    expect(conversation.state).toBe("FIN_WAIT");
    expect(conversation.word("TCP_END")).toBe(1001);
  });

  it("does not accept what the state forbids", () => {
    const conversation = new Conversation({ liberal: true });
    conversation.handshake();
    expect(conversation.tcp(SERVER, "S")).toBe("invalid");
  });
});

describe("a connection picked up in the middle", () => {
  it("is established, judged liberally, and assured after a packet from both sides", () => {
    const conversation = new Conversation();
    expect(conversation.tcp(CLIENT, "PA", { payload: bytes(100) })).toBe("new");
    expect([conversation.state, conversation.isAssured]).toEqual(["ESTABLISHED", false]);
    expect(conversation.tcp(SERVER, "A")).toBe("ok");
    expect(conversation.isAssured).toBe(false);
    expect(conversation.tcp(CLIENT, "A", { sequence: 5_000_000 })).toBe("ok");
    expect(conversation.isAssured).toBe(true);
  });

  it("learns from segments in any order while the other side is silent", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "A", { window: 100 });
    conversation.tcp(CLIENT, "A", { sequence: 900, window: 60_000, acknowledgement: 0 });
    expect(conversation.word("TCP_MAX_WINDOW")).toBe(60_000);
  });

  it("may be picked up with a keep-alive, whose answer acknowledges one byte more", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "A", { sequence: 999 });
    expect(conversation.tcp(SERVER, "A", { acknowledgement: 1000 })).toBe("ok");
    expect([conversation.word("TCP_END"), conversation.word("REPLY_TCP_MAX_ACK")]).toEqual([1000, 1000]);
  });

  it("is judged by what it says itself once it begins anew", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "A");
    conversation.tcp(SERVER, "A");
    conversation.tcp(CLIENT, "S", { sequence: 700_000 });
    conversation.tcp(SERVER, "SA", { sequence: 900_000, acknowledgement: 700_001 });
    conversation.tcp(CLIENT, "A", { sequence: 700_001, acknowledgement: 900_001 });
    expect(conversation.tcp(CLIENT, "A", { sequence: 5_000_000, acknowledgement: 900_001 })).toBe("invalid");
  });

  it("is not picked up when that is not wanted", () => {
    const conversation = new Conversation({ loose: false });
    expect(conversation.tcp(CLIENT, "A")).toBe("invalid");
    expect(conversation.tcp(CLIENT, "S")).toBe("new");
  });
});
