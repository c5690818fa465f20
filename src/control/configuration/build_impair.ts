/** Impairments: from the words of the configuration to the dataplane's numbers. */
import { createHash } from "node:crypto";
import type { ImpairmentPlan, PortPlan } from "../../dataplane/plan.ts";
import { type Path, quote, type Report } from "./errors.ts";
import { DEFAULT_IMPAIRMENT_LIMIT, type ImpairConfiguration } from "./schema_impair.ts";

const LONGEST_DELAY_MICROSECONDS = 600_000_000;
/** Bits per second. */
const LEAST_RATE = 1000;
const LARGEST_RATE = 1e12;

/** One map, or a list of them. */
export type Impair = ImpairConfiguration | ImpairConfiguration[];

/** Keys that do something; the others say how. */
const EFFECTS = ["delay", "loss", "duplicate", "corrupt", "rate"] as const;

/** What a key is of no use without. */
const NEEDS: readonly (readonly [keyof ImpairConfiguration, keyof ImpairConfiguration])[] = [
  ["jitter", "delay"],
  ["distribution", "jitter"],
  ["lossCorrelation", "loss"],
  ["reorder", "delay"],
  ["gap", "reorder"],
  ["overhead", "rate"],
];

const DURATION_UNITS: Record<string, number> = { us: 1, ms: 1000, s: 1_000_000 };
const RATE_PREFIXES: Record<string, number> = {
  "": 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

export function readImpair(impair: Impair, path: Path, report: Report): Pick<PortPlan, "impairIn" | "impairOut"> {
  const plans: Pick<PortPlan, "impairIn" | "impairOut"> = {};
  const list = Array.isArray(impair) ? impair.map((each, index) => ({ each, at: [...path, index] })) : undefined;
  const said = new Set<string>();
  for (const { each, at } of list ?? [{ each: impair as ImpairConfiguration, at: path }]) {
    const plan = new ImpairReader(each, at, report).read();
    const direction = each.direction ?? "out";
    for (const one of direction === "both" ? ["in", "out"] : [direction]) {
      if (said.has(one)) report(at, `direction ${quote(one)} is impaired twice`);
      said.add(one);
      if (plan !== undefined) plans[one === "in" ? "impairIn" : "impairOut"] = plan;
    }
  }
  return plans;
}

/** The same settings with a generator for each port and direction that follows from the one seed. */
export function withOwnSeeds(
  plans: Pick<PortPlan, "impairIn" | "impairOut">,
  port: string,
): Pick<PortPlan, "impairIn" | "impairOut"> {
  const seeded = (plan: ImpairmentPlan, direction: string): ImpairmentPlan => {
    if (plan.seed === undefined) return plan;
    const digest = createHash("sha256").update(`${plan.seed}/${port}/${direction}`).digest();
    return { ...plan, seed: digest.readInt32BE(0) };
  };
  return {
    ...(plans.impairIn === undefined ? {} : { impairIn: seeded(plans.impairIn, "in") }),
    ...(plans.impairOut === undefined ? {} : { impairOut: seeded(plans.impairOut, "out") }),
  };
}

class ImpairReader {
  private readonly settings: ImpairConfiguration;
  private readonly path: Path;
  private readonly report: Report;

  constructor(settings: ImpairConfiguration, path: Path, report: Report) {
    this.settings = settings;
    this.path = path;
    this.report = report;
  }

  /** Undefined where all of it comes to nothing. */
  read(): ImpairmentPlan | undefined {
    const { settings } = this;
    this.checkKeys();
    const plan: ImpairmentPlan = {
      delay: this.duration("delay"),
      jitter: this.duration("jitter"),
      distribution: settings.distribution ?? "uniform",
      loss: this.percentage("loss"),
      lossCorrelation: this.percentage("lossCorrelation"),
      duplicate: this.percentage("duplicate"),
      corrupt: this.percentage("corrupt"),
      reorder: this.percentage("reorder"),
      gap: settings.reorder === undefined ? 0 : (settings.gap ?? 1),
      rate: this.rate(),
      overheadBytes: settings.overhead ?? 0,
      limit: settings.limit ?? DEFAULT_IMPAIRMENT_LIMIT,
      ...(settings.seed === undefined ? {} : { seed: settings.seed }),
    };
    const { delay, jitter, loss, duplicate, corrupt, rate } = plan;
    return delay + jitter + loss + duplicate + corrupt + rate === 0 ? undefined : plan;
  }

  private checkKeys(): void {
    const { settings, path } = this;
    if (!EFFECTS.some((key) => settings[key] !== undefined)) {
      this.report(path, `nothing is impaired: one of ${EFFECTS.map(quote).join(", ")} is needed`, "key");
    }
    for (const [key, needed] of NEEDS) {
      if (settings[key] === undefined || settings[needed] !== undefined) continue;
      this.report([...path, key], `${quote(key)} needs a ${quote(needed)}`, "key");
    }
  }

  /** Microseconds. */
  private duration(key: "delay" | "jitter"): number {
    const text = this.settings[key];
    if (text === undefined) return 0;
    const [, number, unit] = /^([0-9.]+)([a-z]+)$/.exec(text) as unknown as [string, string, string];
    const microseconds = Math.round(Number(number) * DURATION_UNITS[unit]);
    if (microseconds > LONGEST_DELAY_MICROSECONDS) {
      this.report([...this.path, key], `${text} is more than ${LONGEST_DELAY_MICROSECONDS / 1e6}s`);
    }
    return microseconds;
  }

  /** From 0 to 1. */
  private percentage(key: "loss" | "lossCorrelation" | "duplicate" | "corrupt" | "reorder"): number {
    const text = this.settings[key];
    if (text === undefined) return 0;
    const share = Number(text.slice(0, -1)) / 100;
    if (share > 1) this.report([...this.path, key], `${text} is more than 100%`);
    return share;
  }

  /** Bits per second. */
  private rate(): number {
    const text = this.settings.rate;
    if (text === undefined) return 0;
    const [, number, prefix = "", unit] = /^([0-9.]+)([kmgt]i?)?(bit|bps)$/.exec(text) as unknown as string[];
    const bits = Number(number) * RATE_PREFIXES[prefix] * (unit === "bps" ? 8 : 1);
    if (bits < LEAST_RATE || bits > LARGEST_RATE) {
      this.report([...this.path, "rate"], `${text} is not from 1kbit to 1tbit`);
    }
    return bits;
  }
}
