/**
 * Turns an expression's tree into a program. What is tested, and in which order, is what libpcap's programs test: so the
 * same packets are selected, those included that are cut short or are fragments.
 */
import { EtherType } from "../packet/ethernet.ts";
import { Protocol } from "../packet/ipv4.ts";
import { Assembler, type Label } from "./assembler.ts";
import { generateRelation, testFirstFragment } from "./generate_relation.ts";
import { RARP, SCTP } from "./names.ts";
import { Code, type Program } from "./program.ts";
import type { Direction, Expression, Primitive } from "./syntax.ts";

/** Where the type and the payload of Ethernet are; each `vlan` of the expression moves them behind another tag. */
export interface Offsets {
  type: number;
  payload: number;
}

/** Writes the instructions of a test, which goes on at one label or the other. */
export type Test = (onTrue: Label, onFalse: Label) => void;

type Of<Kind extends Primitive["kind"]> = Extract<Primitive, { kind: Kind }>;

/** Next header of IPv6: a fragment (RFC 8200 4.5). */
const FRAGMENT_HEADER = 44;
const IPV6_HEADER_BYTES = 40;
const WITH_PORTS = [SCTP, Protocol.TCP, Protocol.UDP];
const TAGS = [EtherType.VLAN, EtherType.QINQ, 0x9100];

export function generate(expression: Expression | undefined): Program {
  const assembler = new Assembler();
  if (expression === undefined) {
    assembler.emit(Code.RETURN, 1);
    return assembler.assemble();
  }
  const [accept, reject] = [assembler.label(), assembler.label()];
  new Generator(assembler).expression(expression, accept, reject);
  assembler.place(accept);
  assembler.emit(Code.RETURN, 1);
  assembler.place(reject);
  assembler.emit(Code.RETURN, 0);
  return assembler.assemble();
}

class Generator {
  private readonly assembler: Assembler;
  private readonly offsets: Offsets = { type: 12, payload: 14 };

  constructor(assembler: Assembler) {
    this.assembler = assembler;
  }

  expression(node: Expression, onTrue: Label, onFalse: Label): void {
    if (node.kind === "not") this.expression(node.operand, onFalse, onTrue);
    else if (node.kind === "and" || node.kind === "or") this.chain(node, onTrue, onFalse);
    else this.testOf(node as Primitive)(onTrue, onFalse);
  }

  /** A long expression leans to the left as deep as it is long: that side is walked by a loop. */
  private chain(node: Expression & { kind: "and" | "or" }, onTrue: Label, onFalse: Label): void {
    const spine: { kind: "and" | "or"; right: Expression; onTrue: Label; onFalse: Label; next: Label }[] = [];
    let leftmost: Expression = node;
    while (leftmost.kind === "and" || leftmost.kind === "or") {
      const next = this.assembler.label();
      spine.push({ kind: leftmost.kind, right: leftmost.right, onTrue, onFalse, next });
      if (leftmost.kind === "and") onTrue = next;
      else onFalse = next;
      leftmost = leftmost.left;
    }
    this.expression(leftmost, onTrue, onFalse);
    for (const { right, next, ...outcome } of spine.reverse()) {
      this.assembler.place(next);
      this.expression(right, outcome.onTrue, outcome.onFalse);
    }
  }

  private testOf(node: Primitive): Test {
    switch (node.kind) {
      case "ether-type":
        return this.etherType(node.value);
      case "ip-protocol":
        return this.ipProtocol(node);
      case "host":
        return this.host(node);
      case "host6":
        return this.host6(node);
      case "port":
        return this.port(node);
      case "ether-host":
        return this.etherHost(node);
      case "multicast":
        return this.multicast(node);
      case "vlan":
        return this.vlan(node);
      case "relation":
        return generateRelation(this.assembler, this.offsets, node, (check) => this.testOf(check));
    }
  }

  /** One test after the other, until one of them decides: `deciding` says where to go on behind one that does not. */
  private inOrder(tests: readonly Test[], deciding: "true" | "false"): Test {
    return (onTrue, onFalse) => {
      for (const test of tests.slice(0, -1)) {
        const next = this.assembler.label();
        if (deciding === "true") test(onTrue, next);
        else test(next, onFalse);
        this.assembler.place(next);
      }
      tests[tests.length - 1](onTrue, onFalse);
    };
  }

  private all(...tests: readonly Test[]): Test {
    return this.inOrder(tests, "false");
  }

  private any(...tests: readonly Test[]): Test {
    return this.inOrder(tests, "true");
  }

  /** A test of source, destination, either or both. */
  private ofEnds(direction: Direction, source: Test, destination: Test): Test {
    if (direction === "src") return source;
    if (direction === "dst") return destination;
    return direction === "both" ? this.all(source, destination) : this.any(source, destination);
  }

  /** A load, the bits of it that count, and a comparison. */
  private field(load: number, at: number, value: number, mask = -1, comparison: number = Code.EQUAL): Test {
    return (onTrue, onFalse) => {
      this.assembler.emit(load, at);
      if (mask !== -1) this.assembler.emit(Code.AND, mask);
      this.assembler.compare(comparison, value, onTrue, onFalse);
    };
  }

  private etherType(value: number): Test {
    return this.field(Code.LOAD_HALF, this.offsets.type, value);
  }

