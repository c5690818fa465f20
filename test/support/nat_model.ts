/**
 * A slow and obvious model of NAT and of the flows it lives by: a list of flows, searched from end to end for each
 * question, and addresses as text. It shares no code with the router. Where the router may choose (a port out of a
 * class, an address out of a pool) the model says what it may choose from, and takes over what it chose.
 *
 * A tuple of ICMP echo has the identifier as its source port and the type (8 or 0) as its destination port.
 */
export type Protocol = "udp" | "tcp" | "icmp";

export interface Tuple {
  protocol: Protocol;
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
}

/** A packet; `flags` counts for TCP alone: SYN, SYN/ACK, or the ACK that completes the handshake. */
export interface Packet extends Tuple {
  flags: "S" | "SA" | "A";
}

export interface Choice {
  addresses: string[];
  ports?: [number, number];
  random?: boolean;
}

export interface ModelPlan {
  profile: "linux" | "bcp";
  wan: string;
  /** What sources of inside hosts become on their way out; absent: they stay. */
  source?: Choice | undefined;
  publish: { protocol: Protocol; ports: [number, number]; to: string; toPort: number }[];
}

interface Flow {
  original: Tuple;
  reply: Tuple;
  /** How the destination was translated. */
  target: "none" | "published" | "mapped";
  /** A source chosen by a rule: in `bcp` it is an endpoint-independent mapping. */
  hasChoice: boolean;
  created: number;
  deadline: number;
  hasReply: boolean;
  state: "SYN_SENT" | "SYN_RECV" | "ESTABLISHED";
  /** Classes of packets admitted since the rules last changed, and which rules those were. */
  admitted: Set<string>;
  generation: number;
}

/** What must come out. `accepts` is asked with what did come out, and takes it over where it is allowed. */
export type Expectation =
  | { out: "nothing" }
  | { out: "packet"; accepts: (out: Tuple) => boolean; wanted: string; mayBeLost?: boolean };

const NOTHING: Expectation = { out: "nothing" };
const GATEWAY = "10.55.66.1";

const SECONDS = {
  linux: { udp: 30, stream: 120, icmp: 30, SYN_SENT: 120, SYN_RECV: 60, ESTABLISHED: 432_000, unacknowledged: 300 },
  bcp: { udp: 300, stream: 300, icmp: 60, SYN_SENT: 240, SYN_RECV: 240, ESTABLISHED: 7440, unacknowledged: 7440 },
};

export const isInside = (address: string): boolean => address.startsWith("10.55.66.");

export function textOf(tuple: Tuple): string {
  const { protocol, source, sourcePort, destination, destinationPort } = tuple;
  return `${protocol} ${source}:${sourcePort} > ${destination}:${destinationPort}`;
}

export function inverse(tuple: Tuple): Tuple {
  const { protocol, source, sourcePort, destination, destinationPort } = tuple;
  const ends = { protocol, source: destination, destination: source };
  if (protocol === "icmp") return { ...ends, sourcePort, destinationPort: 8 - destinationPort };
  return { ...ends, sourcePort: destinationPort, destinationPort: sourcePort };
}

const isSame = (one: Tuple, other: Tuple): boolean => textOf(one) === textOf(other);

/** First and last port that may stand for another. */
function classOf({ protocol, sourcePort }: Tuple): [number, number] {
  if (protocol === "icmp") return [0, 65_535];
  if (sourcePort < 512) return [1, 511];
  return sourcePort < 1024 ? [600, 1023] : [1024, 65_535];
}

export class NatModel {
  flows: Flow[] = [];
  private plan: ModelPlan;
  private now = 0;
  private readonly poolAddress = new Map<string, string>();

  constructor(plan: ModelPlan) {
    this.plan = plan;
  }

  get tuples(): string[] {
    return this.flows.map(({ original, reply }) => `${textOf(original)} | ${textOf(reply)}`).sort();
  }

  setTime(now: number): void {
    this.now = now;
    this.flows = this.flows.filter(({ deadline }) => deadline > now);
  }

  end(isEnded: (original: Tuple) => boolean): void {
    this.flows = this.flows.filter(({ original }) => !isEnded(original));
  }

  /** Every flow is judged again by its next packet. */
  judgeAnew(): void {
    for (const flow of this.flows) flow.generation = -1;
  }

