/** The event stream with a router of cardboard: topics, slow readers, and that nothing is left behind. */
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, it, vi } from "vitest";
import type { RecordedEvent } from "../../src/conntrack/events.ts";
import { FLOW_WORDS } from "../../src/conntrack/flow_layout.ts";
import { dropsBetween, type LinkEvent, streamEvents } from "../../src/control/events_api.ts";
import type { FlowListener } from "../../src/control/flow_events.ts";
import type { HistoryEntry } from "../../src/control/history.ts";
import type { RunningRouter } from "../../src/control/router.ts";
import type { DataplaneEvent } from "../../src/control/supervisor.ts";

class Answer extends EventEmitter {
  text = "";
  writableLength = 0;
  readonly headers: Record<string, string> = {};
  setHeader(name: string, value: string): void {
    this.headers[name] = value;
  }
  flushHeaders(): void {
    this.emit("head");
  }
  write(text: string): boolean {
    this.text += text;
    return true;
  }

  get events(): string[] {
    return [...this.text.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].map(([, name, data]) => `${name} ${data}`);
  }
}

class CardboardRouter {
  readonly flowListeners = new Set<FlowListener>();
  readonly portListeners = new Set<(event: LinkEvent) => void>();
  readonly dataplaneListeners = new Set<(event: DataplaneEvent) => void>();
  readonly changes = { listeners: new Set<(entry: HistoryEntry) => void>() };
  readonly flowEvents = {
    add: async (listener: FlowListener) => void this.flowListeners.add(listener),
    remove: async (listener: FlowListener) => void this.flowListeners.delete(listener),
  };
  dropped = 0;
  async show() {
    return [
      { reason: "routed", text: "", outcome: "done", count: 100 * this.dropped },
      { reason: "no-route", text: "", outcome: "dropped", count: this.dropped++ },
    ];
  }
  fail(): void {
    for (const listener of this.portListeners) listener({ port: "c1", state: "failed", why: "gone" });
  }
  get listeners(): number {
    return (
      this.flowListeners.size + this.portListeners.size + this.changes.listeners.size + this.dataplaneListeners.size
    );
  }
}

async function listen(query = ""): Promise<{ router: CardboardRouter; answer: Answer; end: () => Promise<void> }> {
  const router = new CardboardRouter();
  const answer = new Answer();
  const head = new Promise((resolve) => answer.once("head", resolve));
  const asked = { url: `/v1/events${query}` } as IncomingMessage;
  const done = streamEvents(router as unknown as RunningRouter, asked, answer as unknown as ServerResponse);
  await Promise.race([head, done]);
  const end = async (): Promise<void> => {
    answer.emit("close");
    await done;
  };
  return { router, answer, end };
}

const FLOW = { kind: 1, seconds: 1, microseconds: 0, now: 0, words: new Int32Array(FLOW_WORDS), base: 0 };

describe("the event stream", () => {
  it("tells all topics unless some are asked for, and leaves nothing behind", async () => {
    const { router, answer, end } = await listen();
    expect(answer.headers["content-type"]).toBe("text/event-stream");
    expect(router.listeners).toBe(4);
    router.fail();
    for (const listener of router.changes.listeners) listener({ number: 2 } as HistoryEntry);
    for (const listener of router.flowListeners) listener.event(FLOW as RecordedEvent);
    for (const listener of router.dataplaneListeners) listener({ state: "ended", why: "SIGKILL", againInMs: 0 });
    expect(answer.events.map((event) => event.slice(0, 30))).toEqual([
      'link {"port":"c1","state":"fai',
      'change {"number":2}',
      'flow {"event":"NEW","seconds":',
      'dataplane {"state":"ended","wh',
    ]);
    await end();
    expect(router.listeners).toBe(0);

    const some = await listen("?topics=links,changes");
    expect([some.router.flowListeners.size, some.router.listeners]).toEqual([0, 2]);
    await some.end();
  });

  it("tells every second what was dropped meanwhile", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    try {
      const { router, answer, end } = await listen("?topics=drops");
      router.dropped = 11;
      await vi.advanceTimersByTimeAsync(1000);
      expect(answer.events).toEqual(['drops {"seconds":1,"drops":[{"reason":"no-route","count":11,"perSecond":11}]}']);
      await end();
      await vi.advanceTimersByTimeAsync(5000);
      expect(answer.events).toHaveLength(1);
    } finally {
      vi.useRealTimers();
    }
    const row = { reason: "no-route", text: "", outcome: "dropped", count: 3, stage: "" } as const;
    expect(dropsBetween({ at: 0, rows: [row] }, { at: 500, rows: [row] })).toEqual({ seconds: 0.5, drops: [] });
  });

  it("keeps nothing for a reader who does not read, and says how much he has missed", async () => {
    const { router, answer, end } = await listen("?topics=links,flows");
    router.fail();
    answer.writableLength = 2 << 20;
    for (let i = 0; i < 1000; i++) router.fail();
    for (const listener of router.flowListeners) listener.lost(5);
    expect(answer.events).toHaveLength(1);
    answer.writableLength = 0;
    answer.emit("drain");
    router.fail();
    expect(answer.events.map((event) => event.slice(0, 16))).toEqual([
      'link {"port":"c1',
      'lost {"lost":100',
      'link {"port":"c1',
    ]);
    expect(answer.text).toContain('{"lost":1005}');
    await end();
  });

  it.each(["?topics=cats", "?topics=flows&proto=cats", "?kinds=CATS"])(
    "refuses %s, and listens to nothing",
    async (query) => {
      await expect(listen(query)).rejects.toMatchObject({ exitCode: 2 });
    },
  );
});
