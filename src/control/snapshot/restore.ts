/**
 * From a snapshot's file to flows that a new router can take. Lifetimes go on by the wall clock: the time in which there
 * was no router counts, and where the clock was set back meanwhile, none has passed. What the file says by index is
 * found again by name; flows are left behind whose network, container or address of the router's own is there no more.
 */
import { readFileSync } from "node:fs";
import { FLOW_SHIFT, FLOW_WORDS, FlowFlag, FlowWord } from "../../conntrack/flow_layout.ts";
import { PORT_BITS, PORT_MASK } from "../../dataplane/bridge_filter.ts";
import type { Restored } from "../../dataplane/messages.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import type { SystemError } from "../errors.ts";
import { addressesOf } from "../routing/on_link.ts";
import { type Contents, type Description, decodeSnapshot, type Named } from "./format.ts";

/** Flows of one message to the dataplane: what fits a packet of their channel. */
const FLOWS_AT_ONCE = 256;

export interface Outcome extends Restored {
  /** Their network, container or address is there no more. */
  homeless: number;
  /** Milliseconds between the snapshot and now. */
  ageMs: number;
}

/** The contents of a file; undefined where there is none. Throws `SnapshotError`, or what the system says. */
export function readSnapshot(path: string): Contents | undefined {
  let file: Buffer;
  try {
    file = readFileSync(path);
  } catch (error) {
    if ((error as SystemError).code === "ENOENT") return undefined;
    throw error;
  }
  return decodeSnapshot(file);
}

/** The clocks of the router that restores. */
export interface Clocks {
  wallMs: number;
  nowMs: number;
}

/** Has `take` take the flows that this router has a place for. */
export async function restoreContents(
  { description, flows }: Contents,
  resolved: ResolvedPlan,
  clocks: Clocks,
  take: (flows: string) => Promise<Restored>,
): Promise<Outcome> {
  const ageMs = Math.max(0, clocks.wallMs - description.wallMs);
  const outcome = { restored: 0, expired: 0, unsound: 0, forbidden: 0, taken: 0, noRoom: 0, homeless: 0, ageMs };
  const mover = new Mover(description, resolved, clocks.nowMs, ageMs);
  const kept = new Int32Array(FLOWS_AT_ONCE * FLOW_WORDS);
  let count = 0;
  const send = async (): Promise<void> => {
    const taken = await take(Buffer.from(kept.buffer, 0, count * FLOW_WORDS * 4).toString("base64"));
    for (const key of Object.keys(taken) as (keyof Restored)[]) outcome[key] += taken[key];
    count = 0;
  };
  for (let base = 0; base < flows.length; base += FLOW_WORDS) {
    const fate = mover.move(flows, base);
    if (fate !== undefined) {
      outcome[fate]++;
      continue;
    }
    kept.set(flows.subarray(base, base + FLOW_WORDS), count++ << FLOW_SHIFT);
    if (count === FLOWS_AT_ONCE) await send();
  }
  if (count > 0) await send();
  return outcome;
}

/** Rewrites what a flow says in terms of the former router. */
class Mover {
  private readonly description: Description;
  private readonly nowMs: number;
  private readonly ageMs: number;
  private readonly isOtherProfile: boolean;
  private readonly networks: Map<number, number>;
  private readonly ports: Map<number, number>;
  /** Addresses of the router's own, and of containers, that are there no more. */
  private readonly lostOwn: Set<number>;
  private readonly lostContainers: Set<number>;

  constructor(description: Description, resolved: ResolvedPlan, nowMs: number, ageMs: number) {
    const { plan, devices } = resolved;
    this.description = description;
    this.nowMs = nowMs;
    this.ageMs = ageMs;
    this.isOtherProfile = description.profile !== plan.conntrack.profile;
    this.networks = byName(description.interfaces, plan.interfaces);
    this.ports = byName(description.ports, plan.ports);
    const own = new Set(plan.interfaces.flatMap((each) => addressesOf(each).map(({ address }) => address)));
    // An address that is leased may be given again: it is not known yet.
    const mayCome = plan.interfaces.some(({ isLeased }) => isLeased === true);
    this.lostOwn = new Set(mayCome ? [] : description.ownAddresses.filter((address) => !own.has(address)));
    const present = new Set(devices.map(({ address }) => address?.address));
    this.lostContainers = new Set(description.containers.filter((address) => !present.has(address)));
  }

