/** Frames into the whole router in memory: every stage, with NAT, rules, several networks and both profiles. */
import type { Dice } from "../dice.ts";
import { fromHex } from "../mutate_bytes.ts";
import { frameStep, joined } from "../pipeline/packets.ts";
import { Player } from "../pipeline/player.ts";
import { type PipelineCase, pinned, type Step, shrinkSteps } from "../pipeline/steps.ts";
import { PORTS } from "../pipeline/world.ts";
import type { Target } from "../target.ts";

const MOST_STEPS = 40;

function step(dice: Dice, seeds: readonly Uint8Array[]): Step {
  switch (dice.below(24)) {
    case 0:
      return { do: "wait", milliseconds: dice.pick([1, 20, 700, 3_000, 31_000, 150_000]) };
    case 1:
      return dice.once(4) ? { do: "apply", world: dice.below(100_000) } : frameStep(dice, seeds);
    case 2:
      return dice.once(3)
        ? { do: dice.pick(["plug", "unplug"] as const), port: dice.below(PORTS) }
        : frameStep(dice, seeds);
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
      return { do: "answer", back: dice.below(4), seed: dice.word(), ...joined(dice) };
    case 9:
    case 10:
      return { do: "quote", back: dice.below(6), seed: dice.word(), ...joined(dice) };
    default:
      return frameStep(dice, seeds);
  }
}

function seedsOf(dice: Dice, corpus: readonly PipelineCase[]): Uint8Array[] {
  const seeds: Uint8Array[] = [];
  for (let count = corpus.length === 0 ? 0 : 8; count > 0; count--) {
    const { steps } = dice.pick(corpus);
    const chosen = steps.length === 0 ? undefined : dice.pick(steps);
    if (chosen?.do === "frame" && chosen.frame !== "") seeds.push(fromHex(chosen.frame));
  }
  return seeds;
}

export function generatePipelineCase(dice: Dice, corpus: readonly PipelineCase[]): PipelineCase {
  const seeds = seedsOf(dice, corpus);
  const steps: Step[] = [];
  let world = dice.below(100_000);
  if (corpus.length > 0 && dice.once(2)) {
    // An earlier case goes on, or two are joined.
    const earlier = dice.pick(corpus);
    world = earlier.world;
    const from = dice.once(4) ? dice.below(earlier.steps.length + 1) : 0;
    steps.push(...earlier.steps.slice(from, from + MOST_STEPS));
    for (let changes = dice.below(3); changes > 0 && steps.length > 0; changes--) {
      const at = dice.below(steps.length);
      const change = dice.below(3);
      if (change === 0) steps.splice(at, 1);
      else if (change === 1) steps[at] = step(dice, seeds);
      else steps.splice(at, 0, steps[at]);
    }
    if (dice.once(5)) world = dice.below(100_000);
  }
  for (let count = 4 + dice.below(MOST_STEPS); count > 0 && steps.length < 2 * MOST_STEPS; count--) {
    steps.push(step(dice, seeds));
  }
  return { world, steps };
}

export const PIPELINE: Target<PipelineCase> = {
  name: "pipeline",
  about: "frames, offload headers, ARP, fragments and ICMP errors through the whole router in memory",
  generate: generatePipelineCase,
  run: (input) => new Player(input).play(input),
  shrink: shrinkSteps,
  pinned,
};
