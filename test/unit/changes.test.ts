/** Applying, confirming and rolling back, with a router of cardboard and a manual clock. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Changes } from "../../src/control/changes.ts";
import type { Configuration } from "../../src/control/configuration/schema.ts";
import { compareConfigurations } from "../../src/control/difference.ts";
import { type Cause, History } from "../../src/control/history.ts";

type Ports = Record<string, { netns: string; address?: string }>;

function configured(mtu: number, ports: Ports = { c1: { netns: "c1" } }): Configuration {
  return { version: 1, networks: { lab: { subnet: "10.55.66.0/24", mtu, ports } } };
}

class CardboardRouter {
  configuration = configured(1500);
  readonly changes: Changes = new Changes(this);
  readonly logged: string[] = [];
  lenient: boolean[] = [];
  fails = false;

  async change(edit: (present: Configuration) => Configuration, cause: Cause, isLenient = false): Promise<void> {
    this.changes.refuseWhilePending(cause);
    if (this.fails) throw new Error("no device");
    const before = this.configuration;
    this.configuration = edit(before);
    this.lenient.push(isLenient);
    this.changes.record(cause, compareConfigurations(before, this.configuration));
  }

  differenceTo(configuration: Configuration) {
    const actions = compareConfigurations(this.configuration, configuration);
    return { actions, opens: [], closes: [], problems: [] };
  }

  log(_: string, message: string): void {
    this.logged.push(message);
  }

  attach(name: string): Promise<void> {
    const port = { netns: name };
    return this.change(
      (present) => {
        const next = structuredClone(present);
        Object.assign(next.networks?.lab.ports ?? {}, { [name]: port });
        return next;
      },
      { source: "attach", detail: name, container: { network: "lab", name, port } },
    );
  }

  get mtu(): number | undefined {
    return this.configuration.networks?.lab.mtu;
  }
}

const sources = ({ changes }: CardboardRouter): string[] => changes.history.entries.map(({ cause }) => cause.source);

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] }));
afterEach(() => void vi.useRealTimers());

describe("changing a router", () => {
  it("notes what was in force, and what changed", async () => {
    const router = new CardboardRouter();
    await router.changes.apply({ configuration: configured(1400), file: "/etc/r.yaml" });
    await router.changes.apply({ configuration: configured(1400) });
    expect(router.changes.history.entries).toMatchObject([
      { number: 1, cause: { source: "start" } },
      { number: 2, cause: { source: "apply", detail: "/etc/r.yaml" }, summary: "1 network altered" },
    ]);
    expect(router.changes.history.configurationOf(1)).toEqual(configured(1500));
  });

  it("leaves the ports of CNI where they are", async () => {
    const router = new CardboardRouter();
    const port = { netns: "/proc/self/ns/net", cni: { network: "pods", container: "c0ffee" } };
    Object.assign(router.configuration.networks?.lab.ports ?? {}, { pod: port });
    const wish = { configuration: configured(1400, {}) };
    expect(router.changes.difference(wish).actions.map(({ path }) => path)).not.toContain("networks.lab.ports.pod");
    await router.changes.apply(wish);
    expect(router.configuration).toEqual({
      version: 1,
      networks: { lab: { subnet: "10.55.66.0/24", mtu: 1400, ports: { pod: port } } },
    });
  });

  it("refuses what is no configuration, with line and column", async () => {
    const router = new CardboardRouter();
    const text = "version: 1\nnetworks:\n  lab: { subnet: 10.55.66.0/24, mut: 1400 }\n";
    await expect(router.changes.apply({ text, file: "r.yaml" })).rejects.toMatchObject({
      exitCode: 3,
      message: expect.stringMatching(/^r\.yaml:3:\d+: networks\.lab\.mut: unknown key "mut"/),
    });
    await expect(router.changes.apply({})).rejects.toMatchObject({ exitCode: 2 });
    expect(sources(router)).toEqual(["start"]);
  });

  it("is rolled back by itself unless confirmed in time", async () => {
    const router = new CardboardRouter();
    const applied = await router.changes.apply({ configuration: configured(1400), confirmSeconds: 60 });
    expect(applied.pending).toEqual({ number: 2, secondsLeft: 60, rollbackTo: 1 });
    await vi.advanceTimersByTimeAsync(59_000);
    expect([router.mtu, router.changes.pending?.secondsLeft]).toEqual([1400, 1]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect([router.mtu, router.changes.pending]).toEqual([1500, null]);
    expect(router.changes.history.present.cause.detail).toBe("to #1, not confirmed in 60 s");
    expect(router.logged).toEqual(["change #2 was not confirmed in 60 s: rolled back"]);
    await expect(router.changes.confirm()).rejects.toThrow("no change waits");
  });

  it("stays once it is confirmed", async () => {
    const router = new CardboardRouter();
    await router.changes.apply({ configuration: configured(1400), confirmSeconds: 60 });
    await router.changes.confirm();
    await vi.advanceTimersByTimeAsync(100_000);
    expect([router.mtu, router.changes.pending]).toEqual([1400, null]);
  });

  it("does not wait for the confirmation of what changes nothing", async () => {
    const router = new CardboardRouter();
    const applied = await router.changes.apply({ configuration: configured(1500), confirmSeconds: 60 });
    expect(applied.pending).toBeNull();
  });

  it("lets only containers come and go while it waits, and they stay when it is rolled back", async () => {
    const router = new CardboardRouter();
    await router.changes.apply({ configuration: configured(1400), confirmSeconds: 60 });
    await expect(router.changes.apply({ configuration: configured(1300) })).rejects.toThrow(/#2 waits .*60 s left/);
    await expect(router.change(() => configured(1300), { source: "sighup" })).rejects.toThrow(/#2 waits/);
    await router.attach("c2");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(router.configuration).toEqual(configured(1500, { c1: { netns: "c1" }, c2: { netns: "c2" } }));
    // What was there before may be there no more: that does not hold a rollback up.
    expect(router.lenient.at(-1)).toBe(true);
  });

  it("goes back to the configuration before the last change, to any that is kept, and back again", async () => {
    const router = new CardboardRouter();
    await expect(router.changes.rollback()).rejects.toThrow("nothing to go back to");
    await router.changes.apply({ configuration: configured(1400) });
    await router.changes.apply({ configuration: configured(1300) });
    await router.attach("c2");
    await router.changes.rollback();
    expect([router.mtu, Object.keys(router.configuration.networks?.lab.ports ?? {})]).toEqual([1400, ["c1", "c2"]]);
    await router.changes.rollback();
    expect(router.mtu).toBe(1300);
    await router.changes.rollback(1);
    expect(router.mtu).toBe(1500);
    await expect(router.changes.rollback(99)).rejects.toThrow("no configuration #99 is kept");
    expect(sources(router)).toEqual(["start", "apply", "apply", "attach", "rollback", "rollback", "rollback"]);
  });

  it("leaves a container out that has no room in what it goes back to, and says so", async () => {
    const router = new CardboardRouter();
    await router.changes.apply({ configuration: configured(1400, { c1: { netns: "c1", address: "10.55.66.2" } }) });
    await router.changes.apply({ configuration: configured(1400, {}) });
    for (const [name, address] of [
      ["c2", "10.55.66.2"],
      ["c1", "10.55.66.7"],
      ["c3", "10.55.66.3"],
    ]) {
      const port = { netns: name, address };
      const ports = { ...router.configuration.networks?.lab.ports, [name]: port } as Ports;
      await router.change(() => configured(1400, ports), {
        source: "attach",
        container: { network: "lab", name, port },
      });
    }
    await router.changes.rollback(2);
    expect(router.configuration.networks?.lab.ports).toEqual({
      c1: { netns: "c1", address: "10.55.66.2" },
      c3: { netns: "c3", address: "10.55.66.3" },
    });
    expect(router.logged).toEqual(
      ["c2", "c1"].map((name) => `${name} cannot stay: its name or address is another's in configuration #2`),
    );
  });

  it("still waits after a rollback that failed, and says so when its time is over", async () => {
    const router = new CardboardRouter();
    await router.changes.apply({ configuration: configured(1400), confirmSeconds: 60 });
    router.fails = true;
    await expect(router.changes.rollback()).rejects.toThrow("no device");
    expect(router.changes.pending?.number).toBe(2);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(router.logged.at(-1)).toBe("cannot roll back: no device");
  });

  it("tells who listens, and ends with the router", async () => {
    const router = new CardboardRouter();
    const heard: number[] = [];
    router.changes.listeners.add(({ number }) => heard.push(number));
    await router.changes.apply({ configuration: configured(1400), confirmSeconds: 60 });
    router.changes.close();
    await vi.advanceTimersByTimeAsync(100_000);
    expect([router.mtu, heard]).toEqual([1400, [2]]);
  });
});

describe("the history", () => {
  it("is bounded, and never gives a number twice", () => {
    const history = new History();
    const change = { change: "add", kind: "rule", path: "x", after: "1" } as const;
    for (let i = 0; i < 200; i++) history.add({ source: "apply" }, configured(1000 + i), Array(100).fill(change));
    expect(history.entries).toHaveLength(64);
    expect(history.entries[0].number).toBe(137);
    expect(history.present).toMatchObject({ number: 200, summary: "100 rules added" });
    expect(history.present.actions).toHaveLength(50);
    expect([history.configurationOf(136), history.configurationOf(137)]).toEqual([undefined, configured(1136)]);
  });

  it("keeps fewer of large ones, but always that in force", () => {
    const history = new History();
    const large = { ...configured(1500), filler: "x".repeat(10 << 20) } as Configuration;
    for (let i = 0; i < 3; i++) history.add({ source: "apply" }, large, []);
    expect(history.entries.map(({ number }) => number)).toEqual([3]);
  });
});
