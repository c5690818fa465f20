/** What Tapir is to reach, and whether a run shows it. */
import { type Results, type Row, ratioOf, summaryOf } from "../results.ts";
import { pairedRatios, type Summary, summarise } from "../statistics.ts";

export interface Goal {
  readonly title: string;
  readonly measure: string;
  /** The worst of these counts. */
  readonly cases: readonly string[];
  readonly metric: string;
  /** "tapir", or "memory" for code without devices. */
  readonly engine: string;
  /** Divided by this engine's value; absent: the value itself counts. */
  readonly against?: string;
  /** Divided by the same engine's value of another case. */
  readonly againstCase?: string;
  readonly unit: string;
  readonly floor: number;
  readonly goal: number;
  readonly better: "higher" | "lower";
  /** Rounds without which there is no verdict. */
  readonly fewestRounds: number;
}

/** Wider than this, a median says little: the machine was not quiet. */
export const WIDEST_SPREAD = 0.2;
const FEWEST_ROUNDS = 3;

const higher = { better: "higher", fewestRounds: FEWEST_ROUNDS } as const;
const lower = { better: "lower", fewestRounds: FEWEST_ROUNDS } as const;
/** Code in memory is measured several times over within a round, and what is counted needs no second round. */
const once = { fewestRounds: 1 } as const;

const BULK = ["1 stream up", "4 streams up", "1 stream down", "4 streams down"];
const bulk = {
  ...higher,
  measure: "tcp-bulk",
  cases: BULK,
  metric: "rate",
  engine: "tapir",
  unit: "x",
};
const small = {
  ...higher,
  measure: "small-frames",
  cases: ["10 000 flows"],
  metric: "rate",
  engine: "tapir",
  unit: "x",
};
const ping = {
  ...lower,
  measure: "latency",
  cases: ["1 000 a second"],
  engine: "tapir",
  against: "forwarder",
  unit: "x",
};
const pipeline = {
  ...higher,
  ...once,
  measure: "pipeline",
  metric: "rate",
  engine: "memory",
  unit: "Mpps",
};
const lpm = { ...once, measure: "lpm", cases: ["1 000 000 routes"], engine: "memory" };
const manyRules = {
  ...higher,
  measure: "rules",
  metric: "rate",
  engine: "tapir-10000-rules",
  against: "tapir",
  unit: "x",
};

export const GOALS: readonly Goal[] = [
  {
    ...small,
    title: "Small frames, 10 000 flows, against the C forwarder",
    against: "forwarder",
    floor: 0.85,
    goal: 0.95,
  },
  { ...small, title: "The same against kernel NAT", against: "kernel", floor: 1.4, goal: 1.65 },
  {
    ...higher,
    title: "One flow of small datagrams, against kernel NAT",
    measure: "one-flow",
    cases: ["counted on the device"],
    metric: "rate",
    engine: "tapir",
    against: "kernel",
    unit: "x",
    floor: 1.5,
    goal: 2.5,
  },
  { ...bulk, title: "TCP bulk against the C forwarder, worst of four", against: "forwarder", floor: 0.95, goal: 1.1 },
  { ...bulk, title: "TCP bulk against kernel NAT, worst of four", against: "kernel", floor: 0.55, goal: 0.8 },
  {
    ...bulk,
    // Far off: one trial of each start.
    fewestRounds: 2,
    title: "TCP bulk against slirp4netns, worst of four",
    against: "slirp4netns",
    floor: 3,
    goal: 4,
  },
  {
    ...higher,
    title: "Small frames of 1 000 000 flows against 1 000",
    measure: "many-flows",
    cases: ["1 000 000 flows"],
    metric: "rate",
    engine: "tapir",
    againstCase: "1 000 flows",
    unit: "x",
    floor: 0.6,
    goal: 0.6,
  },
  {
    ...higher,
    title: "New UDP flows against kernel NAT",
    measure: "new-flows",
    cases: ["every datagram"],
    metric: "rate",
    engine: "tapir",
    against: "kernel",
    unit: "x",
    floor: 1.5,
    goal: 2.5,
  },
  {
    ...higher,
    title: "TCP connect, request, close against kernel NAT",
    measure: "tcp-requests",
    cases: ["64 at once"],
    metric: "rate",
    engine: "tapir",
    against: "kernel",
    unit: "x",
    floor: 0.8,
    goal: 1,
  },
  { ...ping, title: "Latency against the C forwarder, p50", metric: "p50", floor: 1.2, goal: 1.05 },
  { ...ping, title: "Latency against the C forwarder, p99", metric: "p99", floor: 1.5, goal: 1.1 },
  { ...pipeline, title: "Pipeline in memory, 1 000 flows", cases: ["1 000 flows"], floor: 8, goal: 15 },
  {
    ...pipeline,
    title: "Pipeline in memory, 1 000 000 flows at random",
    cases: ["1 000 000 flows"],
    floor: 3,
    goal: 6,
  },
  {
    ...pipeline,
    title: "Memory of a flow",
    cases: ["1 000 000 flows"],
    metric: "memory of a flow",
    unit: "B",
    better: "lower",
    floor: 256,
    goal: 160,
  },
  {
    ...higher,
    ...once,
    title: "Flows held at once",
    measure: "capacity",
    cases: ["4 050 000 offered"],
    metric: "flows",
    engine: "tapir",
    unit: "M",
    floor: 1,
    goal: 4,
  },
  {
    ...lower,
    ...once,
    title: "Garbage collections under load, after warm-up",
    measure: "garbage",
    cases: ["small frames"],
    metric: "collections",
    engine: "tapir-traced",
    unit: "",
    floor: 0,
    goal: 0,
  },
  {
    ...lpm,
    title: "Longest-prefix match, 1 000 000 routes",
    metric: "look-ups",
    unit: "M/s",
    better: "higher",
    floor: 20,
    goal: 60,
  },
  { ...lpm, title: "Its memory", metric: "memory", unit: "MB", better: "lower", floor: 16, goal: 4 },
  { ...lpm, title: "Its slowest update", metric: "worst update", unit: "ms", better: "lower", floor: 1, goal: 1 },
  {
    ...lower,
    ...once,
    title: "Captures and traces that nobody uses (1 % of a small frame on TAPs at 1 Mpps: 10 ns)",
    measure: "hooks",
    cases: ["1 000 flows"],
    metric: "cost",
    engine: "memory",
    unit: "ns",
    floor: 10,
    goal: 2,
  },
  {
    ...manyRules,
    title: "10 000 rules against none, established flows",
    cases: ["established flows"],
    floor: 0.97,
    goal: 0.99,
  },
  { ...manyRules, title: "10 000 rules against none, new flows", cases: ["new flows"], floor: 0.7, goal: 0.9 },
];

