/**
 * Random TCP conversations through the kernel and through Tapir: segments of both sides with flags, numbers, windows,
 * options and data that are mostly what a host would send and often not.
 */
import { type Dice, randomScenarios } from "../../support/differential/dice.ts";
import { differential } from "../../support/differential/suite.ts";
import { free, pattern, type Step, TcpTalk } from "../../support/differential/talk.ts";
import { concat, u32 } from "../../support/frames.ts";

const STEPS = 30;

const FLAGS = ["A", "A", "A", "PA", "PA", "PA", "S", "SA", "FA", "FA", "R", "RA", "", "U", "SF", "FPA", "UA"];
const OFFSETS = [1, 2, 100, 1460, 5_000, 30_000, 65_535, 65_536, 66_000, 66_001, 100_000, 0x7fff_ffff];
const WINDOWS = [0, 1, 100, 5_000, 65_535];

/** Mostly the number that is due, else one somewhere around it. */
function near(dice: Dice, value: number): number {
  if (dice.below(4) !== 0) return value;
  return (value + (dice.below(2) === 0 ? 1 : -1) * dice.of(OFFSETS)) >>> 0;
}

const MSS = Uint8Array.of(2, 4, 0x05, 0xb4);

function options(dice: Dice, flags: string, due: number): Uint8Array {
  if (flags.includes("S")) {
    const parts = [MSS];
    if (dice.below(2) === 0) parts.push(Uint8Array.of(4, 2, 1, 1));
    if (dice.below(2) === 0) parts.push(Uint8Array.of(1, 3, 3, dice.below(16)));
    return dice.below(3) === 0 ? new Uint8Array(0) : concat(...parts);
  }
  if (dice.below(6) !== 0) return new Uint8Array(0);
  const left = near(dice, due);
  return concat(Uint8Array.of(1, 1, 5, 10), u32(left), u32((left + dice.of([1, 500, 100_000])) >>> 0));
}

function conversation(talk: TcpTalk, dice: Dice): Step[] {
  const steps: Step[] = [];
  const opening = dice.below(4);
  if (opening !== 0) steps.push(...talk.handshake(options(dice, "S", 0), options(dice, "SA", 0)).slice(0, opening + 1));
  while (steps.length < STEPS) {
    // The first must pass, so that the server sees a port to answer to.
    const isFirst = steps.length === 0;
    const isClient = isFirst || dice.below(2) === 0;
    const flags = isFirst ? "A" : dice.of(FLAGS);
    const [mine, other] = isClient ? [talk.clientNext, talk.serverNext] : [talk.serverNext, talk.clientNext];
    const sequence = near(dice, mine);
    const payload = pattern(flags.includes("P") ? dice.of([0, 1, 10, 1000]) : 0);
    const segment = {
      ...(sequence === mine ? {} : { sequence }),
      acknowledgement: flags.includes("A") ? near(dice, other) : dice.of([0, other]),
      window: dice.of(WINDOWS),
      options: options(dice, flags, other),
      payload,
    };
    steps.push(free(isClient ? talk.client(flags, segment) : talk.server(flags, segment)));
  }
  return steps;
}

/** The router's own resets differ in DF. */
const alike = (line: string): string => line.replace(" id=* DF tcp", " id=* tcp");

differential(
  "Random TCP as the kernel tracks it",
  { counted: false },
  randomScenarios((hosts, dice) => conversation(new TcpTalk(hosts), dice), alike),
);
