/** `tapir doctor`: the machine, a configuration, and a running router, each line with its verdict. */
import {
  formatError,
  loadConfiguration,
  type ResolvedPlan,
  resolvePlan,
} from "../control/configuration/configuration.ts";
import { checkConfigurationFacts } from "../control/doctor/configuration_checks.ts";
import { gatherConfiguration } from "../control/doctor/configuration_facts.ts";
import { counted, exitCodeOf, type Finding, type Status } from "../control/doctor/finding.ts";
import { checkMachine } from "../control/doctor/machine.ts";
import { gatherMachine } from "../control/doctor/machine_facts.ts";
import { checkRouter } from "../control/doctor/router_checks.ts";
import { checkSocket, checkStranger, socketState } from "../control/doctor/socket.ts";
import { ExitCode, TapirError } from "../control/errors.ts";
import type { Health } from "../control/health.ts";
import { ask, socketPath } from "./client.ts";

export interface DoctorWish {
  /** A configuration to check against the machine. */
  file?: string;
  /** As the user said it, if at all. */
  socket?: string;
  /** How long to watch a running router. */
  seconds: number;
}

export interface Section {
  title: string;
  findings: Finding[];
}

export interface Diagnosis {
  /** What the command ends with. */
  exitCode: ExitCode;
  sections: Section[];
}

/** Looks at everything there is; `version` is this program's. */
export async function diagnose(wish: DoctorWish, version: string): Promise<Diagnosis> {
  const resolved = wish.file === undefined ? undefined : readPlan(wish.file);
  const socket = wish.socket ?? process.env.TAPIR_SOCKET ?? resolved?.socket ?? socketPath(undefined);
  const isAskedFor = wish.socket !== undefined || process.env.TAPIR_SOCKET !== undefined;
  const router = await examineRouter(socket, isAskedFor, wish.seconds, version);
  const sections = [{ title: "this machine", findings: checkMachine(await gatherMachine()) }];
  if (resolved !== undefined && wish.file !== undefined) {
    const facts = gatherConfiguration(resolved, router.isRunning);
    sections.push({ title: wish.file, findings: checkConfigurationFacts(facts) });
  }
  sections.push({ title: `a router on ${socket}`, findings: router.findings });
  return { exitCode: exitCodeOf(sections.flatMap(({ findings }) => findings)), sections };
}

function readPlan(file: string): ResolvedPlan {
  const { configuration, errors } = loadConfiguration(file);
  if (errors !== undefined) throw new TapirError(errors.map(formatError).join("\n"), ExitCode.CONFIGURATION);
  return resolvePlan(configuration);
}

interface Examined {
  isRunning: boolean;
  findings: Finding[];
}

async function examineRouter(path: string, isAskedFor: boolean, seconds: number, version: string): Promise<Examined> {
  const state = await socketState(path);
  if (state !== "open") return { isRunning: false, findings: [checkSocket(path, state, isAskedFor)] };
  try {
    const health = await ask<Health>(path, "GET", `/v1/health?seconds=${seconds}`);
    return { isRunning: true, findings: checkRouter(health, version) };
  } catch (error) {
    return { isRunning: true, findings: [checkStranger(path, (error as Error).message)] };
  }
}

const MARKS: Record<Status, string> = { ok: "ok", warning: "warning", problem: "PROBLEM" };

export function formatDiagnosis({ sections }: Diagnosis): string {
  const all = sections.flatMap(({ findings }) => findings);
  const width = Math.max(...all.map(({ check }) => check.length));
  const line = ({ check, status, finding, cure }: Finding): string => {
    const advice = cure === undefined ? "" : `: ${cure}`;
    return `  ${MARKS[status].padEnd(7)}  ${check.padEnd(width)}  ${finding}${advice}`;
  };
  const blocks = sections.map(({ title, findings }) => `${title}\n${findings.map(line).join("\n")}`);
  const count = (status: Status): number => all.filter((each) => each.status === status).length;
  const sum = `${counted(count("problem"), "problem")}, ${counted(count("warning"), "warning")}`;
  return `${blocks.join("\n\n")}\n\n${sum}`;
}
