/** The flows over HTTP with a router of cardboard: filters, deletion, and a stream whose reader may be slow. */
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, it } from "vitest";
import { FlowEvent, type RecordedEvent } from "../../src/conntrack/events.ts";
import { type FlowFilter, parseFilter } from "../../src/conntrack/filter.ts";
import { FLOW_WORDS } from "../../src/conntrack/flow_layout.ts";
import { removeFlows, sendEvents, sendFlows } from "../../src/control/flow_api.ts";
import type { FlowListener, Wish } from "../../src/control/flow_events.ts";
import type { RunningRouter } from "../../src/control/router.ts";

class Answer extends EventEmitter {
  text = "";
  status = 0;
  destroyed = false;
  writableLength = 0;
  writeHead(status: number): void {
    this.status = status;
  }
  flushHeaders(): void {
    this.emit("head");
  }
  write(text: string): boolean {
    this.text += text;
    return true;
  }
  end(text: string): void {
    this.text += text;
  }
}

const asked = (url: string): IncomingMessage => ({ url }) as IncomingMessage;
const as = (answer: Answer): ServerResponse => answer as unknown as ServerResponse;

describe("flows over HTTP", () => {
  it("are those of the query's filter", async () => {
    const filters: FlowFilter[] = [];
    const router = {
      flows: {
        flows: (filter: FlowFilter) => {
          filters.push(filter);
          return [{ n: 1 }];
        },
      },
    } as unknown as RunningRouter;
    const answer = new Answer();
    await sendFlows(router, asked("/v1/flows?proto=udp&src=10.55.66.0%2F24&dport=9"), as(answer));
    expect(filters).toEqual([parseFilter({ proto: "udp", src: "10.55.66.0/24", dport: "9" })]);
    expect(JSON.parse(answer.text)).toEqual([{ n: 1 }]);
    for (const query of ["cats=1", "proto=cats", "kinds=CATS"]) {
      const refused = Promise.resolve().then(() => sendFlows(router, asked(`/v1/flows?${query}`), as(new Answer())));
      await expect(refused).rejects.toMatchObject({ exitCode: 2 });
    }
    expect(filters).toHaveLength(1);
  });

  it("are deleted and shown, or only counted", async () => {
    const router = {
      async *removeFlows() {
        yield { n: 1 };
      },
      removeFlowsQuietly: async () => 7,
    } as unknown as RunningRouter;
    const shown = new Answer();
    await removeFlows(router, asked("/v1/flows"), as(shown));
    expect(JSON.parse(shown.text)).toEqual([{ n: 1 }]);
    const counted = new Answer();
    await removeFlows(router, asked("/v1/flows?quiet"), as(counted));
    expect(JSON.parse(counted.text)).toEqual({ removed: 7 });
  });

  it("tell a slow reader how much it has missed, and forget one that has gone", async () => {
    const listeners = new Set<FlowListener>();
    let wish: Wish = {};
    const router = {
      flowEvents: {
        add: async (listener: FlowListener, wanted: Wish) => {
          wish = wanted;
          listeners.add(listener);
        },
        remove: async (listener: FlowListener) => void listeners.delete(listener),
      },
    } as unknown as RunningRouter;
    const answer = new Answer();
    const head = new Promise((resolve) => answer.once("head", resolve));
    const sent = sendEvents(router, asked("/v1/flows/events?kinds=NEW,DESTROY"), as(answer));
    await head;
    expect(wish.kinds).toBe(FlowEvent.NEW | FlowEvent.DESTROY);
    const [listener] = listeners;
    const event = { kind: 1, seconds: 1, microseconds: 0, now: 0, words: new Int32Array(FLOW_WORDS), base: 0 };
    const tell = (): void => listener.event(event as RecordedEvent);
    tell();
    answer.writableLength = 1 << 30;
    tell();
    tell();
    listener.lost(5);
    answer.writableLength = 0;
    answer.emit("drain");
    tell();
    const lines = answer.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event?: string; lost?: number });
    expect(lines.map(({ event: kind, lost }) => kind ?? lost)).toEqual(["NEW", 7, "NEW"]);
    answer.emit("close");
    await sent;
    expect(listeners.size).toBe(0);
  });
});
