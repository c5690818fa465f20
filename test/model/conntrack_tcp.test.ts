/**
 * Random conversations: whatever hosts and attackers send, in whatever order, the tracker keeps its invariants. Numbers
 * are drawn near those that the flow expects, so that most of what can happen does; the last test counts that it did.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Direction, FlowFlag } from "../../src/conntrack/flow_layout.ts";
import { LINUX_TIMEOUTS } from "../../src/conntrack/timeouts.ts";
import { stateOf } from "../../src/conntrack/tracker.ts";
import { Conversation, type Verdict } from "../support/conversation.ts";

interface Step {
  direction: number;
  flags: string;
  sequenceOffset: number;
  acknowledgementOffset: number;
  window: number;
  payloadBytes: number;
  options: Uint8Array<ArrayBuffer>;
  seconds: number;
}

const offset = fc.oneof(
  { weight: 6, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.integer({ min: -70_000, max: 70_000 }) },
  { weight: 1, arbitrary: fc.integer() },
);

const optionBytes = fc.oneof(
  fc.constantFrom(
    Uint8Array.of(),
    Uint8Array.of(1, 3, 3, 7),
    Uint8Array.of(1, 1, 4, 2),
    Uint8Array.of(1, 1, 5, 10, 0, 0, 0, 0, 0, 0, 4, 0),
  ),
  fc
    .uint8Array({ minLength: 0, maxLength: 40 })
    .map((bytes) => Uint8Array.from(bytes.subarray(0, bytes.length - (bytes.length % 4)))),
);

const usualFlags = fc.constantFrom("S", "SA", "A", "A", "A", "PA", "FA", "R", "RA");
const anyFlags = fc.subarray([..."FSRPAUEC"]).map((letters) => letters.join(""));

const step: fc.Arbitrary<Step> = fc.record({
  direction: fc.constantFrom<number>(Direction.ORIGINAL, Direction.REPLY),
  flags: fc.oneof({ weight: 9, arbitrary: usualFlags }, { weight: 1, arbitrary: anyFlags }),
  sequenceOffset: offset,
  acknowledgementOffset: offset,
  window: fc.constantFrom(0, 1, 1000, 65535),
  payloadBytes: fc.constantFrom(0, 0, 1, 40, 600),
  options: optionBytes,
  seconds: fc.constantFrom(0, 0, 0, 0.5, 40, 400),
});

function take(conversation: Conversation, each: Step): Verdict {
  const { direction, flags, window, options } = each;
  const payload = new Uint8Array(each.payloadBytes);
  const isNext = each.sequenceOffset === 0;
  const sequence = (conversation.next[direction] + each.sequenceOffset) | 0;
  const acknowledgement = (conversation.next[1 - direction] + each.acknowledgementOffset) | 0;
  const numbers = flags.includes("A") ? { acknowledgement } : {};
  const fields = { window, options, payload, ...numbers };
  return conversation.tcp(direction, flags, isNext ? fields : { ...fields, sequence });
}

/** A flow of the same packets may begin at either side, once an earlier one is over: the client's alone are wanted. */
function mayFollow(conversation: Conversation, each: Step): boolean {
  return each.direction === Direction.ORIGINAL || conversation.isAlive;
}

function checkInvariants(conversation: Conversation, verdict: Verdict, longestMs: number): void {
  if (verdict === "reopen") {
    expect(conversation.table.count).toBe(0);
    return;
  }
  if (!conversation.isAlive) return;
  const { status } = conversation;
  const state = stateOf(status);
  expect(state).toBeGreaterThanOrEqual(1);
  expect(state).toBeLessThanOrEqual(9);
  expect(status & 0xff).toBe(6);
  // Only what has been answered is assured, and nothing is beyond the longest timeout.
  if ((status & FlowFlag.ASSURED) !== 0) expect(status & FlowFlag.SEEN_REPLY).not.toBe(0);
  expect(conversation.secondsLeft).toBeGreaterThan(0);
  expect(conversation.secondsLeft * 1000).toBeLessThanOrEqual(longestMs);
  // `due` is never later than the deadline: or the sweep would come too late.
  const due = conversation.table.due[conversation.flow];
  expect((conversation.word("DEADLINE") - due) | 0).toBeGreaterThanOrEqual(0);
}

describe("random TCP conversations", () => {
  const longestMs = LINUX_TIMEOUTS.tcp_timeout_established * 1000;
  const seen = new Map<string, number>();
  const count = (what: string): void => {
    seen.set(what, (seen.get(what) ?? 0) + 1);
  };

  it("keep state, flags and deadline in range, and never throw", () => {
    const conversations = fc.record({
      handshake: fc.boolean(),
      liberal: fc.boolean(),
      isn: fc.integer(),
      steps: fc.array(step, { minLength: 1, maxLength: 30 }),
    });
    fc.assert(
      fc.property(conversations, ({ handshake, liberal, isn, steps }) => {
        const conversation = new Conversation({ liberal });
        conversation.next[Direction.ORIGINAL] = isn;
        if (handshake) conversation.handshake();
        for (const each of steps) {
          conversation.advance(each.seconds);
          if (!mayFollow(conversation, each)) continue;
          const before = conversation.isAlive ? conversation.status : 0;
          const verdict = take(conversation, each);
          count(verdict);
          if (verdict === "reopen") {
            checkInvariants(conversation, verdict, longestMs);
            continue;
          }
          if (conversation.isAlive) count(conversation.state);
          checkInvariants(conversation, verdict, longestMs);
          // What is invalid changes neither state nor flags.
          if (verdict === "invalid" && conversation.isAlive) expect(conversation.status).toBe(before);
        }
        conversation.advance(LINUX_TIMEOUTS.tcp_timeout_established + 1);
        conversation.table.sweep(conversation.now, 100);
        expect(conversation.table.count).toBe(0);
      }),
      { numRuns: 1000, seed: 7 },
    );
  });

  it("come out the same on the fast path and on the general path", () => {
    let plain = 0;
    const conversations = fc.record({ scales: fc.boolean(), steps: fc.array(step, { minLength: 5, maxLength: 40 }) });
    fc.assert(
      fc.property(conversations, ({ scales, steps }) => {
        const both = [new Conversation(), new Conversation({ general: true })];
        const options = scales ? Uint8Array.of(1, 3, 3, 7, 1, 1, 4, 2) : undefined;
        for (const conversation of both) conversation.handshake(options, options);
        for (const each of steps) {
          for (const conversation of both) conversation.advance(each.seconds);
          if (!mayFollow(both[0], each)) continue;
          const verdicts = both.map((conversation) => take(conversation, each));
          expect(verdicts[0]).toBe(verdicts[1]);
          expect(both[0].words()).toEqual(both[1].words());
          if (verdicts[0] === "ok" && both[0].state === "ESTABLISHED" && each.flags.endsWith("A")) plain++;
          if (verdicts[0] === "reopen") break;
        }
      }),
      { numRuns: 600, seed: 11 },
    );
    expect(plain).toBeGreaterThan(500);
  });

  it("reached every state and verdict", () => {
    const all =
      "new ok invalid reopen SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2";
    for (const what of all.split(" ")) expect(seen.get(what) ?? 0, what).toBeGreaterThan(5);
  });
});
