import { describe, expect, it } from "vitest";
import { kindOf, transition } from "../../src/conntrack/tcp_states.ts";
import { stateName } from "../../src/conntrack/tracker.ts";
import { Conversation } from "../support/conversation.ts";

const [CLIENT, SERVER] = [0, 1];

/** How a conversation gets into each state, by segments that a host would send. */
const ROADS: Record<string, [number, string][]> = {
  SYN_SENT: [[CLIENT, "S"]],
  SYN_SENT2: [
    [CLIENT, "S"],
    [SERVER, "S"],
  ],
  SYN_RECV: [
    [CLIENT, "S"],
    [SERVER, "SA"],
  ],
  ESTABLISHED: [
    [CLIENT, "S"],
    [SERVER, "SA"],
    [CLIENT, "A"],
  ],
};
ROADS.FIN_WAIT = [...ROADS.ESTABLISHED, [CLIENT, "FA"]];
ROADS.CLOSE_WAIT = [...ROADS.FIN_WAIT, [SERVER, "A"]];
ROADS.LAST_ACK = [...ROADS.CLOSE_WAIT, [SERVER, "FA"]];
ROADS.TIME_WAIT = [...ROADS.LAST_ACK, [CLIENT, "A"]];
ROADS.CLOSE = [...ROADS.ESTABLISHED, [CLIENT, "R"]];

const NAMES: Record<string, string> = {
  SS: "SYN_SENT",
  SR: "SYN_RECV",
  ES: "ESTABLISHED",
  FW: "FIN_WAIT",
  CW: "CLOSE_WAIT",
  LA: "LAST_ACK",
  TW: "TIME_WAIT",
  CL: "CLOSE",
  S2: "SYN_SENT2",
};

/**
 * Linux's table without its column NONE, as the segments of these roads meet it. RE: the flow is removed and opened
 * anew; -- passes and changes nothing; !! is invalid. (A client's RST/ACK in SYN_SENT acknowledges what nobody sent.)
 */
const COLUMNS = ["SS", "SR", "ES", "FW", "CW", "LA", "TW", "CL", "S2"];
const ROWS = `
  client S    SS -- -- -- -- -- RE RE S2
  client SA   !! SR !! !! !! !! !! !! SR
  client FA   !! FW FW LA LA LA TW CL !!
  client A    !! ES ES CW CW TW TW CL !!
  client R    CL CL CL CL CL CL CL CL CL
  client RA   !! CL CL CL CL CL CL CL CL
  client P    !! !! !! !! !! !! !! !! !!
  client SU   SS -- -- -- -- -- RE RE S2
  client FAU  !! FW FW LA LA LA TW CL !!
  client APU  !! ES ES CW CW TW TW CL !!
  server S    S2 !! !! !! !! !! RE !! S2
  server SA   SR -- -- -- -- -- -- -- SR
  server FA   !! FW FW LA LA LA TW CL !!
  server A    -- SR ES CW CW TW TW CL --
  server R    CL CL CL CL CL CL CL CL CL
  server RA   CL CL CL CL CL CL CL CL CL
  server P    !! !! !! !! !! !! !! !! !!
`;

const rows = ROWS.trim()
  .split("\n")
  .map((line) => line.trim().split(/\s+/));

function travel(state: string): Conversation {
  const conversation = new Conversation();
  for (const [direction, flags] of ROADS[state]) conversation.tcp(direction, flags);
  expect(conversation.state).toBe(state);
  return conversation;
}

describe("every cell of the TCP state table", () => {
  for (const [side, flags, ...cells] of rows) {
    for (const [column, expected] of cells.entries()) {
      const before = NAMES[COLUMNS[column]];
      it(`${side} ${flags} in ${before}: ${expected}`, () => {
        const conversation = travel(before);
        const direction = side === "client" ? CLIENT : SERVER;
        // SYNs are sent again as they were; later ones begin where the last connection ended.
        const isAgain = flags.includes("S") && (before.startsWith("SYN") || flags.includes("A"));
        const verdict = conversation.tcp(direction, flags, isAgain ? { sequence: [1000, 5000][direction] } : {});
        if (expected === "RE") {
          expect(verdict).toBe("reopen");
          expect(conversation.table.count).toBe(0);
        } else if (expected === "!!") {
          expect(verdict).toBe("invalid");
          expect(conversation.state).toBe(before);
        } else {
          expect(verdict).toBe("ok");
          expect(conversation.state).toBe(expected === "--" ? before : NAMES[expected]);
        }
      });
    }
  }

  it("has nothing to do in NONE but to open with SYN or, loosely, ACK", () => {
    expect([0, 1, 2, 3, 4, 5].map((kind) => transition(0, kind, 0))).toEqual([1, 15, 15, 3, 15, 15]);
    expect([0, 1, 2, 3, 4, 5].map((kind) => transition(1, kind, 0))).toEqual([15, 15, 15, 15, 15, 15]);
  });
});

describe("TCP flags", () => {
  it("knows exactly the combinations that hosts send", () => {
    const [F, S, R, P, A, U] = [1, 2, 4, 8, 16, 32];
    const legal = new Set([S, S | U, S | A, R, R | A, F | A, F | A | U, A, A | U]);
    for (let flags = 0; flags < 256; flags++) {
      const defining = flags & ~(P | 64 | 128);
      expect(kindOf(flags) >= 0, `flags ${flags}`).toBe(legal.has(defining));
    }
  });

  it.each(["", "F", "SF", "SR", "SAF", "FSRPAU", "FR", "U", "FP", "RAU", "SAU", "FPU"])(
    "calls %s invalid in an established connection and as the first segment",
    (flags) => {
      const conversation = travel("ESTABLISHED");
      expect(conversation.tcp(CLIENT, flags)).toBe("invalid");
      expect(conversation.state).toBe("ESTABLISHED");
      expect(new Conversation().tcp(CLIENT, flags)).toBe("invalid");
    },
  );

  it.each(["SA", "FA", "R", "RA"])("opens no flow with %s", (flags) => {
    const conversation = new Conversation();
    expect(conversation.tcp(CLIENT, flags)).toBe("invalid");
    expect(conversation.table.count).toBe(0);
  });

  it.each(["S", "SEC", "SP", "SU"])("opens a flow with %s", (flags) => {
    const conversation = new Conversation();
    expect(conversation.tcp(CLIENT, flags)).toBe("new");
    expect(conversation.state).toBe("SYN_SENT");
  });
});

describe("the flags of a flow", () => {
  it("has seen a reply with the SYN/ACK and is assured with the ACK after it", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    expect([conversation.hasReply, conversation.isAssured]).toEqual([false, false]);
    conversation.tcp(SERVER, "SA");
    expect([conversation.hasReply, conversation.isAssured]).toEqual([true, false]);
    conversation.tcp(CLIENT, "A");
    expect([conversation.hasReply, conversation.isAssured]).toEqual([true, true]);
  });

  it("is not assured by an answer alone, nor by one that is invalid", () => {
    const conversation = new Conversation();
    conversation.tcp(CLIENT, "S");
    expect(conversation.tcp(SERVER, "FA")).toBe("invalid");
    expect([conversation.hasReply, conversation.isAssured]).toEqual([false, false]);
  });

  it("names states as conntrack does", () => {
    const names = Array.from({ length: 11 }, (_, state) => stateName(6, state));
    expect(names.join(" ")).toBe(
      "NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2 NONE",
    );
    expect(stateName(17, 3)).toBe("");
  });
});
