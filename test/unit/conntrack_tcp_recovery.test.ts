import { describe, expect, it } from "vitest";
import { windowScale } from "../../src/conntrack/tcp_detail.ts";
import { Conversation } from "../support/conversation.ts";

const [CLIENT, SERVER] = [0, 1];
const scaleOption = (scale: number): Uint8Array => Uint8Array.of(1, 3, 3, scale);
const bytes = (length: number): Uint8Array => new Uint8Array(length);

function established(): Conversation {
  const conversation = new Conversation();
  conversation.handshake();
  return conversation;
}

/** The client has begun to close, and all is acknowledged. */
function closed(): Conversation {
  const conversation = established();
  conversation.tcp(CLIENT, "FA");
  conversation.tcp(SERVER, "FA");
  conversation.tcp(CLIENT, "A");
  expect(conversation.state).toBe("TIME_WAIT");
  return conversation;
}

describe("a RST", () => {
  it("ends the flow at once when it is the only answer", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    const before = conversation.table.version;
    expect(conversation.tcp(SERVER, "RA", { sequence: 0 })).toBe("ok");
    expect(conversation.isAlive).toBe(false);
    // Frames whose look-up was made before must repeat it, and find nothing.
    expect(conversation.table.version).not.toBe(before);
    expect(conversation.tcp(SERVER, "A")).toBe("new");
  });

  it("ends it too when it comes from the client, before any answer", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    expect(conversation.tcp(CLIENT, "R")).toBe("ok");
    expect(conversation.isAlive).toBe(false);
  });

  it("is invalid as an answer to a SYN that it does not acknowledge", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    expect(conversation.tcp(SERVER, "RA", { sequence: 0, acknowledgement: 5555 })).toBe("invalid");
    expect(conversation.state).toBe("SYN_SENT");
  });

  it("is believed when it carries exactly the number that is due", () => {
    const conversation = established();
    expect(conversation.tcp(SERVER, "R", { sequence: 5001 })).toBe("ok");
    expect([conversation.state, conversation.secondsLeft]).toEqual(["CLOSE", 10]);
  });

  it("is invalid below what the other side has acknowledged", () => {
    const conversation = established();
    expect(conversation.tcp(SERVER, "R", { sequence: 5000 })).toBe("invalid");
    expect([conversation.state, conversation.secondsLeft]).toEqual(["ESTABLISHED", 432_000]);
  });

  it("is invalid beyond the window", () => {
    const conversation = established();
    expect(conversation.tcp(SERVER, "R", { sequence: 5001 + 2 * 65536 })).toBe("invalid");
    expect(conversation.state).toBe("ESTABLISHED");
  });

  it("passes inside the window, but the state stays until the challenge is answered", () => {
    const conversation = established();
    expect(conversation.tcp(SERVER, "R", { sequence: 5101 })).toBe("ok");
    expect([conversation.state, conversation.secondsLeft]).toEqual(["ESTABLISHED", 10]);
    expect(conversation.tcp(CLIENT, "A")).toBe("ok");
    expect(conversation.secondsLeft).toBeGreaterThan(10);
    expect(conversation.tcp(SERVER, "PA", { payload: bytes(200) })).toBe("ok");
    expect(conversation.tcp(CLIENT, "A")).toBe("ok");
    expect(conversation.secondsLeft).toBe(432_000);
  });

  it("is believed right behind the sender's own data, though that is not acknowledged yet", () => {
    const conversation = established();
    conversation.tcp(SERVER, "PA", { payload: bytes(300) });
    expect(conversation.tcp(SERVER, "RA")).toBe("ok");
    expect(conversation.state).toBe("CLOSE");
  });

  it("need not fit once the connection closes", () => {
    const conversation = closed();
    expect(conversation.tcp(SERVER, "R", { sequence: 77 })).toBe("ok");
    expect([conversation.state, conversation.secondsLeft]).toEqual(["CLOSE", 10]);
  });

  it("with ACK and the number zero is taken as one without", () => {
    const conversation = established();
    expect(conversation.tcp(SERVER, "RA", { acknowledgement: 0 })).toBe("ok");
    expect(conversation.state).toBe("CLOSE");
  });

  it("with the number zero is judged by the window alone before the connection is established", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    conversation.tcp(SERVER, "SA");
    expect(conversation.tcp(CLIENT, "R", { sequence: 0 })).toBe("ok");
    expect(conversation.state).toBe("CLOSE");
  });

  it("answers a SYN that was let through", () => {
    const conversation = established();
    expect(conversation.tcp(CLIENT, "S", { sequence: 700_000 })).toBe("ok");
    expect(conversation.tcp(SERVER, "RA", { sequence: 0, acknowledgement: 700_001 })).toBe("ok");
    expect(conversation.state).toBe("CLOSE");
  });
});

describe("a RST of the side that sent the SYN", () => {
  it("does not answer it, whatever number it acknowledges", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    expect(conversation.tcp(SERVER, "S")).toBe("ok");
    expect(conversation.tcp(SERVER, "R", { sequence: 10_000_000 })).toBe("invalid");
    expect(conversation.state).toBe("SYN_SENT2");
  });
});

describe("a half-open connection", () => {
  it("is reset by the client after a challenge ACK to its SYN", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    // The server still has an old connection, whose numbers it shows.
    expect(conversation.tcp(SERVER, "A", { sequence: 88_000, acknowledgement: 99_000 })).toBe("ok");
    expect(conversation.state).toBe("SYN_SENT");
    expect(conversation.tcp(CLIENT, "R", { sequence: 99_000 })).toBe("ok");
    expect(conversation.state).toBe("CLOSE");
  });

  it("is not reset by a number that nobody mentioned", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    conversation.tcp(SERVER, "A", { sequence: 88_000, acknowledgement: 99_000 });
    expect(conversation.tcp(CLIENT, "R", { sequence: 99_001 })).toBe("invalid");
    expect(conversation.state).toBe("SYN_SENT");
  });
});

