/** The channel between the two processes, over the addon's sockets. */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Channel, type ChannelMessage } from "../../src/io/channel.ts";
import { native } from "../../src/io/native.ts";

function pair(): { left: Channel; right: Channel; close: (side: 0 | 1) => void } {
  const fds = native().socketPair();
  const open = new Set(fds);
  const close = (fd: number): void => {
    if (open.delete(fd)) native().closeDescriptor(fd);
  };
  onTestFinished(() => fds.forEach(close));
  return {
    left: new Channel(native(), fds[0]),
    right: new Channel(native(), fds[1]),
    close: (side) => close(fds[side]),
  };
}

const receive = native().receiveMessage;
const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

function must(received: ChannelMessage | null | "closed"): ChannelMessage {
  if (received === null || received === "closed") throw new Error(`no message: ${received}`);
  return received;
}

describe("a channel", () => {
  it("carries messages both ways, in order", () => {
    const { left, right } = pair();
    expect(right.receive()).toBe(null);
    for (const n of [1, 2, 3]) left.send({ n });
    right.send({ back: true });
    for (const n of [1, 2, 3]) expect(right.receive()).toEqual({ message: { n }, descriptors: [] });
    expect(right.receive()).toBe(null);
    expect(left.receive()).toEqual({ message: { back: true }, descriptors: [] });
  });

  it("hands over descriptors, which name the same file", () => {
    const { left, right } = pair();
    const own = openSync("/dev/null", "r");
    left.send({ take: "this" }, [own, own]);
    const { descriptors } = must(right.receive());
    expect(descriptors.length).toBe(2);
    expect(descriptors.map((fd) => fstatSync(fd).rdev)).toEqual([fstatSync(own).rdev, fstatSync(own).rdev]);
    for (const fd of [own, ...descriptors]) closeSync(fd);
  });

  it.each([48 * 1024 - 100, 48 * 1024 + 100, 3_000_000])("carries %i bytes of text, with a descriptor", (length) => {
    const { left, right } = pair();
    const before = openDescriptors();
    const own = openSync("/dev/null", "r");
    const text = "äb".repeat(length / 3);
    left.send({ text }, [own]);
    const { message, descriptors } = must(right.receive());
    expect((message as { text: string }).text === text).toBe(true);
    expect(descriptors.length).toBe(1);
    for (const fd of [own, ...descriptors]) closeSync(fd);
    left.close();
    expect(openDescriptors()).toBe(before);
  });

  it("sends long messages one after the other in the same memory, and in more while they are not read", () => {
    const { left, right } = pair();
    const before = openDescriptors();
    const mapped = (): number => readFileSync("/proc/self/maps", "utf8").split("memfd:tapir-message ").length;
    const text = (n: number): string => String(n).repeat(100_000);
    left.send({ text: text(0) });
    expect(must(right.receive()).message).toEqual({ text: text(0) });
    const present = mapped();
    for (let n = 1; n < 10; n++) {
      left.send({ text: text(n) });
      expect(must(right.receive()).message).toEqual({ text: text(n) });
    }
    expect(mapped()).toBe(present);
    expect(openDescriptors()).toBe(before + 1);
    for (let round = 0; round < 3; round++) {
      for (let n = 1; n < 4; n++) left.send({ text: text(n) });
      for (let n = 1; n < 4; n++) expect(must(right.receive()).message).toEqual({ text: text(n) });
    }
    expect(mapped()).toBe(present + 2);
    left.send({ text: text(1).repeat(20) });
    expect(must(right.receive()).message).toEqual({ text: text(1).repeat(20) });
    left.close();
    expect(openDescriptors()).toBe(before);
  });

  it("queues what the other end does not take, and sends it in order once it does", () => {
    const { left, right } = pair();
    const filling = "x".repeat(40_000);
    const count = 100;
    for (let n = 0; n < count; n++) left.send({ n, filling });
    expect(left.flush()).toBe(false);
    const seen: number[] = [];
    while (seen.length < count) {
      const received = right.receive();
      if (received === null) left.flush();
      else seen.push((must(received).message as { n: number }).n);
    }
    expect(seen).toEqual(Array.from({ length: count }, (_, n) => n));
    expect(left.flush()).toBe(true);
    expect(right.receive()).toBe(null);
  });

  it("says what was lost where this process may have no more descriptors", () => {
    const { left, right } = pair();
    const before = openDescriptors();
    const text = "x".repeat(100_000);
    const cut = vi.spyOn(native(), "receiveMessage").mockImplementation((fd) => {
      const received = receive(fd);
      if (received === null || received === "closed") return received;
      received.descriptors.forEach(closeSync);
      return { ...received, descriptors: [], isCut: true };
    });
    left.send({ id: 7, text });
    left.send({ id: 8, short: true }, [0]);
    expect(right.receive()).toEqual({ message: { id: 7 }, descriptors: [], lost: expect.stringContaining("EMFILE") });
    expect(right.receive()).toEqual({
      message: { id: 8, short: true },
      descriptors: [],
      lost: expect.stringContaining("EMFILE"),
    });
    cut.mockRestore();
    left.send({ id: 10, text });
    expect(right.receive()).toEqual({ message: { id: 10, text }, descriptors: [] });
    left.close();
    expect(openDescriptors()).toBe(before);
  });

  it("gives up on a peer that never reads, instead of growing for ever", () => {
    const { left } = pair();
    const filling = "x".repeat(40_000);
    expect(() => {
      for (let n = 0; n < 10_000; n++) left.send({ filling });
    }).toThrow(/does not read/);
  });

  it("says when the peer is gone, to the reader and to the writer", () => {
    const { left, right, close } = pair();
    left.send({ last: "words" });
    close(0);
    expect(must(right.receive()).message).toEqual({ last: "words" });
    expect(right.receive()).toBe("closed");
    expect(() => right.send({ anybody: "there" })).toThrow(/EPIPE/);
  });
});
