/**
 * A capture as pcapng: an interface for each hook and port (`c1:ingress`), a comment for each packet, and at the end how
 * many packets each interface has lost. Interfaces that are known are described at the beginning, so that readers know
 * at once what they read; those that come later before their first packet.
 */
import {
  type CaptureRecord,
  type CaptureRingReader,
  HOOK_NAMES,
  Hook,
  type HookName,
  RecordWord,
} from "../dataplane/capture_ring.ts";
import type { RuleSet } from "../filter/rule_set.ts";
import {
  enhancedPacket,
  interfaceDescription,
  interfaceStatistics,
  PacketFlag,
  sectionHeader,
} from "../io/pcapng_writer.ts";
import { commentOf, ruleLabels } from "./capture_comment.ts";
import type { ResolvedPlan } from "./configuration/configuration.ts";

/** Interfaces that are described before there is a packet. */
const MOST_AT_BEGINNING = 256;

const DESCRIPTIONS: Record<HookName, string> = {
  ingress: "as it came in by",
  bridge: "switched inside the network, from",
  prerouting: "for the router, before DNAT, from",
  postrouting: "routed and translated, before it leaves by",
  egress: "as it is written to",
  drop: "dropped, as it came in by",
};

const DIRECTIONS: Record<HookName, number> = {
  ingress: PacketFlag.INBOUND,
  bridge: 0,
  prerouting: PacketFlag.INBOUND,
  postrouting: PacketFlag.OUTBOUND,
  egress: PacketFlag.OUTBOUND,
  drop: PacketFlag.INBOUND,
};

interface Described {
  index: number;
  delivered: number;
  lost: number;
}

export interface CaptureFileWish {
  hooks: readonly HookName[];
  name?: string;
  expression: string;
  snapBytes: number;
}

export class CaptureFile {
  /** Packets that have been written. */
  packets = 0;
  private readonly wish: CaptureFileWish;
  private readonly ring: CaptureRingReader;
  private readonly present: () => ResolvedPlan;
  private readonly interfaces = new Map<string, Described>();
  private readonly start = Date.now() * 1000;
  private labels: { rules: RuleSet; texts: string[] } | undefined;

  constructor(wish: CaptureFileWish, ring: CaptureRingReader, present: () => ResolvedPlan) {
    this.wish = wish;
    this.ring = ring;
    this.present = present;
  }

  begin(): Uint8Array {
    const blocks = [sectionHeader("tapir capture")];
    const { ports, interfaces } = this.present().plan;
    const { name } = this.wish;
    const owner = interfaces.find((each) => each.name === name)?.index;
    const shown = ports.filter((port) => name === undefined || port.name === name || port.interface === owner);
    for (const hook of this.wish.hooks) {
      for (const port of shown) {
        if (this.interfaces.size < MOST_AT_BEGINNING) this.interfaceOf(hook, port.name, blocks);
      }
    }
    return Buffer.concat(blocks);
  }

  /** At most so many packets out of the ring, as blocks with those of their interfaces. */
  packetsOf(most: number): Uint8Array[] {
    const blocks: Uint8Array[] = [];
    for (const record of this.ring.read(most)) blocks.push(...this.packetOf(record));
    return blocks;
  }

  /** Statistics of each interface. */
  end(): Uint8Array {
    const blocks: Uint8Array[] = [];
    for (const { hook, port, count } of this.ring.losses()) {
      this.interfaceOf(HOOK_NAMES[hook], this.portName(port) ?? "other", blocks).lost = count;
    }
    const end = Date.now() * 1000;
    for (const { index, delivered, lost } of this.interfaces.values()) {
      const received = delivered + lost;
      blocks.push(
        interfaceStatistics({ interface: index, start: this.start, end, received, dropped: lost, delivered }),
      );
    }
    return Buffer.concat(blocks);
  }

  private packetOf(record: CaptureRecord): Uint8Array[] {
    const { words, at, bytes, dataAt } = record;
    const blocks: Uint8Array[] = [];
    const hook = HOOK_NAMES[words[at + RecordWord.HOOK]];
    const place = this.portName(words[at + RecordWord.PORT]) ?? this.interfaceName(words[at + RecordWord.INTERFACE]);
    const described = this.interfaceOf(hook, place, blocks);
    described.delivered++;
    this.packets++;
    const captured = words[at + RecordWord.CAPTURED];
    blocks.push(
      enhancedPacket({
        interface: described.index,
        seconds: words[at + RecordWord.SECONDS],
        microseconds: words[at + RecordWord.MICROSECONDS],
        from: bytes,
        start: dataAt,
        captured,
        length: words[at + RecordWord.LENGTH],
        flags: DIRECTIONS[hook] | (captured >= 6 ? receptionOf(bytes, dataAt) : 0),
        comment: commentOf(record, this.ruleLabels(), (port) => this.portName(port) ?? "?"),
      }),
    );
    return [Buffer.concat(blocks)];
  }

  /** The interface of a hook and a port; `blocks` gets its description if it is new. */
  private interfaceOf(hook: HookName, place: string, blocks: Uint8Array[]): Described {
    const name = `${place}:${hook}`;
    let described = this.interfaces.get(name);
    if (described === undefined) {
      described = { index: this.interfaces.size, delivered: 0, lost: 0 };
      this.interfaces.set(name, described);
      const { snapBytes, expression } = this.wish;
      const description = `${DESCRIPTIONS[hook]} ${place}`;
      blocks.push(interfaceDescription({ name, description, snapBytes, filter: expression }));
    }
    return described;
  }

  private portName(port: number): string | undefined {
    return this.present().plan.ports.find((each) => each.index === port)?.name;
  }

  private interfaceName(index: number): string {
    return this.present().plan.interfaces.find((each) => each.index === index)?.name ?? "other";
  }

  private ruleLabels(): string[] {
    const { rules } = this.present().plan;
    if (this.labels?.rules !== rules) this.labels = { rules, texts: ruleLabels(rules) };
    return this.labels.texts;
  }
}

/** epb_flags' kind of reception, by the destination's hardware address. */
function receptionOf(bytes: Uint8Array, at: number): number {
  if ((bytes[at] & 1) === 0) return PacketFlag.UNICAST;
  for (let i = 0; i < 6; i++) if (bytes[at + i] !== 0xff) return PacketFlag.MULTICAST;
  return PacketFlag.BROADCAST;
}

/** Hooks that a capture looks at unless it is told where. */
export const DEFAULT_HOOKS: readonly HookName[] = [HOOK_NAMES[Hook.INGRESS], HOOK_NAMES[Hook.EGRESS]];
