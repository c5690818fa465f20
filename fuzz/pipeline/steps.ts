/** What a case for the pipeline consists of: the number of a world, and what happens in it, step by step. */
import type { RouterPlan } from "../../src/dataplane/plan.ts";
import { planOfWorld } from "./world.ts";

export type Step =
  /** A frame (hex) comes in by a port, after an offload header; `joins`: in the same burst as the one before. */
  | { do: "frame"; port: number; frame: string; vnet?: string; joins?: true }
  /** What left by some port is answered: the packet turned round, changed as `seed` says. */
  | { do: "answer"; back: number; seed: number; joins?: true }
  /** What left is quoted in an ICMP error. */
  | { do: "quote"; back: number; seed: number; joins?: true }
  | { do: "wait"; milliseconds: number }
  /** Another configuration, while flows live. */
  | ({ do: "apply" } & World)
  | { do: "unplug" | "plug"; port: number };

/** A configuration by the number that it is made from, or, in a case that is kept for long, as it was made then. */
interface World {
  world: number;
  plan?: RouterPlan;
}

export interface PipelineCase extends World {
  steps: Step[];
}

/** Smaller cases: steps left out; then frames cut short, and without offload headers. */
export function* shrinkSteps(input: PipelineCase): Generator<PipelineCase> {
  const { steps } = input;
  for (let piece = steps.length >> 1; piece >= 1; piece >>= 1) {
    for (let at = 0; at < steps.length; at += piece) yield { ...input, steps: steps.toSpliced(at, piece) };
  }
  for (const [at, step] of steps.entries()) {
    if (step.do === "wait" && step.milliseconds > 1)
      yield { ...input, steps: steps.with(at, { ...step, milliseconds: step.milliseconds >> 1 }) };
    if (step.do !== "frame") continue;
    const { vnet, joins: _, ...rest } = step;
    if (vnet !== undefined) yield { ...input, steps: steps.with(at, rest) };
    for (let cut = step.frame.length >> 2; cut >= 1; cut >>= 1) {
      yield { ...input, steps: steps.with(at, { ...step, frame: step.frame.slice(0, -2 * cut) }) };
    }
  }
}

export const planOf = ({ world, plan }: World): RouterPlan => plan ?? planOfWorld(world);

/** With its configurations written out, so that it means the same when others are made from the numbers one day. */
export function pinned(input: PipelineCase): PipelineCase {
  const pin = <T extends World>(place: T): T => ({ ...place, plan: planOf(place) });
  return pin({ ...input, steps: input.steps.map((step) => (step.do === "apply" ? pin(step) : step)) });
}