  /** Other rules: the flows end that live by an address or by a published port that is no more. */
  reload(plan: ModelPlan): void {
    const before = this.plan;
    this.plan = plan;
    if (plan.profile !== before.profile) this.flows = [];
    if (plan.wan !== before.wan) {
      this.flows = this.flows.filter(
        ({ original, reply }) => original.destination !== before.wan && reply.destination !== before.wan,
      );
    }
    this.flows = this.flows.filter(({ original, reply, target }) => {
      if (target === "mapped") return true;
      const to = this.publishedAt(original);
      if (to === undefined) return target === "none";
      return target === "published" && to.address === reply.source && to.port === reply.sourcePort;
    });
  }

  /** The flow of a packet, and whether it goes as the first packet of it did. */
  find(packet: Tuple): { flow: Flow; isOriginal: boolean } | undefined {
    const flow = this.flows.find(({ original, reply }) => isSame(original, packet) || isSame(reply, packet));
    return flow && { flow, isOriginal: isSame(flow.original, packet) };
  }

  /** `generation` names the rules and neighbours of this moment: with another one flows are judged anew. */
  take(packet: Packet, generation: number): Expectation {
    const found = this.find(packet);
    if (found === undefined) return this.open(packet, generation);
    const { flow, isOriginal } = found;
    this.refresh(flow, packet, isOriginal);
    if (flow.generation !== generation) flow.admitted.clear();
    flow.generation = generation;
    const kind = !isOriginal ? "reply" : flow.hasReply ? "original" : "new";
    if (isOriginal && !flow.admitted.has(kind) && !this.mayKeepSource(flow)) {
      this.flows = this.flows.filter((each) => each !== flow);
      return this.open(packet, generation);
    }
    flow.admitted.add(kind);
    const wanted = inverse(isOriginal ? flow.reply : flow.original);
    return { out: "packet", wanted: textOf(wanted), accepts: (out) => isSame(out, wanted) };
  }

  private refresh(flow: Flow, { protocol, flags }: Packet, isOriginal: boolean): void {
    const seconds = SECONDS[this.plan.profile];
    if (protocol === "tcp") {
      const before = flow.state;
      if (!isOriginal && flags === "SA" && before === "SYN_SENT") flow.state = "SYN_RECV";
      if (isOriginal && flags === "A" && before === "SYN_RECV") flow.state = "ESTABLISHED";
      // A SYN sent again, or one that is ignored, prolongs nothing.
      if (flow.state !== before) flow.deadline = this.now + seconds[flow.state] * 1000;
    } else if (protocol === "udp") {
      const isStream = flow.hasReply && this.now - flow.created > 2000;
      flow.deadline = this.now + (isStream ? seconds.stream : seconds.udp) * 1000;
    } else {
      flow.deadline = this.now + seconds.icmp * 1000;
    }
    if (!isOriginal) flow.hasReply = true;
  }

  /** Whether the rules could have given a flow the source that it has, or ask for no other. */
  private mayKeepSource({ original, reply, target }: Flow): boolean {
    const choice = this.choiceFor(original.source, reply.source);
    if (target !== "none" || choice === undefined) return true;
    if (!choice.addresses.includes(reply.destination)) return false;
    return this.plan.profile === "bcp" || original.protocol === "icmp" || holds(choice, reply.destinationPort);
  }

  private choiceFor(source: string, destination: string): Choice | undefined {
    return isInside(source) && !isInside(destination) ? this.plan.source : undefined;
  }

  private open(packet: Packet, generation: number): Expectation {
    const isQuery = packet.protocol === "icmp" ? packet.destinationPort === 8 : packet.flags !== "SA";
    if (packet.protocol !== "udp" && !isQuery) return this.passInvalid(packet);
    const to = this.publishedAt(packet);
    const hairpin = isInside(packet.source);
    if (to !== undefined) {
      const choice = hairpin ? { addresses: [this.plan.wan] } : undefined;
      return this.bind(packet, { target: "published", to, choice, generation });
    }
    if (this.isOwn(packet.destination)) {
      const mapping = this.mappings().find(
        ({ protocol, outside, outsidePort }) =>
          this.plan.profile === "bcp" &&
          protocol === packet.protocol &&
          protocol !== "icmp" &&
          outside === packet.destination &&
          outsidePort === packet.destinationPort,
      );
      if (mapping === undefined) return NOTHING;
      const inside = { address: mapping.inside, port: mapping.insidePort };
      const choice = hairpin ? this.plan.source : undefined;
      return this.bind(packet, { target: "mapped", to: inside, choice, generation });
    }
    const own = { address: packet.destination, port: packet.destinationPort };
    const choice = this.choiceFor(packet.source, packet.destination);
    return this.bind(packet, { target: "none", to: own, choice, generation });
  }

