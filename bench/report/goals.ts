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
}

/** Wider than this, a median says little: the machine was not quiet. */
export const WIDEST_SPREAD = 0.2;
const FEWEST_ROUNDS = 3;

const BULK = ["1 stream up", "4 streams up", "1 stream down", "4 streams down"];
const bulk = { measure: "tcp-bulk", cases: BULK, metric: "rate", engine: "tapir", unit: "x" };
const small = { measure: "small-frames", cases: ["10 000 flows"], metric: "rate", engine: "tapir", unit: "x" };
const ping = { measure: "latency", cases: ["1 000 a second"], engine: "tapir", against: "forwarder", unit: "x" };
const pipeline = { measure: "pipeline", metric: "rate", engine: "memory", unit: "Mpps" };
const lpm = { measure: "lpm", cases: ["1 000 000 routes"], engine: "memory" };

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
  { ...bulk, title: "TCP bulk against slirp4netns, worst of four", against: "slirp4netns", floor: 3, goal: 4 },
  {
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
    floor: 256,
    goal: 160,
  },
  { ...lpm, title: "Longest-prefix match, 1 000 000 routes", metric: "look-ups", unit: "M/s", floor: 20, goal: 60 },
  { ...lpm, title: "Its memory", metric: "memory", unit: "MB", floor: 16, goal: 4 },
  { ...lpm, title: "Its slowest update", metric: "worst update", unit: "ms", floor: 1, goal: 1 },
];

export interface Verdict {
  readonly goal: Goal;
  /** Of the worst case. */
  readonly found: Summary;
  readonly worstCase: string;
  readonly words:
    | "no verdict: too few rounds"
    | "goal reached"
    | "floor reached"
    | "below the floor"
    | "no verdict: the rounds differ too much";
}

function isLowerBetter(goal: Goal): boolean {
  return goal.floor > goal.goal || goal.metric === "worst update";
}

function judgeValue(goal: Goal, value: number): Verdict["words"] {
  const isReached = (bound: number) => (isLowerBetter(goal) ? value <= bound : value >= bound);
  if (isReached(goal.goal)) return "goal reached";
  return isReached(goal.floor) ? "floor reached" : "below the floor";
}

/** A wide spread leaves no verdict, unless the whole of it says the same. */
function judge(goal: Goal, found: Summary): Verdict["words"] {
  // Code in memory is measured several times over within a round.
  if (found.count < FEWEST_ROUNDS && goal.engine !== "memory") return "no verdict: too few rounds";
  const words = judgeValue(goal, found.median);
  const isUnanimous = judgeValue(goal, found.low) === words && judgeValue(goal, found.high) === words;
  return found.spread > WIDEST_SPREAD && !isUnanimous ? "no verdict: the rounds differ too much" : words;
}

function foundValue(goal: Goal, row: Row, results: Results): Summary | null {
  if (goal.againstCase !== undefined) {
    const other = results.of(goal.measure, goal.againstCase, goal.metric);
    return summarise(pairedRatios(row.values.get(goal.engine) ?? [], other?.values.get(goal.engine) ?? []));
  }
  return goal.against === undefined ? summaryOf(row, goal.engine) : ratioOf(row, goal.engine, goal.against);
}

/** Only of what was measured: where a case is missing there is none. */
export function verdicts(results: Results): Verdict[] {
  return GOALS.flatMap((goal) => {
    const found = goal.cases.flatMap((name) => {
      const row = results.of(goal.measure, name, goal.metric);
      const summary = row === undefined ? null : foundValue(goal, row, results);
      return summary === null ? [] : [{ name, summary }];
    });
    if (found.length < goal.cases.length) return [];
    const sign = isLowerBetter(goal) ? -1 : 1;
    const [worst] = found.sort((a, b) => sign * (a.summary.median - b.summary.median));
    return [{ goal, found: worst.summary, worstCase: worst.name, words: judge(goal, worst.summary) }];
  });
}
