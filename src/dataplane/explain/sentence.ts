/** A walk in one sentence. */
import type { Frame } from "../../packet/frame.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import { STOP_REASONS, Stop } from "../../packet/stop_reasons.ts";
import type { Router } from "../router.ts";
import type { Draft } from "./draft.ts";
import { interfaceName, listOf, portName } from "./texts.ts";

export function sentenceOf(router: Router, frame: Frame, stop: number, draft: Draft): string {
  const from = `The packet from ${portName(router, draft.port)}`;
  switch (stop) {
    case Stop.ROUTED:
      return `${from} leaves by ${listOf(draft.egress)} ${draft.leaves}.`;
    case Stop.SWITCHED:
      return `${from} is switched to ${listOf(draft.egress)} inside ${interfaceName(router, frame.ingressInterface)}.`;
    case Stop.FLOODED:
      return `${from} is flooded to ${listOf(draft.egress)}${answered(draft)}.`;
    case Stop.LOCAL:
      return `${from} is for the router itself${answered(draft)}.`;
    case Stop.PARKED:
      return `${from} waits until ${formatAddress(router.neighbours.address[frame.neighbour])} answers ARP.`;
    case Stop.FRAGMENT_HELD:
      return `${from} is a fragment, kept until its datagram is whole.`;
    default: {
      const { name, text } = STOP_REASONS[stop];
      if (draft.rule === undefined || !isByRule(stop)) return `${from} stops: ${text}${answered(draft)}.`;
      const does = name.endsWith("-reject") ? "rejected" : "dropped";
      return `${from} is ${does} by ${ruleName(draft.rule)}${answered(draft)}.`;
    }
  }
}

/** Whether a rule or policy of the filter is why a packet stops. */
export function isByRule(stop: number): boolean {
  return /-(drop|reject)$/.test(STOP_REASONS[stop].name);
}

function ruleName({ chain, number, rule }: { chain: string; number: number; rule: string }): string {
  return number === 0 ? `the policy of ${chain}` : `${chain} rule ${number} (${rule})`;
}

function answered({ answers }: Draft): string {
  if (answers.length === 0) return "";
  // Without what stands in parentheses: the header's small print.
  const brief = answers.map((line) => line.replace(/^IP \((?:[^()]|\([^()]*\))*\) /, ""));
  return `; the router answers ${brief.join("; ")}`;
}