  /** What opens no flow passes as it is, but never where NAT would have changed it. */
  private passInvalid(packet: Packet): Expectation {
    if (this.isOwn(packet.destination)) return NOTHING;
    if (this.choiceFor(packet.source, packet.destination) !== undefined) return NOTHING;
    const isAnswer = this.plan.publish.some(
      ({ protocol, ports, to, toPort }) =>
        protocol === packet.protocol &&
        to === packet.source &&
        packet.sourcePort >= toPort &&
        packet.sourcePort <= toPort + ports[1] - ports[0],
    );
    if (isAnswer) return NOTHING;
    return { out: "packet", wanted: textOf(packet), accepts: (out) => isSame(out, packet) };
  }

  /** A new flow: leaves for `to`, with an address and port that `choice` allows. */
  private bind(packet: Packet, { target, to, choice, generation }: Binding): Expectation {
    const { protocol } = packet;
    const leaving = { ...packet, destination: to.address, destinationPort: to.port };
    const allows = (out: Tuple): boolean => this.allows(packet, out, choice);
    const addresses = choice === undefined ? [packet.source] : this.addressesFor(packet, choice);
    const exhausted = addresses.filter((address) => this.isExhausted(packet, { ...leaving, source: address }, choice));
    if (exhausted.length === addresses.length) return NOTHING;
    const accepts = (out: Tuple): boolean => {
      const isTarget = out.destination === to.address && out.destinationPort === to.port && out.protocol === protocol;
      if (!isTarget || !addresses.includes(out.source) || !allows(out)) return false;
      if (choice !== undefined) this.poolAddress.set(this.poolKey(packet, choice), out.source);
      this.flows.push({
        original: { ...packet },
        reply: inverse(out),
        target,
        hasChoice: choice !== undefined,
        created: this.now,
        deadline: this.now + this.firstSeconds(packet) * 1000,
        hasReply: false,
        state: packet.flags === "S" ? "SYN_SENT" : "ESTABLISHED",
        admitted: new Set(["new"]),
        generation,
      });
      return true;
    };
    // A source keeps to its address of a pool, which is not known before it is first seen, even where it has no port left.
    const mayBeLost = exhausted.length > 0;
    return { out: "packet", wanted: `${textOf(leaving)} from ${addresses.join(" or ")}`, accepts, mayBeLost };
  }

  private firstSeconds({ protocol, flags }: Packet): number {
    const seconds = SECONDS[this.plan.profile];
    if (protocol !== "tcp") return seconds[protocol];
    return flags === "S" ? seconds.SYN_SENT : seconds.unacknowledged;
  }

  /** Whether a new flow of `packet` may go out as `out`: the port that must be kept, or one out of those to search. */
  private allows(packet: Packet, out: Tuple, choice: Choice | undefined): boolean {
    const isPort = (port: number): boolean => out.sourcePort === port;
    const fallback = (): boolean => {
      const kept = { ...out, sourcePort: packet.sourcePort };
      const mayKeep = choice === undefined || (holds(choice, packet.sourcePort) && choice.random !== true);
      if (mayKeep && this.isAvailable(kept, choice)) return isPort(packet.sourcePort);
      return this.isSearched(packet, out, choice);
    };
    const used = choice === undefined ? [] : this.portsInUse(packet, out.source);
    if (used.length === 0) return fallback();
    if (this.plan.profile === "bcp") return isPort(used[0]) && this.isFree(out);
    // Several ports may be in use, towards peers where they were free; any of them may be the one that is looked at.
    return used.some((port) => {
      const isGood =
        holds(choice as Choice, port) && choice?.random !== true && this.isFree({ ...out, sourcePort: port });
      return isGood ? isPort(port) : fallback();
    });
  }

