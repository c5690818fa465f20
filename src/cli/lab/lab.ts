/**
 * `tapir lab`: the demonstration. It makes a world of namespaces, walks the tutorial's steps with proof, and stays up
 * for the user to look around. Everything it makes goes when it ends, however it ends.
 *
 * `--once` ends after the steps. `-- CMD` skips the steps: it brings the world up with NAT and rules in place, runs
 * CMD in c1's namespace and ends with CMD's exit code.
 */

import { constants } from "node:os";
import { relative } from "node:path";
import { TapirError } from "../../control/errors.ts";
import { PAIRS_ACCEPTED } from "./configuration.ts";
import { checkTun, isPrivileged, missingCommands } from "./needs.ts";
import { Netns } from "./places.ts";
import { exitOf, Processes } from "./processes.ts";
import { Report } from "./report.ts";
import { RouterProcess } from "./router_process.ts";
import type { Lab, Step } from "./step.ts";
import { publish } from "./step_publish.ts";
import { conntrack, eachHop, masquerade } from "./steps_nat.ts";
import { forwardAccept, forwardDrop } from "./steps_policy.ts";
import { bridge, defaultRoute, withoutNat } from "./steps_reach.ts";
import { Topology } from "./topology.ts";
import { transfer } from "./transfer.ts";
import { isInUserNamespace, runInUserNamespace } from "./user_namespace.ts";

const STEPS: readonly Step[] = [
  bridge,
  defaultRoute,
  withoutNat,
  masquerade,
  conntrack,
  forwardDrop,
  forwardAccept,
  publish,
  eachHop,
  transfer,
];

/** Columns of the commands that the lab proposes. */
const HINT_WIDTH = 56;

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface LabOptions {
  /** End after the steps. */
  once: boolean;
  /** Run this in c1's namespace in place of the steps. */
  command?: string[];
}

/**
 * Returns the exit code: 0 when every claim held, 1 when one did not, or CMD's.
 * @throws TapirError when something is missing (its exit code says what), when the lab is interrupted, or fails.
 */
export async function labCommand(options: LabOptions): Promise<number> {
  const missing = missingCommands();
  if (missing.length > 0) throw new TapirError(missing.join("\ntapir: "));
  checkTun();
  return isPrivileged() ? runLab(options) : runInUserNamespace();
}

async function runLab(options: LabOptions): Promise<number> {
  const processes = new Processes();
  const topology = new Topology(processes);
  topology.checkFree();
  const router = new RouterProcess(processes);
  const removeAtExit = () => {
    processes.killAll();
    topology.remove();
    router.remove();
  };
  process.on("exit", removeAtExit);
  const ending = untilSignal(processes, options.command !== undefined);
  const lab: Lab = { processes, router, report: new Report(process.stdout) };
  try {
    await topology.make();
    return options.command === undefined
      ? await demonstrate(lab, options.once, ending)
      : await runInside(lab, options.command);
  } catch (error) {
    // What was waited for when it was interrupted fails in ways of its own.
    processes.throwIfInterrupted();
    throw error;
  } finally {
    await processes.stopAll();
    removeAtExit();
    process.off("exit", removeAtExit);
  }
}

/** Resolves at the first signal that ends the lab; what it waits for then ends with an error. */
function untilSignal(processes: Processes, isCommandGiven: boolean): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of SIGNALS) {
      process.on(signal, () => {
        // A terminal's Ctrl-C goes to CMD as well, which decides what to do about it.
        if (isCommandGiven && signal === "SIGINT") return;
        processes.interrupt();
        resolve();
      });
    }
  });
}

async function demonstrate(lab: Lab, once: boolean, ending: Promise<void>): Promise<number> {
  const { report } = lab;
  report.line("The world: containers tapir-c1 and tapir-c2, the router tapir-router, the outside host tapir-wan.");
  for (const step of STEPS) {
    report.step(step.number, step.claim);
    await step.run(lab);
  }
  report.table();
  const code = report.failedSteps === 0 ? 0 : 1;
  if (once) return code;
  tellHowToEnter(lab);
  const hasEnded = await Promise.race([ending.then(() => true), lab.router.ended().then(() => false)]);
  if (!hasEnded) throw new TapirError("the router ended by itself");
  report.line();
  report.line("Removing everything.");
  return code;
}

function tellHowToEnter({ report, router }: Lab): void {
  const script = process.argv[1] ?? "";
  const tapir = script.endsWith(".js") ? `node ${relative(process.cwd(), script)}` : "tapir";
  report.line();
  report.line("It stays up until Ctrl-C. From another terminal:");
  const hints = [
    [`ip netns exec ${Netns.C1} bash`, `in a container (also ${Netns.C2})`],
    [`ip netns exec ${Netns.ROUTER} ip address`, "where the router and its uplink up0 are"],
    [`ip netns exec ${Netns.WAN} tcpdump -n -i eth0`, "what the outside world sees"],
    [`${tapir} show ports --socket ${router.socket}`],
    [`${tapir} conntrack -L --socket ${router.socket}`],
  ];
  if (isInUserNamespace()) {
    hints.unshift([`nsenter -t ${process.pid} -U -m -n --preserve-credentials bash`, "first: into the lab's world"]);
  }
  for (const [command, purpose] of hints) {
    report.line(purpose === undefined ? `  ${command}` : `  ${command.padEnd(HINT_WIDTH)}  ${purpose}`);
  }
}

/** Runs the user's command where c1 is, on the user's terminal. */
async function runInside(lab: Lab, command: string[]): Promise<number> {
  await lab.router.configure(PAIRS_ACCEPTED);
  const [file, ...args] = command;
  const child = lab.processes.start(Netns.C1, file, args, {
    detached: false,
    stdio: "inherit",
    env: { ...process.env, TAPIR_SOCKET: lab.router.socket },
  });
  const status = await exitOf(child);
  return status ?? 128 + constants.signals[child.signalCode ?? "SIGTERM"];
}
