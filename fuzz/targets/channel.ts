/** Packets on the socket between the two processes: whatever is no message is passed over, and no descriptor is lost. */
import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";
import { Channel } from "../../src/io/channel.ts";
import { native } from "../../src/io/native.ts";
import { mutateText, shrinkText } from "../mutate_text.ts";
import { insist, refusing, type Target } from "../target.ts";

interface Packet {
  text: string;
  descriptors: number;
  /** Bytes of memory whose descriptor comes first; absent: none does. */
  memory?: number;
}

const SEEDS = [
  '{"id":1,"type":"show","table":"fdb"}',
  '{"inMemory":40}',
  '{"inMemory":-1}',
  '{"inMemory":1e300}',
  '{"inMemory":"x"}',
  '{"inMemory":null}',
  '{"notice":"log","level":"info","message":"m"}',
  "[1,2]",
  "null",
  "5",
  '"text"',
];

/** Open descriptors of what a case hands over: other threads open and close theirs. */
function openDescriptors(): number {
  return readdirSync("/proc/self/fd").filter((name) => {
    const link = refusing([Error], () => readlinkSync(`/proc/self/fd/${name}`)) ?? "";
    return link.startsWith("/memfd:tapir-fuzz") || link === "/dev/null";
  }).length;
}

function run(packets: readonly Packet[]): string[] {
  const before = openDescriptors();
  const [left, right] = native().socketPair();
  const channel = new Channel(native(), right);
  const reached: string[] = [];
  const null_ = openSync("/dev/null", "r");
  try {
    for (const { text, descriptors, memory } of packets) {
      const made = memory === undefined ? undefined : native().createMemory("tapir-fuzz", memory);
      if (made !== undefined)
        new Uint8Array(made.memory).fill(0x20).set(new TextEncoder().encode('{"a":1}').subarray(0, memory));
      const fds = [...(made === undefined ? [] : [made.fd]), ...Array.from({ length: descriptors }, () => null_)];
      native().sendMessage(left, new TextEncoder().encode(text), fds);
      if (made !== undefined) native().closeDescriptor(made.fd);
      const received = channel.receive();
      if (received === null || received === "closed") {
        reached.push(String(received));
        continue;
      }
      insist(typeof received.message === "object" && received.message !== null, () => "a message that is none");
      insist(!Array.isArray(received.message), () => "a list as a message");
      received.descriptors.forEach(closeSync);
      reached.push(`message ${received.descriptors.length}`);
    }
    native().sendMessage(left, new TextEncoder().encode('{"last":true}'), []);
    const last = channel.receive();
    insist(last !== null && last !== "closed", () => "a good message is not heard any more");
  } finally {
    closeSync(null_);
    native().closeDescriptor(left);
    native().closeDescriptor(right);
  }
  insist(openDescriptors() === before, () => `${openDescriptors() - before} descriptors are lost`);
  return reached;
}

export const CHANNEL: Target<Packet[]> = {
  name: "channel",
  about: "messages between the two processes",
  generate: (dice) =>
    Array.from({ length: 1 + dice.below(4) }, () => ({
      // The socket carries no empty packets.
      text: mutateText(dice, SEEDS, 3) || " ",
      descriptors: dice.below(3),
      ...(dice.once(3) ? { memory: dice.pick([1, 7, 40, 4096]) } : {}),
    })),
  run,
  *shrink(packets) {
    for (const [at, packet] of packets.entries()) {
      yield packets.toSpliced(at, 1);
      if (packet.descriptors > 0) yield packets.with(at, { ...packet, descriptors: 0 });
      for (const text of shrinkText(packet.text)) if (text !== "") yield packets.with(at, { ...packet, text });
    }
  },
};