  private isSearched(packet: Packet, out: Tuple, choice: Choice | undefined): boolean {
    const [first, last] = choice?.ports ?? classOf(packet);
    const keepsParity = this.plan.profile === "bcp" && packet.protocol === "udp";
    if (keepsParity && (out.sourcePort - packet.sourcePort) % 2 !== 0) return false;
    return out.sourcePort >= first && out.sourcePort <= last && this.isAvailable(out, choice);
  }

  /** Whether no port at all may be taken. A class is never used up here, a rule's few ports are. */
  private isExhausted(packet: Packet, leaving: Tuple, choice: Choice | undefined): boolean {
    const used = choice === undefined ? [] : this.portsInUse(packet, leaving.source);
    const isBound = this.plan.profile === "bcp" && used.length > 0;
    if (choice?.ports === undefined && !isBound) return false;
    const candidates = [packet.sourcePort, ...used];
    const [first, last] = choice?.ports ?? [1, 0];
    for (let port = first; port <= last; port++) candidates.push(port);
    return !candidates.some((port) => this.allows(packet, { ...leaving, sourcePort: port }, choice));
  }

  /** Ports that stand for this very source on `address`; in `linux` those that differ from its own alone. */
  private portsInUse({ protocol, source, sourcePort }: Tuple, address: string): number[] {
    return this.mappings()
      .filter((each) => each.protocol === protocol && each.inside === source && each.insidePort === sourcePort)
      .filter((each) => each.outside === address)
      .map(({ outsidePort }) => outsidePort)
      .filter((port) => this.plan.profile === "bcp" || port !== sourcePort);
  }

  private isAvailable(out: Tuple, choice: Choice | undefined): boolean {
    const isTaken = ({ protocol, outside, outsidePort }: Mapping): boolean =>
      protocol === out.protocol && outside === out.source && outsidePort === out.sourcePort;
    if (choice !== undefined && this.plan.profile === "bcp" && this.mappings().some(isTaken)) return false;
    return this.isFree(out);
  }

  /** Whether answers to a packet that leaves so could be told from those of all other flows. */
  private isFree(out: Tuple): boolean {
    return this.find(inverse(out)) === undefined;
  }

  /** Inside ends and what stands for them outside, as the live flows say. */
  private mappings(): Mapping[] {
    return this.flows.flatMap(({ original, reply, target, hasChoice }) => {
      const { protocol } = original;
      const out = inverse(reply);
      const mappings: Mapping[] = [];
      if (hasChoice) {
        const outside = { outside: out.source, outsidePort: out.sourcePort };
        mappings.push({ protocol, inside: original.source, insidePort: original.sourcePort, ...outside });
      }
      if (target === "mapped") {
        const outside = { outside: original.destination, outsidePort: original.destinationPort };
        mappings.push({ protocol, inside: out.destination, insidePort: out.destinationPort, ...outside });
      }
      return mappings;
    });
  }

  private publishedAt({
    protocol,
    destination,
    destinationPort,
  }: Tuple): { address: string; port: number } | undefined {
    if (destination !== this.plan.wan) return undefined;
    const rule = this.plan.publish.find(
      (each) => each.protocol === protocol && destinationPort >= each.ports[0] && destinationPort <= each.ports[1],
    );
    return rule && { address: rule.to, port: rule.toPort + destinationPort - rule.ports[0] };
  }

  private isOwn(address: string): boolean {
    return address === this.plan.wan || address === GATEWAY || (this.plan.source?.addresses.includes(address) ?? false);
  }

  /** A pool gives a source always the same address: towards each destination, or in `bcp` towards all. */
  private addressesFor(packet: Tuple, choice: Choice): string[] {
    const address = this.poolAddress.get(this.poolKey(packet, choice));
    return address === undefined ? choice.addresses : [address];
  }

  private poolKey({ source, destination }: Tuple, { addresses }: Choice): string {
    return `${addresses.join()} ${source} ${this.plan.profile === "bcp" ? "" : destination}`;
  }
}

interface Mapping {
  protocol: Protocol;
  inside: string;
  insidePort: number;
  outside: string;
  outsidePort: number;
}

interface Binding {
  target: Flow["target"];
  to: { address: string; port: number };
  choice: Choice | undefined;
  generation: number;
}

function holds({ ports }: Choice, port: number): boolean {
  return ports === undefined || (port >= ports[0] && port <= ports[1]);
}
