/**
 * Datagrams cut and damaged at random, through the kernel and through Tapir: what arrives is put together before it is
 * compared, because the two routers cut differently.
 */
import { type Dice, randomScenarios } from "../../support/differential/dice.ts";
import { GATEWAY, type Hosts } from "../../support/differential/hosts.ts";
import { differential } from "../../support/differential/suite.ts";
import { fragment, fragmentsOf, pattern, type Step, step, uniqueId } from "../../support/differential/talk.ts";
import { echoRequest, udp } from "../../support/frames.ts";

const DATAGRAMS = 6;

/** Rising multiples of 8 below `length`. */
function cuts(dice: Dice, length: number): number[] {
  const wanted = Array.from({ length: 1 + dice.below(5) }, () => 8 * (1 + dice.below(Math.ceil(length / 8) - 1)));
  return [...new Set(wanted)].filter((at) => at < length).sort((left, right) => left - right);
}

/** Sometimes one is missing, doubled or overlaps another; sometimes they come in another order. */
function disturbed(dice: Dice, whole: Uint8Array, parts: Uint8Array[]): Uint8Array[] {
  const result = [...parts];
  const any = (): number => dice.below(result.length);
  switch (dice.below(8)) {
    case 0:
      result.splice(any(), 1);
      break;
    case 1:
      result.splice(any(), 0, result[any()]);
      break;
    case 2: {
      const start = 8 * dice.below(Math.floor((whole.length - 20) / 8));
      const data = whole.subarray(20 + start, 20 + start + 8 * (1 + dice.below(20)));
      if (data.length % 8 === 0) result.splice(any(), 0, fragment(whole, start, data, true));
      break;
    }
    case 3:
      result.splice(any(), 0, fragment(whole, 8 * dice.below(400), pattern(8), dice.below(2) === 0));
      break;
    default:
  }
  if (dice.below(2) === 0) {
    for (let at = result.length - 1; at > 0; at--) {
      const other = dice.below(at + 1);
      [result[at], result[other]] = [result[other], result[at]];
    }
  }
  return result;
}

function datagram(hosts: Hosts, dice: Dice): Step[] {
  const from = dice.of(["c1", "c2"] as const);
  const destination = dice.of([hosts.server, hosts.server, hosts.third, GATEWAY]);
  const fields = { source: hosts[from], destination, id: uniqueId(), fragment: 0, tos: dice.of([0, 0, 0x10, 2]) };
  const data = pattern(16 + dice.below(2900), dice.below(256));
  const whole = dice.below(2) === 0 ? echoRequest(fields, 77, 1, data) : udp({ ...fields, tos: 0 }, 4000, 53, data);
  const parts = fragmentsOf(
    whole,
    [1480, 2960].filter((at) => at < whole.length - 20),
  );
  const cut = fragmentsOf(whole, cuts(dice, whole.length - 20));
  const chosen = cut.every((part) => part.length <= 1500) ? cut : parts;
  return disturbed(dice, whole, chosen).map((packet) => step(from, packet));
}

/** What the router answers to a datagram that came whole has other DF in the two. */
const alike = (line: string): string => line.replace(/( ttl=64 len=\d+ id=\*)( tos=\w+)?( DF)? /, "$1$2 ");

differential(
  "Random fragments as the kernel puts them together",
  { whole: true },
  randomScenarios((hosts, dice) => Array.from({ length: DATAGRAMS }, () => datagram(hosts, dice)).flat(), alike),
);
