/**
 * A router that is used and disturbed for a while, and looked at before and after: does every byte arrive, does every
 * command succeed, and does nothing grow? The first part of the time is not counted: caches, heaps and compiled code get their
 * size.
 */
import { calm, DISTURBANCES, type Scene, traffic, warmUp } from "./actions.ts";
import { Dice } from "./dice.ts";
import { compare, type Measure, settled } from "./measure.ts";
import { SoakRouter } from "./router.ts";
import { Agent, addNamespace, ip, namespacesLeft, removeAll } from "./world.ts";

export interface SoakOptions {
  seconds: number;
  seed: number;
  /**
   * Names of what is done to the router, as in `DISTURBANCES`; where no dataplane is killed, its memory is compared over
   * the whole time.
   */
  disturbances: readonly string[];
  /** Takes a line of progress. */
  tell(line: string): void;
}

export interface Verdict {
  problems: string[];
  done: Record<string, number>;
  lost: number;
  again: number;
  before: Measure;
  after: Measure;
}

const RESIDENTS = 3;
const TRAFFIC_LANES = 4;
/** Part of the time before the first measure. */
const WARM_UP = 0.3;
const PROGRESS_MS = 30_000;
/** Of the router's log, with each transfer that failed. */
const LOG_LINES = 8;
/** More are not told one by one. */
const MOST_PROBLEMS = 20;

async function prepare(seed: number): Promise<Scene> {
  const outside = await addNamespace("o");
  const routerNetns = await addNamespace("r");
  await ip("-n", outside, "link", "add", "out0", "type", "veth", "peer", "name", "up0", "netns", routerNetns);
  await ip("-n", outside, "address", "add", "203.0.113.2/24", "dev", "out0");
  await ip("-n", outside, "link", "set", "out0", "up");
  await ip("-n", routerNetns, "link", "set", "up0", "up");
  const containers = [];
  for (let i = 0; i < RESIDENTS; i++) {
    containers.push({ name: `c${i}`, netns: await addNamespace(`c${i}`), address: `10.55.66.${i + 2}` });
  }
  const router = await SoakRouter.start(routerNetns, { containers: [...containers], closed: [] });
  await Agent.start(outside, "serve");
  const residents = [];
  for (const container of containers) residents.push({ container, agent: await Agent.start(container.netns, "talk") });
  return { dice: new Dice(seed), router, routerNetns, residents, visitors: [], visits: 0, lost: 0, again: 0 };
}

/** Counts what was done, and what went wrong. */
class Book {
  readonly done: Record<string, number> = {};
  readonly problems: string[] = [];
  private others = 0;
  private readonly tell: (line: string) => void;

  constructor(tell: (line: string) => void) {
    this.tell = tell;
  }

  note(name: string): void {
    this.done[name] = (this.done[name] ?? 0) + 1;
  }

  blame(name: string, error: Error): void {
    this.tell(`PROBLEM ${name}: ${error.message}`);
    if (this.problems.length < MOST_PROBLEMS) this.problems.push(`${name}: ${error.message}`);
    else this.problems[MOST_PROBLEMS] = `and ${++this.others} more`;
  }

  /** What the router has said last: it may have to do with the problem. */
  tellLog(log: string): void {
    for (const line of log.trimEnd().split("\n").slice(-LOG_LINES)) this.tell(`  router: ${line}`);
  }

  get line(): string {
    return Object.entries(this.done)
      .map(([name, count]) => `${count} ${name}`)
      .join(", ");
  }
}

/** Traffic and disturbances for so long; nothing is on its way when it returns. */
async function churn(scene: Scene, book: Book, seconds: number, names: readonly string[]): Promise<void> {
  const until = Date.now() + seconds * 1000;
  const isOver = (): boolean => Date.now() >= until || scene.router.hasEnded;
  const lane = async (body: () => Promise<string>): Promise<void> => {
    while (!isOver()) {
      try {
        book.note(await body());
      } catch (error) {
        book.blame("traffic", error as Error);
        book.tellLog(scene.router.log);
      }
    }
  };
  const disturb = async (): Promise<void> => {
    while (!isOver()) {
      const name = scene.dice.pick(names);
      try {
        await DISTURBANCES[name](scene);
        book.note(name);
      } catch (error) {
        book.blame(name, error as Error);
      }
    }
  };
  await Promise.all([...Array.from({ length: TRAFFIC_LANES }, () => lane(() => traffic(scene))), disturb()]);
}

/** Runs the soak; whatever it made is gone when it returns or throws. */
export async function soak({ seconds, seed, disturbances, tell }: SoakOptions): Promise<Verdict> {
  const book = new Book(tell);
  const timer = setInterval(() => tell(book.line), PROGRESS_MS);
  try {
    const scene = await prepare(seed);
    await warmUp(scene);
    await churn(scene, book, seconds * WARM_UP, disturbances);
    await calm(scene);
    const before = await settled(scene.router);
    await churn(scene, book, seconds * (1 - WARM_UP), disturbances);
    if (scene.router.hasEnded) throw new Error(`the router has ended:\n${scene.router.log}`);
    await calm(scene);
    const after = await settled(scene.router, (measure) => compare(before, measure).length === 0);
    const problems = [...book.problems, ...compare(before, after)];
    const status = await scene.router.stop();
    if (status !== 0) problems.push(`the router ended with ${status}`);
    return { problems, done: book.done, lost: scene.lost, again: scene.again, before, after };
  } finally {
    clearInterval(timer);
    removeAll();
    if (namespacesLeft().length > 0) tell(`left behind: ${namespacesLeft().join(", ")}`);
  }
}
