import { describe, expect, it } from "vitest";
import { buildPrograms } from "../../bench/build.ts";
import { cable } from "../../bench/engines/bare.ts";
import { sendDatagrams } from "../../bench/measures/datagrams.ts";
import { World } from "../../bench/topology.ts";
import { requireSystem } from "../support/netns.ts";

/** Ethernet, IPv4 and UDP. */
const HEADERS = 14 + 20 + 8;
const REPEATS = 100;

describe.skipIf(!requireSystem(["nft", "cc", "make"], "the bench's generator"))("the bench's generator", () => {
  async function send(size: number | "imix", count: number): Promise<{ received: number; bytes: number }> {
    buildPrograms();
    const world = new World();
    try {
      const running = await cable.start(world, { cpu: undefined, flows: 1 });
      const context = { world, running, quick: true, loadCpu: undefined, sinkCpu: undefined };
      const trial = await sendDatagrams(context, { flows: 7, size, count, pps: 20_000, milliseconds: 20_000 });
      expect(trial.problems).toEqual([]);
      return trial;
    } finally {
      world.remove();
    }
  }

  it("mixes frames of 60, 590 and 1514 bytes 7:4:1", async () => {
    const { received, bytes } = await send("imix", 12 * REPEATS);
    expect(received).toBe(12 * REPEATS);
    expect(bytes).toBe(REPEATS * (7 * 60 + 4 * 590 + 1514 - 12 * HEADERS));
  });

  it("sends frames of one size", async () => {
    expect(await send(512, 100)).toMatchObject({ received: 100, bytes: 100 * (512 - HEADERS) });
  });
});
