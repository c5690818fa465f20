/** The hot path allocates nothing: a million frames after warm-up do not grow the heap. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { ethernet, tcp, udp } from "../support/frames.ts";
import { C1_MAC, GATEWAY_MAC, SERVER_MAC, TestRouter, UPLINK_MAC } from "../support/router.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const BURST = 64;
const FRAMES = 1_000_000;

/** Hands out the same frames for ever, without allocating. */
function replay(r: TestRouter, frames: { port: number; bytes: Uint8Array }[]): void {
  const { arena, io } = r;
  io.receive = () => {
    for (let i = 0; i < BURST; i++) {
      const { port, bytes } = frames[i % frames.length];
      const slot = arena.take();
      arena.bytes.set(bytes, arena.frames[slot].at);
      arena.slotLength[slot] = bytes.length;
      io.receivedSlot[i] = slot;
      io.receivedPort[i] = port;
    }
    return BURST;
  };
}

describe("the hot path", () => {
  it("grows the heap by nothing over a million frames", () => {
    const r = new TestRouter();
    r.introduce();
    r.io.keepSent = false;
    const out = { source: "10.55.66.2", destination: "203.0.113.2" };
    const back = { source: "203.0.113.2", destination: "203.0.113.1" };
    const inward = (packet: Uint8Array) => ({ port: 2, bytes: ethernet(UPLINK_MAC, SERVER_MAC, 0x0800, packet) });
    const outward = (packet: Uint8Array) => ({ port: 0, bytes: ethernet(GATEWAY_MAC, C1_MAC, 0x0800, packet) });
    replay(r, [
      outward(udp(out, 4000, 53, new Uint8Array(18))),
      inward(udp(back, 53, 4000, new Uint8Array(18))),
      outward(tcp(out, 5000, 80, { flags: "S", sequence: 1 })),
      inward(tcp(back, 80, 5000, { flags: "SA", sequence: 1, acknowledgement: 2 })),
      outward(tcp(out, 5000, 80, { flags: "A", sequence: 2, acknowledgement: 2 })),
    ]);
    const run = (frames: number): void => {
      for (let i = 0; i < frames; i += BURST) r.loop.turn(0);
    };
    run(FRAMES / 2);
    collect();
    const before = process.memoryUsage().heapUsed;
    run(FRAMES);
    // Not collected in between: a single object for each frame would show as 16 MB and more.
    const grown = process.memoryUsage().heapUsed - before;
    expect(grown).toBeLessThan(FRAMES / 2);
    expect(r.stopped("routed")).toBeGreaterThan(FRAMES);
  }, 120_000);
});
