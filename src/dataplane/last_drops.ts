/**
 * The last packet that met each stop reason: its first bytes, where and when it came in, and the rule that stopped it.
 *
 * Theory of operation. One record of fixed size for each reason, in arrays made once: nothing is allocated when a frame
 * is dropped. A flood of drops is not slowed: for each reason at most one packet in a millisecond of the dataplane's
 * clock is kept, so "the last" is the first one of the last millisecond in which the reason was met. Rules are kept as
 * numbers, and turned into words before a change of the rules gives the numbers another meaning.
 */

import { VNET_HEADER_BYTES } from "../packet/arena.ts";
import type { Frame } from "../packet/frame.ts";
import { printFrame } from "../packet/print.ts";
import { STOP_REASONS, Stop } from "../packet/stop_reasons.ts";
import { decidingRule } from "./explain/rules_walked.ts";
import type { DecidingRule } from "./explain/steps.ts";
import type { LastDrop } from "./messages.ts";
import type { Router } from "./router.ts";

/** Words kept of a slot: the offload header, then Ethernet, IPv4 with all options, and the L4 header. */
const KEPT_WORDS = 36;
const REASONS = STOP_REASONS.length;
/** No frame is longer: what is printed of one lies in a copy of this size, zeros behind the bytes that were kept. */
const LARGEST_PRINTED = 65_600;

const RULE_STOPS: readonly number[] = [
  Stop.BRIDGE_DROP,
  Stop.BRIDGE_REJECT,
  Stop.FORWARD_DROP,
  Stop.FORWARD_REJECT,
  Stop.INPUT_DROP,
  Stop.INPUT_REJECT,
];

export class LastDrops {
  private readonly words = new Int32Array(REASONS * KEPT_WORDS);
  private readonly length = new Int32Array(REASONS);
  private readonly port = new Int32Array(REASONS);
  /** The dataplane's clock then; whether there was one at all is told by `length`. */
  private readonly at = new Int32Array(REASONS);
  /** Number of the rule or policy; -1: none. */
  private readonly rule = new Int32Array(REASONS).fill(-1);
  /** Of rules that are gone: what they were. */
  private readonly formerRules: (DecidingRule | undefined)[] = [];

  /** A frame has ended with `stop`. */
  note(router: Router, frame: Frame, stop: number): void {
    const { now } = router;
    if (router.stage !== undefined) return;
    if (this.at[stop] === now && this.length[stop] !== 0) return;
    this.at[stop] = now;
    this.port[stop] = frame.ingressPort;
    this.length[stop] = router.arena.slotLength[frame.slot];
    this.rule[stop] = frame.rule;
    this.formerRules[stop] = undefined;
    const from = (frame.at - VNET_HEADER_BYTES) >> 2;
    const to = stop * KEPT_WORDS;
    const source = router.arena.words;
    for (let i = 0; i < KEPT_WORDS; i++) this.words[to + i] = source[from + i];
  }

  /** Turns numbers of rules into words, before the rules change. */
  settle(router: Router): void {
    for (const stop of RULE_STOPS) {
      if (this.length[stop] === 0 || this.formerRules[stop] !== undefined) continue;
      this.formerRules[stop] = this.ruleOf(router, stop);
    }
  }

  /** The last packet of a reason; undefined when there was none. */
  of(router: Router, stop: number): LastDrop | undefined {
    const length = this.length[stop];
    if (length === 0) return undefined;
    const rule = RULE_STOPS.includes(stop) ? this.ruleOf(router, stop) : undefined;
    const name = router.ports.plans[this.port[stop]]?.name;
    return {
      time: Date.now() - ((router.now - this.at[stop]) >>> 0),
      port: name ?? `#${this.port[stop]}`,
      frame: this.print(stop, length),
      ...(rule === undefined ? {} : { rule }),
    };
  }

  private ruleOf(router: Router, stop: number): DecidingRule {
    const former = this.formerRules[stop];
    if (former !== undefined) return former;
    return decidingRule(router.rules, this.rule[stop]);
  }

  private print(stop: number, length: number): string {
    const copy = new Int32Array(LARGEST_PRINTED >> 2);
    copy.set(this.words.subarray(stop * KEPT_WORDS, (stop + 1) * KEPT_WORDS));
    return printFrame(new DataView(copy.buffer), VNET_HEADER_BYTES, length);
  }
}