describe("a SYN in a known connection", () => {
  it("passes, and the SYN/ACK that answers it brings the flow back in step", () => {
    const conversation = established();
    expect(conversation.tcp(CLIENT, "S", { sequence: 700_000, window: 2000, options: scaleOption(3) })).toBe("ok");
    expect(conversation.state).toBe("ESTABLISHED");
    const answer = { sequence: 900_000, acknowledgement: 700_001, options: scaleOption(6) };
    expect(conversation.tcp(SERVER, "SA", answer)).toBe("ok");
    expect(conversation.state).toBe("SYN_RECV");
    expect([0, 1].map((direction) => windowScale(conversation.word("TCP_DETAIL"), direction))).toEqual([3, 6]);
    expect(conversation.tcp(CLIENT, "A", { sequence: 700_001, acknowledgement: 900_001 })).toBe("ok");
    expect([conversation.state, conversation.secondsLeft]).toEqual(["ESTABLISHED", 432_000]);
    // The old numbers are worth nothing any more.
    expect(conversation.tcp(CLIENT, "PA", { sequence: 2_000_000, payload: bytes(10) })).toBe("invalid");
    expect(conversation.tcp(CLIENT, "PA", { sequence: 700_001, acknowledgement: 900_001 })).toBe("ok");
  });

  it("is forgotten when a SYN/ACK answers another", () => {
    const conversation = established();
    conversation.tcp(CLIENT, "S", { sequence: 700_000 });
    expect(conversation.tcp(SERVER, "SA", { sequence: 900_000, acknowledgement: 700_002 })).toBe("ok");
    expect(conversation.state).toBe("ESTABLISHED");
  });

  it("may be answered by a challenge ACK, which does not acknowledge the last FIN", () => {
    const conversation = established();
    conversation.tcp(CLIENT, "FA");
    conversation.tcp(SERVER, "FA");
    expect(conversation.state).toBe("LAST_ACK");
    expect(conversation.tcp(CLIENT, "S", { sequence: 700_000 })).toBe("ok");
    expect(conversation.tcp(SERVER, "A")).toBe("ok");
    expect(conversation.state).toBe("LAST_ACK");
    // The next one is no challenge any more.
    expect(conversation.tcp(SERVER, "A")).toBe("ok");
    expect(conversation.state).toBe("TIME_WAIT");
  });

  it("opens a new flow when the old one was closed, from either side", () => {
    for (const direction of [CLIENT, SERVER]) {
      const conversation = closed();
      expect(conversation.tcp(direction, "S", { sequence: 700_000 })).toBe("reopen");
      expect(conversation.table.count).toBe(0);
    }
  });

  it("opens a new flow when its sender has reset the old one", () => {
    const conversation = established();
    conversation.tcp(CLIENT, "R");
    expect(conversation.tcp(CLIENT, "S", { sequence: 700_000 })).toBe("reopen");
  });

  it("passes when the other side has reset the old one, and its answer counts", () => {
    const conversation = established();
    conversation.tcp(SERVER, "R");
    expect(conversation.tcp(CLIENT, "S", { sequence: 700_000 })).toBe("ok");
    expect(conversation.state).toBe("CLOSE");
    expect(conversation.tcp(SERVER, "SA", { sequence: 900_000, acknowledgement: 700_001 })).toBe("ok");
    expect(conversation.state).toBe("SYN_RECV");
  });
});

describe("simultaneous open and close", () => {
  it("opens with a SYN and a SYN/ACK from both sides", () => {
    const conversation = new Conversation();
    expect(conversation.tcp(CLIENT, "S")).toBe("new");
    expect(conversation.tcp(SERVER, "S")).toBe("ok");
    expect(conversation.state).toBe("SYN_SENT2");
    expect(conversation.tcp(CLIENT, "SA", { sequence: 1000 })).toBe("ok");
    expect(conversation.state).toBe("SYN_RECV");
    expect(conversation.tcp(SERVER, "SA", { sequence: 5000 })).toBe("ok");
    expect(conversation.tcp(SERVER, "A")).toBe("ok");
    expect([conversation.state, conversation.isAssured]).toEqual(["ESTABLISHED", true]);
    expect(conversation.tcp(CLIENT, "PA", { payload: bytes(100) })).toBe("ok");
  });

  it("closes with a FIN from both sides at once", () => {
    const conversation = established();
    conversation.tcp(CLIENT, "FA");
    expect(conversation.tcp(SERVER, "FA", { acknowledgement: 1001 })).toBe("ok");
    expect(conversation.state).toBe("LAST_ACK");
    expect(conversation.tcp(CLIENT, "A")).toBe("ok");
    expect(conversation.tcp(SERVER, "A")).toBe("ok");
    expect(conversation.state).toBe("TIME_WAIT");
  });

  it("a half-closed connection keeps passing data", () => {
    const conversation = established();
    conversation.tcp(CLIENT, "FA");
    for (let i = 0; i < 50; i++) {
      expect(conversation.tcp(SERVER, "PA", { payload: bytes(1400) })).toBe("ok");
      expect(conversation.tcp(CLIENT, "A")).toBe("ok");
    }
    expect([conversation.state, conversation.secondsLeft]).toEqual(["CLOSE_WAIT", 60]);
  });
});
