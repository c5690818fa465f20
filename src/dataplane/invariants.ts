/**
 * Invariants of the flow table and of NAT, asked for at run time: ports in use are live mappings. Every flow is counted
 * anew, and each book that is kept beside the flows is compared with what they say. Not for the hot path: it reads the
 * whole table, and stops the dataplane meanwhile (about 50 ms for a million flows).
 */
import { ANY_NAT, FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord } from "../conntrack/flow_layout.ts";
import { invertPorts, sourceIdent } from "../conntrack/tuple.ts";
import type { Router } from "./router.ts";

export interface Invariants {
  /** Live flows, and how many of them have their source translated. */
  flows: number;
  translated: number;
  /** Endpoint-independent mappings (profile `bcp`). */
  mappings: number;
  /** What does not hold; empty when all is well. */
  violations: string[];
}

/** What the flow of a switched packet never is. */
const NOT_OF_BRIDGED =
  ANY_NAT |
  FlowFlag.LOCAL |
  FlowFlag.SOURCE_INDEXED |
  FlowFlag.SOURCE_MAPPED |
  FlowFlag.DESTINATION_MAPPED |
  FlowFlag.HOST_COUNTED;

/** At most so many violations are told one by one. */
const TOLD = 20;

export function checkInvariants(router: Router): Invariants {
  return new InvariantCheck(router).run();
}

class InvariantCheck {
  private readonly router: Router;
  private readonly violations: string[] = [];
  private readonly references = new Map<string, number>();
  private readonly hosts = new Map<number, number>();
  private readonly openers = new Map<number, number>();
  private flows = 0;
  private translated = 0;
  private indexed = 0;

  constructor(router: Router) {
    this.router = router;
  }

  run(): Invariants {
    const { flows, sourceNat, hostFlows } = this.router;
    for (let flow = 0; flow < flows.header[HeaderWord.HIGH_WATER]; flow++) this.checkFlow(flow);
    this.expect("flows", flows.count, this.flows);
    this.expect("tuples in the index", flows.index.size, this.flows * 2);
    this.expect("sources in the index", sourceNat.remembered, this.indexed);
    this.expect("mappings", sourceNat.mappings?.size ?? 0, this.references.size);
    this.expect("hosts counted", hostFlows.size, this.hosts.size);
    for (const [port, count] of this.openers) this.expect("flows of a port", flows.shares.heldBy(port), count);
    for (const [address, count] of this.hosts) this.expect("flows of a host", hostFlows.countOf(address), count);
    this.checkReferences();
    return {
      flows: this.flows,
      translated: this.translated,
      mappings: this.references.size,
      violations: this.violations,
    };
  }

  private checkFlow(flow: number): void {
    const { flows } = this.router;
    const { words } = flows;
    const base = flow << FLOW_SHIFT;
    const status = words[base + FlowWord.STATUS];
    if ((status & FlowFlag.CONFIRMED) === 0) return;
    this.flows++;
    this.openers.set(flows.portOf(flow), (this.openers.get(flows.portOf(flow)) ?? 0) + 1);
    for (let direction = 0; direction < 2; direction++) {
      if (!this.isFound(flow, direction)) this.say(`flow ${flow}: tuple ${direction} is not found`);
    }
    if ((status & FlowFlag.BRIDGED) !== 0) this.checkBridged(flow, base, status);
    if ((status & FlowFlag.SOURCE_NAT) !== 0) this.translated++;
    if ((status & FlowFlag.SOURCE_INDEXED) !== 0) this.indexed++;
    if ((status & FlowFlag.HOST_COUNTED) !== 0) {
      const source = words[base + FlowWord.SOURCE];
      this.hosts.set(source, (this.hosts.get(source) ?? 0) + 1);
    }
    if ((status & FlowFlag.SOURCE_MAPPED) !== 0) {
      const inside = words[base + FlowWord.SOURCE];
      const outside = words[base + FlowWord.REPLY_DESTINATION];
      this.refer(status & 0xff, inside, sourceIdent(words[base + FlowWord.PORTS]), outside);
    }
    if ((status & FlowFlag.DESTINATION_MAPPED) !== 0) {
      const inside = words[base + FlowWord.REPLY_SOURCE];
      this.refer(status & 0xff, inside, words[base + FlowWord.REPLY_PORTS] >>> 16, words[base + FlowWord.DESTINATION]);
    }
  }

  /** Whether a tuple leads back to its flow: read from the index itself, since a look-up would end what is over. */
  private isFound(flow: number, direction: number): boolean {
    const { flows } = this.router;
    const { index } = flows;
    const hash = flows.hashOf(flow << FLOW_SHIFT, direction);
    for (let position = hash & index.mask; ; position = (position + 1) & index.mask) {
      const stored = index.slots[position * 2 + 1];
      if (stored === 0) return false;
      if (stored - 1 === ((flow << 1) | direction)) return true;
    }
  }

  /** What is switched leaves as it came, inside one network, and belongs to nobody else's books. */
  private checkBridged(flow: number, base: number, status: number): void {
    const { words } = this.router.flows;
    if ((status & NOT_OF_BRIDGED) !== 0) this.say(`flow ${flow}: bridged, but translated or local`);
    const isInverse =
      words[base + FlowWord.REPLY_SOURCE] === words[base + FlowWord.DESTINATION] &&
      words[base + FlowWord.REPLY_DESTINATION] === words[base + FlowWord.SOURCE] &&
      words[base + FlowWord.REPLY_PORTS] === invertPorts(status & 0xff, words[base + FlowWord.PORTS]);
    if (!isInverse) this.say(`flow ${flow}: bridged, but its answer is no answer to what came`);
    const network = words[base + FlowWord.ROUTE] >>> 24;
    const replyRoute = words[base + FlowWord.REPLY_ROUTE];
    if (replyRoute !== 0 && replyRoute >>> 24 !== network) this.say(`flow ${flow}: bridged between two networks`);
    if (this.router.interfaces[network]?.isFiltered !== true) this.say(`flow ${flow}: bridged where nothing is judged`);
  }

  private refer(protocol: number, inside: number, insidePort: number, outside: number): void {
    const key = `${protocol} ${inside} ${insidePort} ${outside}`;
    this.references.set(key, (this.references.get(key) ?? 0) + 1);
  }

  private checkReferences(): void {
    const { mappings } = this.router.sourceNat;
    for (const [key, count] of this.references) {
      const [protocol, inside, insidePort, outside] = key.split(" ").map(Number);
      const mapping = mappings?.findInside(protocol, inside, insidePort, outside) ?? -1;
      this.expect(`references of a mapping (${key})`, mapping < 0 ? 0 : (mappings?.referencesOf(mapping) ?? 0), count);
    }
  }

  private expect(what: string, found: number, wanted: number): void {
    if (found !== wanted) this.say(`${what}: ${found} in the books, ${wanted} by the flows`);
  }

  private say(violation: string): void {
    if (this.violations.length < TOLD) this.violations.push(violation);
  }
}