export function isGoal(measure: { readonly name: string }): boolean {
  return GOALS.some((goal) => goal.measure === measure.name);
}

export interface Verdict {
  readonly goal: Goal;
  /** Of the worst case; null where something it takes was not measured. */
  readonly found: Summary | null;
  readonly worstCase: string;
  /** How many were measured. */
  readonly cases: number;
  readonly words:
    | "no verdict: too few rounds"
    | "goal reached"
    | "floor reached"
    | "below the floor"
    | "spread too wide"
    | "not measured";
}

function judgeValue(goal: Goal, value: number): Verdict["words"] {
  const isReached = (bound: number) => (goal.better === "lower" ? value <= bound : value >= bound);
  if (isReached(goal.goal)) return "goal reached";
  return isReached(goal.floor) ? "floor reached" : "below the floor";
}

/** Of a wide spread the worse end counts where it reaches the floor; one on both sides of the floor leaves no verdict. */
function judge(goal: Goal, found: Summary): Verdict["words"] {
  if (found.count < goal.fewestRounds) return "no verdict: too few rounds";
  if (found.spread <= WIDEST_SPREAD) return judgeValue(goal, found.median);
  const [worse, better] = goal.better === "lower" ? [found.high, found.low] : [found.low, found.high];
  const words = judgeValue(goal, worse);
  return words === "below the floor" && judgeValue(goal, better) !== words ? "spread too wide" : words;
}

function foundValue(goal: Goal, row: Row, results: Results): Summary | null {
  if (goal.againstCase !== undefined) {
    const other = results.of(goal.measure, goal.againstCase, goal.metric);
    return summarise(pairedRatios(row.values.get(goal.engine) ?? [], other?.values.get(goal.engine) ?? []));
  }
  return goal.against === undefined ? summaryOf(row, goal.engine) : ratioOf(row, goal.engine, goal.against);
}

/** One for each goal. */
export function verdicts(results: Results): Verdict[] {
  return GOALS.map((goal) => {
    const found = goal.cases.flatMap((name) => {
      const row = results.of(goal.measure, name, goal.metric);
      const summary = row === undefined ? null : foundValue(goal, row, results);
      return summary === null ? [] : [{ name, summary }];
    });
    if (found.length === 0) return { goal, found: null, worstCase: "", cases: 0, words: "not measured" };
    const sign = goal.better === "lower" ? -1 : 1;
    const [worst] = found.sort((a, b) => sign * (a.summary.median - b.summary.median));
    return {
      goal,
      found: worst.summary,
      worstCase: worst.name,
      cases: found.length,
      words: judge(goal, worst.summary),
    };
  });
}