  private ipProtocol({ value, version }: Of<"ip-protocol">): Test {
    const { payload } = this.offsets;
    const ip = this.all(this.etherType(EtherType.IPV4), this.field(Code.LOAD_BYTE, payload + 9, value));
    const next = (protocol: number) => this.field(Code.LOAD_BYTE, payload + 6, protocol);
    const behindFragment = this.field(Code.LOAD_BYTE, payload + IPV6_HEADER_BYTES, value);
    const ip6 = this.all(
      this.etherType(EtherType.IPV6),
      this.any(next(value), this.all(next(FRAGMENT_HEADER), behindFragment)),
    );
    if (version === 0) return this.any(ip, ip6);
    return version === 4 ? ip : ip6;
  }

  private host({ layer, ...ends }: Of<"host">): Test {
    const ip = this.hostOf(EtherType.IPV4, 12, 16, ends);
    const arp = this.hostOf(EtherType.ARP, 14, 24, ends);
    const rarp = this.hostOf(RARP, 14, 24, ends);
    return { any: this.any(ip, arp, rarp), ip, arp, rarp }[layer];
  }

  private hostOf(etherType: number, source: number, destination: number, ends: Omit<Of<"host">, "layer">): Test {
    const { address, mask, direction } = ends;
    const { payload } = this.offsets;
    const at = (offset: number) => this.field(Code.LOAD_WORD, payload + offset, address, mask);
    // Where no bit counts nothing is loaded: the packet may be too short for it.
    if (mask === 0) return this.etherType(etherType);
    return this.all(this.etherType(etherType), this.ofEnds(direction, at(source), at(destination)));
  }

  private host6({ address, mask, direction }: Of<"host6">): Test {
    const { payload } = this.offsets;
    const words = [0, 1, 2, 3].filter((i) => mask[i] !== 0);
    if (words.length === 0) return this.etherType(EtherType.IPV6);
    const at = (offset: number) =>
      this.all(...words.map((i) => this.field(Code.LOAD_WORD, payload + offset + i * 4, address[i], mask[i])));
    return this.all(this.etherType(EtherType.IPV6), this.ofEnds(direction, at(8), at(24)));
  }

  private port(node: Of<"port">): Test {
    const protocols = node.protocol === 0 ? WITH_PORTS : [node.protocol];
    const { payload } = this.offsets;
    const ofVersion = (etherType: number, protocolAt: number, ports: (at: number) => Test, first: readonly Test[]) => {
      const ends = this.ofEnds(node.direction, ports(0), ports(2));
      const isOne = protocols.map((protocol) => this.field(Code.LOAD_BYTE, payload + protocolAt, protocol));
      return this.all(this.etherType(etherType), this.any(...isOne), ...first, ends);
    };
    const ip6 = ofVersion(EtherType.IPV6, 6, (at) => this.portAt6(node, at), []);
    const firstFragment = testFirstFragment(this.assembler, this.offsets);
    const ip = ofVersion(EtherType.IPV4, 9, (at) => this.portAt(node, at), [firstFragment]);
    return this.any(ip6, ip);
  }

  private portAt6(node: Of<"port">, at: number): Test {
    return this.inRange(node, () => this.assembler.emit(Code.LOAD_HALF, this.offsets.payload + IPV6_HEADER_BYTES + at));
  }

  private portAt(node: Of<"port">, at: number): Test {
    const { payload } = this.offsets;
    return this.inRange(node, () => {
      this.assembler.emit(Code.HEADER_LENGTH, payload);
      this.assembler.emit(Code.INDEX_HALF, payload + at);
    });
  }

  private inRange({ first, last }: Of<"port">, load: () => void): Test {
    return (onTrue, onFalse) => {
      load();
      if (first === last) {
        this.assembler.compare(Code.EQUAL, first, onTrue, onFalse);
        return;
      }
      const next = this.assembler.label();
      this.assembler.compare(Code.GREATER_EQUAL, first, next, onFalse);
      this.assembler.place(next);
      this.assembler.compare(Code.GREATER, last, onFalse, onTrue);
    };
  }

  private etherHost({ high, low, direction }: Of<"ether-host">): Test {
    const at = (offset: number) =>
      this.all(this.field(Code.LOAD_WORD, offset + 2, low), this.field(Code.LOAD_HALF, offset, high));
    return this.ofEnds(direction, at(6), at(0));
  }

  private multicast({ layer }: Of<"multicast">): Test {
    const { payload } = this.offsets;
    if (layer === "ether") return this.field(Code.LOAD_BYTE, 0, 1, -1, Code.ANY_BIT);
    if (layer === "ip6")
      return this.all(this.etherType(EtherType.IPV6), this.field(Code.LOAD_BYTE, payload + 24, 0xff));
    const isGroup = this.field(Code.LOAD_BYTE, payload + 16, 224, -1, Code.GREATER_EQUAL);
    return this.all(this.etherType(EtherType.IPV4), isGroup);
  }

  private vlan({ id }: Of<"vlan">): Test {
    const isTagged = this.any(...TAGS.map((tag) => this.etherType(tag)));
    const isOfId = this.field(Code.LOAD_HALF, this.offsets.payload, id, 0x0fff);
    const test = id < 0 ? isTagged : this.all(isTagged, isOfId);
    return (onTrue, onFalse) => {
      test(onTrue, onFalse);
      this.offsets.type += 4;
      this.offsets.payload += 4;
    };
  }
}
