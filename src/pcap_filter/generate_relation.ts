/**
 * The program of a relation. A field is only there in packets of its protocol: those tests come first, in the order of
 * libpcap, so that a packet which is cut short is given up at the same point.
 */
import type { Assembler } from "./assembler.ts";
import type { Offsets, Test } from "./generate.ts";
import { ETHER_TYPES, IP_PROTOCOLS } from "./names.ts";
import { Code, MEMORY_WORDS } from "./program.ts";
import { type Arithmetic, type BinaryOperator, ExpressionError, type LoadProtocol, type Primitive } from "./syntax.ts";

type Relation = Extract<Primitive, { kind: "relation" }>;
type Load = Extract<Arithmetic, { kind: "load" }>;
type Protocol = Extract<Primitive, { kind: "ether-type" | "ip-protocol" }>;
type Check = Protocol | "first-fragment" | "next-header-icmp6";

/** Comparison, and whether its outcome is turned round. */
const COMPARISONS: Record<Relation["operator"], [code: number, isTurned: boolean]> = {
  "=": [Code.EQUAL, false],
  "!=": [Code.EQUAL, true],
  ">": [Code.GREATER, false],
  "<=": [Code.GREATER, true],
  ">=": [Code.GREATER_EQUAL, false],
  "<": [Code.GREATER_EQUAL, true],
};

const CALCULATIONS: Record<BinaryOperator, number> = {
  "+": Code.ADD,
  "-": Code.SUBTRACT,
  "*": Code.MULTIPLY,
  "/": Code.DIVIDE,
  "%": Code.MODULO,
  "&": Code.AND,
  "|": Code.OR,
  "^": Code.XOR,
  "<<": Code.SHIFT_LEFT,
  ">>": Code.SHIFT_RIGHT,
};

const LOADS = { 1: Code.LOAD_BYTE, 2: Code.LOAD_HALF, 4: Code.LOAD_WORD };
const INDEXED = { 1: Code.INDEX_BYTE, 2: Code.INDEX_HALF, 4: Code.INDEX_WORD };

/** Constants that may stand in an address without a thought of overflow. */
const SMALL = 0x10000;

export function generateRelation(
  assembler: Assembler,
  offsets: Offsets,
  relation: Relation,
  testOf: (check: Protocol) => Test,
): Test {
  return (onTrue, onFalse) => {
    for (const check of [...checksOf(relation.left), ...checksOf(relation.right)]) {
      const next = assembler.label();
      testOfCheck(assembler, offsets, check, testOf)(next, onFalse);
      assembler.place(next);
    }
    const [code, isTurned] = COMPARISONS[relation.operator];
    const [holds, fails] = isTurned ? [onFalse, onTrue] : [onTrue, onFalse];
    const evaluator = new Evaluator(assembler, offsets);
    const { left, right } = relation;
    if (right.kind === "number") {
      evaluator.evaluate(left, 0);
      assembler.compare(code, right.value, holds, fails);
    } else {
      evaluator.evaluatePair(left, right, 0);
      assembler.compare(code | Code.X, 0, holds, fails);
    }
  };
}

/** What must hold before the fields of an expression may be read. */
function checksOf(arithmetic: Arithmetic): Check[] {
  switch (arithmetic.kind) {
    case "load":
      return checksOfLoad(arithmetic);
    case "negate":
      return checksOf(arithmetic.operand);
    case "binary":
      // libpcap forgets what the right side would ask for; the same packets are selected.
      return checksOf(arithmetic.left);
    default:
      return [];
  }
}

function checksOfLoad({ protocol, index }: Load): Check[] {
  const inner = checksOf(index);
  if (protocol === "ether" || protocol === "link") return inner;
  if (Object.hasOwn(ETHER_TYPES, protocol)) return [...inner, etherType(protocol)];
  if (protocol === "icmp6") return [...inner, etherType("ip6"), "next-header-icmp6"];
  return [etherType("ip"), ...inner, { kind: "ip-protocol", ...IP_PROTOCOLS[protocol] }, "first-fragment"];
}

