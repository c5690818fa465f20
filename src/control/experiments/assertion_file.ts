/** Reads assertion files: shape, then everything that names and texts in it stand for. */
import { dirname, resolve } from "node:path";
import { STOP_REASONS } from "../../packet/stop_reasons.ts";
import { type Finding, type Locate, loadChecked } from "../configuration/checked_file.ts";
import { formatError, type ResolvedPlan, resolvePlan } from "../configuration/configuration.ts";
import { type Path, quote, type Report } from "../configuration/errors.ts";
import { suggestion } from "../configuration/nearest.ts";
import { shapeCheck } from "../configuration/validate.ts";
import { ExitCode, TapirError } from "../errors.ts";
import { PacketTextError, readPlainAddress } from "../packet_text.ts";
import { readConfiguration } from "../read_configuration.ts";
import { parseQuestion, type Question } from "./question.ts";
import { parseStep, type Step } from "./scenario_steps.ts";
import { type AssertionFile, AssertionsSchema, type ExpectedConfiguration } from "./schema_assertions.ts";
import { VirtualHosts } from "./virtual_hosts.ts";

export interface Expected {
  verdict: "allow" | "deny" | "reject";
  via?: string;
  source?: string;
  to?: string;
  reason?: string;
}

export interface Assertion {
  text: string;
  line: number;
  column: number;
  question: Question;
  expected: Expected;
}

export interface Scenario {
  name: string;
  line: number;
  column: number;
  seed: number;
  steps: Step[];
}

export interface Experiments {
  file: string;
  resolved: ResolvedPlan;
  assertions: Assertion[];
  scenarios: Scenario[];
}

const hasShape = shapeCheck<AssertionFile>(AssertionsSchema);

/**
 * Reads an assertion file about a configuration: `configuration` (a file's path, or a plan), or the one that it names.
 * @throws `TapirError` with all that is wrong, one a line.
 */
export function loadExperiments(file: string, configuration: string | ResolvedPlan | undefined): Experiments {
  let reader: ExperimentsReader | undefined;
  const loaded = loadChecked<AssertionFile>(file, (value) => {
    const found: Finding[] = [];
    const report: Report = (path, message, side = "value") => found.push({ path, message, side });
    if (hasShape(value, report)) {
      reader = new ExperimentsReader(file, configuration, report);
      reader.read(value);
    }
    return found;
  });
  if (loaded.errors !== undefined)
    throw new TapirError(loaded.errors.map(formatError).join("\n"), ExitCode.CONFIGURATION);
  return (reader as ExperimentsReader).located(loaded.locate);
}

class ExperimentsReader {
  private readonly file: string;
  private readonly wanted: string | ResolvedPlan | undefined;
  private readonly report: Report;
  private resolved: ResolvedPlan | undefined;
  private readonly assertions: (Omit<Assertion, "line" | "column"> & { path: Path })[] = [];
  private readonly scenarios: (Omit<Scenario, "line" | "column"> & { path: Path })[] = [];

  constructor(file: string, wanted: string | ResolvedPlan | undefined, report: Report) {
    this.file = file;
    this.wanted = wanted;
    this.report = report;
  }

  read(value: AssertionFile): void {
    if (this.wanted === undefined && value.configuration === undefined) {
      this.report(["configuration"], 'missing key "configuration", and no -f either', "key");
      return;
    }
    if ((value.assertions ?? []).length + (value.scenarios ?? []).length === 0) {
      this.report([], "the file asserts nothing: it needs assertions or scenarios");
      return;
    }
    const wanted = this.wanted ?? this.besides(value.configuration as string);
    this.resolved = typeof wanted === "string" ? resolvePlan(readConfiguration(wanted)) : wanted;
    const hosts = new VirtualHosts(this.resolved);
    for (const [index, each] of (value.assertions ?? []).entries()) {
      const [[text, expected]] = Object.entries(each);
      this.readAssertion(["assertions", index, text], text, expected, hosts);
    }
    for (const [index, each] of (value.scenarios ?? []).entries()) {
      const at: Path = ["scenarios", index];
      const steps = each.steps.map((step, number) => this.readStep([...at, "steps", number], step, hosts));
      const present = steps.filter((step) => step !== undefined);
      this.scenarios.push({ path: at, name: each.name, seed: each.seed ?? 1, steps: present });
    }
  }

  /** With the lines of the file. */
  located(locate: Locate): Experiments {
    const place = <T extends { path: Path }>({ path, ...rest }: T) => ({ ...rest, ...locate(path, "key") });
    return {
      file: this.file,
      resolved: this.resolved as ResolvedPlan,
      assertions: this.assertions.map(place),
      scenarios: this.scenarios.map((scenario) => ({
        ...place(scenario),
        steps: scenario.steps.map((step) => ({ ...step, ...locate(step.path, "key") })),
      })),
    };
  }

  private besides(path: string): string {
    return resolve(dirname(this.file), path);
  }

  private readAssertion(path: Path, text: string, expected: ExpectedConfiguration, hosts: VirtualHosts): void {
    const read = this.attempt(path, "key", () => parseQuestion(text, hosts));
    const wanted = this.readExpected(path, expected, hosts);
    if (read !== undefined) this.assertions.push({ path, text, question: read, expected: wanted });
  }

  private readExpected(path: Path, expected: ExpectedConfiguration, hosts: VirtualHosts): Expected {
    if (typeof expected === "string") return { verdict: expected };
    const { allow, via, source, to, reason } = expected;
    if (via !== undefined && !hosts.ports.some((port) => port.name === via || port.interface.name === via)) {
      const known = hosts.ports.flatMap((port) => [port.name, port.interface.name]);
      this.report([...path, "via"], `no port or network is called ${quote(via)}${suggestion(via, known)}`);
    }
    if (source !== undefined) this.attempt([...path, "source"], "value", () => readPlainAddress(source));
    if (to !== undefined) this.attempt([...path, "to"], "value", () => readPlainAddress(to.split(":")[0]));
    if (reason !== undefined) this.checkReason([...path, "reason"], reason);
    if (reason !== undefined && allow) this.report([...path, "reason"], "what is allowed has no reason to stop", "key");
    return {
      verdict: allow ? "allow" : "deny",
      ...(via === undefined ? {} : { via }),
      ...(source === undefined ? {} : { source }),
      ...(to === undefined ? {} : { to }),
      ...(reason === undefined ? {} : { reason }),
    };
  }

  private readStep(path: Path, step: Parameters<typeof parseStep>[0], hosts: VirtualHosts): Step | undefined {
    const [key] = Object.keys(step);
    const at = [...path, key];
    if (step.drop !== undefined) this.checkReason(at, step.drop);
    return this.attempt(at, "value", () => ({
      path: at,
      line: 0,
      column: 0,
      ...parseStep(step, hosts, (configuration) =>
        resolvePlan(readConfiguration(this.besides(configuration)), this.resolved),
      ),
    }));
  }

  private checkReason(path: Path, reason: string): void {
    const known = STOP_REASONS.filter(({ outcome }) => outcome === "dropped").map(({ name }) => name);
    if (known.includes(reason)) return;
    this.report(path, `${quote(reason)} is no reason to stop${suggestion(reason, known)}`);
  }

  /** What `read` gives; an error of a text is reported. */
  private attempt<T>(path: Path, side: "key" | "value", read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof PacketTextError)) throw error;
      this.report(path, error.message, side);
      return undefined;
    }
  }
}