  /** What keeps a flow from being taken; undefined when it can be. */
  move(words: Int32Array, base: number): "expired" | "homeless" | undefined {
    const { description, nowMs, ageMs } = this;
    const left = ((words[base + FlowWord.DEADLINE] - description.nowMs) | 0) - ageMs;
    if (left <= 0) return "expired";
    words[base + FlowWord.DEADLINE] = (nowMs + left) | 0;
    // Wrapped, as the flow's age is wherever it is told.
    words[base + FlowWord.CREATED] = (nowMs - ((description.nowMs - words[base + FlowWord.CREATED]) | 0) - ageMs) | 0;
    const isBridged = (words[base + FlowWord.STATUS] & FlowFlag.BRIDGED) !== 0;
    if (this.isOtherProfile || this.livesByLost(words, base)) return "homeless";
    return isBridged && !this.moveBridged(words, base) ? "homeless" : undefined;
  }

  private livesByLost(words: Int32Array, base: number): boolean {
    const status = words[base + FlowWord.STATUS];
    const { lostOwn, lostContainers } = this;
    if ((status & FlowFlag.SOURCE_NAT) !== 0 && lostOwn.has(words[base + FlowWord.REPLY_DESTINATION])) return true;
    const endsAtRouter = (status & (FlowFlag.LOCAL | FlowFlag.DESTINATION_NAT)) !== 0;
    if (endsAtRouter && lostOwn.has(words[base + FlowWord.DESTINATION])) return true;
    return lostContainers.has(words[base + FlowWord.SOURCE]) || lostContainers.has(words[base + FlowWord.REPLY_SOURCE]);
  }

  /** Bridged flows remember between which ports they were admitted, and belong to their network's zone. */
  private moveBridged(words: Int32Array, base: number): boolean {
    for (const at of [base + FlowWord.ROUTE, base + FlowWord.REPLY_ROUTE]) {
      const word = words[at];
      if (word === 0) continue;
      const network = this.networks.get(word >>> 24);
      const from = this.ports.get((word >>> PORT_BITS) & PORT_MASK);
      const to = (word & PORT_MASK) === PORT_MASK ? PORT_MASK : this.ports.get(word & PORT_MASK);
      if (network === undefined || from === undefined || to === undefined) return false;
      words[at] = (network << 24) | (from << PORT_BITS) | to;
    }
    // Paths of rules that were in force then.
    words[base + FlowWord.DIFFERENCE] = 0;
    words[base + FlowWord.REPLY_DIFFERENCE] = 0;
    return words[base + FlowWord.ROUTE] !== 0;
  }
}

/** From indexes of then to those of now, for what has the same name. */
function byName(then: readonly Named[], now: readonly Named[]): Map<number, number> {
  const indexes = new Map(now.map(({ name, index }) => [name, index]));
  return new Map(then.flatMap(({ name, index }) => (indexes.has(name) ? [[index, indexes.get(name) as number]] : [])));
}

/** One line for the log. */
export function describeOutcome({ restored, ageMs, ...others }: Outcome): string {
  const REASONS: Record<keyof typeof others, string> = {
    expired: "had expired",
    homeless: "had an address, container or network that is not there any more",
    forbidden: "are refused or translated otherwise by the rules now",
    unsound: "were not consistent",
    taken: "had an end that another has",
    noRoom: "found no room",
  };
  const left = (Object.keys(REASONS) as (keyof typeof others)[]).flatMap((key) =>
    others[key] === 0 ? [] : [`${others[key]} ${REASONS[key]}`],
  );
  const seconds = Math.round(ageMs / 1000);
  return `${restored} flows are restored from a snapshot ${seconds} s old${left.length === 0 ? "" : `; ${left.join(", ")}`}`;
}
