/** A dataplane that is alone, and whoever comes to its socket: next control processes, and others. */
import { fstatSync, openSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { HandOver } from "../../src/dataplane/hand_over.ts";
import { Channel } from "../../src/io/channel.ts";
import { native } from "../../src/io/native.ts";
import { onCleanup, temporaryFolder } from "../support/netns.ts";

const USER = process.geteuid?.() ?? 0;

function fileDescriptor(): number {
  return openSync("/dev/null", "r");
}

function inode(fd: number): string {
  const { dev, ino } = fstatSync(fd);
  return `${dev} ${ino}`;
}

function memory(name: string): number {
  return native().createMemory(name, 4096).fd;
}

/** A hand-over with `ports` devices, and what the loop would do: `serve` as long as something is to be done. */
function alone(ports = 2, user = USER) {
  const path = join(temporaryFolder(), "place");
  const [flows, counters] = [memory("flows"), memory("counters")];
  const devices = new Map(Array.from({ length: ports }, (_, port) => [port * 2, fileDescriptor()]));
  const handOver = new HandOver({ listener: native().listenAt(path), memory: [flows, counters], devices, user });
  const watched: number[] = [];
  handOver.open((fd) => watched.push(fd));
  return { path, handOver, watched, flows, counters, devices };
}

function guest(path: string): { fd: number; channel: Channel } {
  const fd = native().connectTo(path);
  onCleanup(() => {
    try {
      native().closeDescriptor(fd);
    } catch {
      // The test has closed it.
    }
  });
  return { fd, channel: new Channel(native(), fd) };
}

function answerOf(channel: Channel) {
  const received = channel.receive();
  if (received === null || received === "closed") throw new Error(`no answer: ${received}`);
  return received as { message: { id: number; result: unknown }; descriptors: number[] };
}

describe("handing over", () => {
  it("gives memory, socket and estate, and goes on until it is told to stop", () => {
    const { path, handOver, flows, counters } = alone();
    handOver.keepEstate(memory("old"));
    const estate = memory("new");
    const wanted = [flows, counters].map(inode).concat(inode(estate));
    handOver.keepEstate(estate);
    const { channel } = guest(path);
    channel.send({ id: 7, type: "describe" });
    expect(handOver.serve()).toBe(false);
    const { message, descriptors } = answerOf(channel);
    expect(message).toEqual({ id: 7, ok: true, result: { pid: process.pid, hasEstate: true } });
    expect([descriptors[0], descriptors[1], descriptors[3]].map(inode)).toEqual(wanted);
    expect(fstatSync(descriptors[2]).isSocket()).toBe(true);
    channel.send({ id: 8, type: "stop" });
    expect(handOver.serve()).toBe(true);
    expect(answerOf(channel).message).toEqual({ id: 8, ok: true, result: {} });
  });

  it("says that there is no estate", () => {
    const { path, handOver } = alone();
    const { channel } = guest(path);
    channel.send({ id: 1, type: "describe" });
    handOver.serve();
    const { message, descriptors } = answerOf(channel);
    expect(message.result).toEqual({ pid: process.pid, hasEstate: false });
    expect(descriptors).toHaveLength(3);
  });

  it("gives more devices than one message can carry, each with its port", () => {
    const { path, handOver, devices } = alone(300);
    const { channel } = guest(path);
    const got: number[] = [];
    for (let from = 0; from >= 0; ) {
      channel.send({ id: 1, type: "ports", from });
      handOver.serve();
      const { message, descriptors } = answerOf(channel);
      const { ports, next } = message.result as { ports: number[]; next: number };
      expect(descriptors).toHaveLength(ports.length);
      for (const fd of descriptors) native().closeDescriptor(fd);
      got.push(...ports);
      from = next;
    }
    expect(got).toEqual([...devices.keys()]);
  });

  it("sends away who speaks nonsense, and serves the next", () => {
    const { path, handOver } = alone();
    for (const nonsense of ["{", "null", "7", '{"id":1,"type":"format-disk"}', "\u0000"]) {
      const { fd } = guest(path);
      native().sendMessage(fd, Buffer.from(nonsense), [fd]);
      expect(handOver.serve()).toBe(false);
      expect(native().receiveMessage(fd)).toBe("closed");
    }
    const { channel } = guest(path);
    channel.send({ id: 1, type: "ports", from: 0 });
    expect(handOver.serve()).toBe(false);
    expect(answerOf(channel).message.result).toEqual({ ports: [0, 2], next: -1 });
  });

  it("serves several, goes on when one dies in the middle, and lets the newest in when it is full", () => {
    const { path, handOver, watched } = alone();
    const silent = Array.from({ length: 4 }, () => guest(path));
    expect(handOver.serve()).toBe(false);
    silent[3].channel.send({ id: 1, type: "describe" });
    handOver.serve();
    native().closeDescriptor(silent[3].fd);
    expect(handOver.serve()).toBe(false);
    const late = [guest(path), guest(path)];
    for (const { channel } of late) channel.send({ id: 2, type: "ports", from: 9 });
    handOver.serve();
    for (const { channel } of late) expect(answerOf(channel).message.result).toEqual({ ports: [], next: -1 });
    expect(native().receiveMessage(silent[0].fd)).toBe("closed");
    expect(native().receiveMessage(silent[1].fd)).toBe(null);
    expect(watched).toHaveLength(1 + 6);
  });

  it("sends away who does not read its answers", () => {
    const { path, handOver } = alone();
    const { fd, channel } = guest(path);
    for (let asked = 0; asked < 5_000; asked++) {
      try {
        if (!native().sendMessage(fd, Buffer.from('{"id":1,"type":"ports","from":9}'), [])) break;
      } catch {
        break;
      }
      handOver.serve();
    }
    let last = channel.receive();
    while (last !== null && last !== "closed") last = channel.receive();
    expect(last).toBe("closed");
  });

  it("lets nobody of another user in", () => {
    const { path, handOver } = alone(2, USER + 1);
    const { fd, channel } = guest(path);
    channel.send({ id: 1, type: "stop" });
    expect(handOver.serve()).toBe(false);
    expect(native().receiveMessage(fd)).toBe("closed");
  });
});
