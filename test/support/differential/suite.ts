/** Runs scenarios through the kernel and through Tapir, and compares what came of each step. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exec, hasCommand, requireSystem } from "../netns.ts";
import { type Hosts, hostsOf } from "./hosts.ts";
import { type Outcome, Player } from "./player.ts";
import { restartIds, type Step } from "./talk.ts";
import { canPublish, kernelWorld, tapirWorld, type WorldOptions } from "./worlds.ts";

/**
 * A difference that is known: the lines that only one world has, each behind its step's number ("2: c1 gets …"), word
 * for word or as an asymmetric matcher (`expect.stringMatching`).
 */
export interface Departure {
  reason: string;
  kernel: readonly unknown[];
  tapir: readonly unknown[];
}

/** A difference that consists of lines that only the kernel's world has. */
export function kernelAlone(reason: string, ...kernel: unknown[]): Departure {
  return { reason, kernel, tapir: [] };
}

/** A difference that consists of lines that only Tapir's world has. */
export function tapirAlone(reason: string, ...tapir: unknown[]): Departure {
  return { reason, kernel: [], tapir };
}

export interface Scenario {
  name: string;
  steps: (hosts: Hosts) => Step[];
  /**
   * Whether the packets and bytes of flows are compared: not where the kernel lets segments pass that change nothing
   * (it does not count them, Tapir counts everything that passes).
   */
  counted?: boolean;
  /** Changes each line of both worlds before they are compared: takes a known difference out of random scenarios. */
  alike?: (line: string) => string;
  departure?: (hosts: Hosts) => Departure;
  /** An error of Tapir's, in words: the worlds must differ until it is mended. */
  defect?: string;
}

export interface SuiteOptions extends WorldOptions {
  /** What Tapir must be able to do; without it the scenarios are skipped by name. */
  needs?: "publish";
  /** Whether fragments that arrive are put together before they are compared. */
  whole?: boolean;
  /** `counted` of the scenarios that do not say. */
  counted?: boolean;
}

const canRun = requireSystem(["iptables", "conntrack", "ethtool"], "the kernel and Tapir side by side");

/** One processor for what this process sends: the kernel works off its frames in their order. */
function stayOnOneProcessor(): void {
  if (hasCommand("taskset")) exec(undefined, "taskset", ["-cp", "0", String(process.pid)]);
}

export function differential(title: string, options: SuiteOptions, scenarios: readonly Scenario[]): void {
  const canDo = canRun && (options.needs !== "publish" || canPublish());
  if (canRun && !canDo) process.stderr.write(`SKIPPED ${title}: this Tapir does not publish ports\n`);
  describe.skipIf(!canDo)(title, () => {
    const players: Player[] = [];
    beforeAll(async () => {
      stayOnOneProcessor();
      for (const make of [kernelWorld, tapirWorld]) players.push(new Player(await make(options)));
    });
    afterAll(() => {
      for (const player of players) player.close();
    });
    scenarios.forEach((scenario, number) => {
      it(scenario.name, async () => {
        const hosts = hostsOf(number);
        const outcomes: Outcome[][] = [];
        restartIds(1);
        const steps = scenario.steps(hosts);
        for (const player of players) {
          restartIds(1000);
          const played = await player.play(hosts, steps, {
            counted: scenario.counted ?? options.counted ?? true,
            whole: options.whole ?? false,
          });
          outcomes.push(
            played.map((outcome) => ({ ...outcome, lines: outcome.lines.map(scenario.alike ?? ((line) => line)) })),
          );
        }
        const said = steps.map(({ reaches }, index) => reaches ?? outcomes[0][index].reached);
        judge(scenario, hosts, said, outcomes[0], outcomes[1]);
        for (const { world } of players) expect(await world.violations(), "invariants").toEqual([]);
      });
    });
  });
}

function judge(scenario: Scenario, hosts: Hosts, said: string[], kernel: Outcome[], tapir: Outcome[]): void {
  const script = (outcomes: Outcome[]) =>
    outcomes.flatMap(({ step, lines }) => [step, ...lines.map((each) => `  ${each}`)]);
  if (process.env.TAPIR_SHOW === "1") process.stderr.write(`${[scenario.name, ...script(kernel)].join("\n")}\n`);
  const reached = kernel.map((outcome) => outcome.reached);
  expect(reached, "whom each step reaches in the kernel's world").toEqual(said);
  if (scenario.defect !== undefined) {
    expect(script(tapir), `no longer so, take it off the scenario: ${scenario.defect}`).not.toEqual(script(kernel));
    return;
  }
  if (scenario.departure === undefined) {
    expect(script(tapir), "Tapir, compared with the kernel").toEqual(script(kernel));
    return;
  }
  const { reason, ...expected } = scenario.departure(hosts);
  expect({ kernel: only(kernel, tapir), tapir: only(tapir, kernel) }, reason).toEqual(expected);
}

/** The lines of one world's steps that the same steps of the other do not have, each with its step's number. */
function only(mine: Outcome[], theirs: Outcome[]): string[] {
  return mine.flatMap(({ lines }, index) =>
    lines.filter((line) => !theirs[index].lines.includes(line)).map((line) => `${index + 1}: ${line}`),
  );
}
