/** The supervision of the dataplane, with processes of cardboard and a clock that the test moves. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { DataplaneEvents } from "../../src/control/dataplane_process.ts";
import { DataplaneDownError } from "../../src/control/errors.ts";
import { type Dataplane, type DataplaneEvent, Supervisor } from "../../src/control/supervisor.ts";

class CardboardDataplane {
  readonly pid: number;
  readonly asked: string[] = [];
  killedFor: string | undefined;
  isStopped = false;
  private readonly events: DataplaneEvents;

  constructor(pid: number, events: DataplaneEvents) {
    this.pid = pid;
    this.events = events;
  }
  async request({ type }: { type: string }): Promise<unknown> {
    this.asked.push(type);
    return this.pid;
  }
  kill(reason: string): void {
    this.killedFor = reason;
    this.die(reason);
  }
  async stop(): Promise<void> {
    this.isStopped = true;
  }
  die(reason = "SIGKILL"): void {
    this.events.died(reason);
  }
}

function supervised() {
  const made: CardboardDataplane[] = [];
  const logged: string[] = [];
  const events: DataplaneEvent[] = [];
  const revived: number[] = [];
  const state = { clock: 0, ticks: true, fails: 0 };
  const supervisor = new Supervisor(
    {
      spawn: (told) => {
        const dataplane = new CardboardDataplane(made.length + 1, told);
        made.push(dataplane);
        return dataplane as unknown as Dataplane;
      },
      notice: () => {},
      log: (_, message) => void logged.push(message),
      revive: async ({ pid }) => {
        revived.push(pid as number);
        if (state.fails-- > 0) throw new Error("no room");
        return "all goes on";
      },
      changed: (event) => void events.push(event),
    },
    () => (state.ticks ? state.clock++ : state.clock),
  );
  supervisor.supervise();
  return { made, logged, events, revived, state, supervisor };
}

const show = { type: "show", table: "stats" } as const;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

describe("the supervision of the dataplane", () => {
  it("has the process that stands by take the place of one that has ended, and another one stand by", async () => {
    const { made, logged, events, revived, supervisor } = supervised();
    await vi.advanceTimersByTimeAsync(3000);
    expect(made.length).toBe(2);
    made[0].die();
    await vi.advanceTimersByTimeAsync(0);
    expect(revived).toEqual([2]);
    expect(supervisor.pid).toBe(2);
    expect(logged).toEqual([
      "the dataplane has ended (SIGKILL): another one takes its place",
      "the dataplane works again after 0 ms: all goes on",
    ]);
    expect(events).toEqual([
      { state: "ended", why: "SIGKILL", againInMs: 0 },
      { state: "started", gapMs: 0 },
    ]);
    await vi.advanceTimersByTimeAsync(3000);
    expect(made.length).toBe(3);
  });

  it("has none stand by with TAPIR_STANDBY=0, and still puts one in the place of one that has ended", async () => {
    vi.stubEnv("TAPIR_STANDBY", "0");
    const { made, revived } = supervised();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(made.length).toBe(1);
    made[0].die();
    await vi.advanceTimersByTimeAsync(0);
    expect(revived).toEqual([2]);
  });

  it("makes a process where none stands by yet", async () => {
    const { made, revived } = supervised();
    made[0].die();
    await vi.advanceTimersByTimeAsync(0);
    expect([made.length, revived]).toEqual([2, [2]]);
  });

  it("waits longer each time, until a minute has been quiet", async () => {
    const { made, events } = supervised();
    const dieAgain = async (): Promise<void> => {
      made.at(-1)?.die();
      await vi.advanceTimersByTimeAsync(5000);
    };
    // What stands by is not there yet when the next one dies: the last that was made is the one that works.
    for (let times = 0; times < 6; times++) {
      made.find(({ pid }) => pid === made.length)?.die();
      await vi.advanceTimersByTimeAsync(1);
      await vi.advanceTimersByTimeAsync(events.at(-1)?.againInMs ?? 0);
    }
    expect(events.flatMap(({ againInMs }) => againInMs ?? [])).toEqual([0, 100, 500, 1000, 5000, 5000]);
    await vi.advanceTimersByTimeAsync(61_000);
    made.at(-2)?.die();
    await dieAgain();
    expect(events.findLast(({ state }) => state === "ended")?.againInMs).toBe(0);
  });

  it("tries again, later, when the other one cannot be started", async () => {
    const { made, logged, state, revived, supervisor } = supervised();
    state.fails = 1;
    made[0].die();
    await vi.advanceTimersByTimeAsync(0);
    expect(made[1].killedFor).toBe("it could not be started");
    expect(logged.at(-1)).toBe(
      "the dataplane has ended (no room), for the 2nd time in a row: the next one starts in 100 ms",
    );
    await vi.advanceTimersByTimeAsync(100);
    expect([revived, supervisor.pid]).toEqual([[2, 3], 3]);
  });

  it("keeps requests for the next one, for a while, and then says why there is none", async () => {
    const { made, state, supervisor } = supervised();
    state.fails = 4;
    made[0].die();
    const early = supervisor.request(show);
    const failed = expect(early).rejects.toThrow(
      new DataplaneDownError("the dataplane has ended (no room) and is being started again"),
    );
    await vi.advanceTimersByTimeAsync(3000);
    await failed;
    const late = expect(supervisor.request(show)).rejects.toBeInstanceOf(DataplaneDownError);
    await vi.advanceTimersByTimeAsync(5000);
    await expect(supervisor.request(show)).resolves.toBe(made.length);
    await late;
  });

  it("ends one whose clock stands still for ten seconds", async () => {
    const { made, state, revived } = supervised();
    await vi.advanceTimersByTimeAsync(4000);
    state.ticks = false;
    await vi.advanceTimersByTimeAsync(9000);
    expect(made[0].killedFor).toBeUndefined();
    await vi.advanceTimersByTimeAsync(2000);
    expect(made[0].killedFor).toBe("it has hung for 10 s");
    expect(revived).toEqual([2]);
  });

  it("starts nothing once the router is ending", async () => {
    const { made, revived, supervisor } = supervised();
    await vi.advanceTimersByTimeAsync(3000);
    supervisor.retire();
    made[0].die();
    await vi.advanceTimersByTimeAsync(10_000);
    expect([made.length, revived]).toEqual([2, []]);
    await supervisor.stop();
    expect(made.map(({ isStopped }) => isStopped)).toEqual([true, true]);
  });
});