function etherType(name: string): Protocol {
  return { kind: "ether-type", value: ETHER_TYPES[name] };
}

function testOfCheck(assembler: Assembler, offsets: Offsets, check: Check, testOf: (check: Protocol) => Test): Test {
  if (check === "first-fragment") return testFirstFragment(assembler, offsets);
  if (check !== "next-header-icmp6") return testOf(check);
  return (onTrue, onFalse) => {
    assembler.emit(Code.LOAD_BYTE, offsets.payload + 6);
    assembler.compare(Code.EQUAL, IP_PROTOCOLS.icmp6.value, onTrue, onFalse);
  };
}

/** Only the first fragment of a datagram holds the header of what it carries. */
export function testFirstFragment(assembler: Assembler, offsets: Offsets): Test {
  return (onTrue, onFalse) => {
    assembler.emit(Code.LOAD_HALF, offsets.payload + 6);
    assembler.compare(Code.ANY_BIT, 0x1fff, onFalse, onTrue);
  };
}

class Evaluator {
  private readonly assembler: Assembler;
  private readonly offsets: Offsets;

  constructor(assembler: Assembler, offsets: Offsets) {
    this.assembler = assembler;
    this.offsets = offsets;
  }

  /** Leaves the value in A; uses the memory from word `free` on. */
  evaluate(arithmetic: Arithmetic, free: number): void {
    const { assembler } = this;
    switch (arithmetic.kind) {
      case "number":
        assembler.emit(Code.LOAD_CONSTANT, arithmetic.value);
        break;
      case "length":
        assembler.emit(Code.LOAD_LENGTH);
        break;
      case "negate":
        this.evaluate(arithmetic.operand, free);
        assembler.emit(Code.NEGATE);
        break;
      case "load":
        this.load(arithmetic, free);
        break;
      case "binary":
        this.calculate(arithmetic, free);
    }
  }

  private calculate({ left, right, operator }: Extract<Arithmetic, { kind: "binary" }>, free: number): void {
    const { assembler } = this;
    if (right.kind === "number") {
      this.evaluate(left, free);
      assembler.emit(CALCULATIONS[operator], right.value);
    } else {
      this.evaluatePair(left, right, free);
      assembler.emit(CALCULATIONS[operator] | Code.X);
    }
  }

  /** Leaves one value in A, the other in X. */
  evaluatePair(left: Arithmetic, right: Arithmetic, free: number): void {
    if (free >= MEMORY_WORDS) throw new ExpressionError("too many intermediate results", "", 0);
    const { assembler } = this;
    this.evaluate(left, free);
    assembler.emit(Code.STORE, free);
    this.evaluate(right, free + 1);
    assembler.emit(Code.A_TO_X);
    assembler.emit(Code.LOAD_MEMORY, free);
  }

  private load({ protocol, index, size }: Load, free: number): void {
    const { assembler } = this;
    const { base, isBehindHeader } = this.baseOf(protocol);
    if (index.kind === "number" && index.value >= 0 && index.value < SMALL) {
      if (isBehindHeader) assembler.emit(Code.HEADER_LENGTH, this.offsets.payload);
      assembler.emit((isBehindHeader ? INDEXED : LOADS)[size], base + index.value);
      return;
    }
    this.evaluate(index, free);
    if (isBehindHeader) {
      assembler.emit(Code.HEADER_LENGTH, this.offsets.payload);
      assembler.emit(Code.ADD | Code.X);
    }
    assembler.emit(Code.A_TO_X);
    assembler.emit(INDEXED[size], base);
  }

  /** Where index 0 of a protocol is; `isBehindHeader`: behind an IPv4 header that begins at the payload. */
  private baseOf(protocol: LoadProtocol): { base: number; isBehindHeader: boolean } {
    const { payload } = this.offsets;
    if (protocol === "ether" || protocol === "link") return { base: 0, isBehindHeader: false };
    if (Object.hasOwn(ETHER_TYPES, protocol)) return { base: payload, isBehindHeader: false };
    if (protocol === "icmp6") return { base: payload + 40, isBehindHeader: false };
    return { base: payload, isBehindHeader: true };
  }
}
