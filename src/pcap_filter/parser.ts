/**
 * Parses an expression of pcap-filter(7). As in libpcap's grammar, `and` and `or` bind equally and to the left, `not`
 * binds more tightly, and an address or number without qualifiers of its own takes those of the one before it
 * (`host 1.2.3.4 or 5.6.7.8`, `tcp port 80 or 443`).
 */
import type { Token } from "./lexer.ts";
import { ETHER_TYPES, IP_PROTOCOLS, REFUSED } from "./names.ts";
import { parseEtherHost, parseHost, parseHost6, type Qualifiers } from "./parse_addresses.ts";
import { isRelation, parseRelation } from "./parse_arithmetic.ts";
import type { Arithmetic, Direction, Expression } from "./syntax.ts";
import { TokenReader } from "./token_reader.ts";

/** A part of the expression, and the qualifiers that an address behind it would take. */
interface Parsed {
  expression: Expression;
  qualifiers: Qualifiers | undefined;
}

const DIRECTIONS: readonly string[] = ["src", "dst"];
const TYPES: readonly string[] = ["host", "net", "port", "portrange", "proto"];
/** Ethernet's types from here on; smaller numbers are lengths or of IEEE 802.2. */
const LEAST_ETHER_TYPE = 0x600;

/** The tree of an expression, `undefined` where it is empty: every packet. Throws an `ExpressionError`. */
export function parseExpression(text: string): Expression | undefined {
  const reader = new TokenReader(text);
  if (reader.peek().kind === "end") return undefined;
  const { expression } = parseSequence(reader, undefined);
  if (reader.peek().kind !== "end") throw reader.unexpected("'and' or 'or'");
  return expression;
}

/** Terms with `and` and `or` between them. */
function parseSequence(reader: TokenReader, before: Qualifiers | undefined): Parsed {
  let left = parseTerm(reader, before);
  while (reader.is("and", "or")) {
    const kind = reader.take().text as "and" | "or";
    const right = parseTerm(reader, left.qualifiers);
    left = { expression: { kind, left: left.expression, right: right.expression }, qualifiers: right.qualifiers };
  }
  return left;
}

function parseTerm(reader: TokenReader, before: Qualifiers | undefined): Parsed {
  if (reader.accept("not")) {
    const { expression, qualifiers } = reader.nested(() => parseTerm(reader, before));
    return { expression: { kind: "not", operand: expression }, qualifiers };
  }
  if (isRelation(reader)) return { expression: parseRelation(reader), qualifiers: undefined };
  if (reader.accept("(")) {
    const { expression } = reader.nested(() => parseSequence(reader, before));
    reader.expect(")", "at the end of the parenthesis");
    return { expression, qualifiers: before };
  }
  const { kind } = reader.peek();
  if (kind === "word") return parsePrimitive(reader, before);
  if (kind === "end" || kind === "operator") throw reader.unexpected("a primitive");
  return { expression: parseId(reader, before), qualifiers: before };
}

/** What begins with a word. */
function parsePrimitive(reader: TokenReader, before: Qualifiers | undefined): Parsed {
  const word = reader.peek().text;
  const refused = REFUSED.get(word);
  if (refused !== undefined) throw reader.error(`'${word}' ${refused}`);
  if (word === "vlan") return plain(parseVlan(reader));
  if (word === "greater" || word === "less") return plain(parseLength(reader));
  if (word === "broadcast" || word === "multicast") return plain(parseGroup(reader, "ether"));
  const isProtocol = word === "ether" || Object.hasOwn(ETHER_TYPES, word) || Object.hasOwn(IP_PROTOCOLS, word);
  if (isProtocol) return parseProtocol(reader);
  if (DIRECTIONS.includes(word) || TYPES.includes(word)) return parseQualified(reader, undefined);
  // `80-90` after `portrange … or` is a word, and so is `\\udp` after `ip proto … or`.
  const isId = before?.type === "portrange" || (before?.type === "proto" && word.startsWith("\\"));
  if (before !== undefined && isId) return { expression: parseId(reader, before), qualifiers: before };
  throw reader.unexpected("a primitive (host, net, port, tcp, …)");
}

function plain(expression: Expression): Parsed {
  return { expression, qualifiers: undefined };
}

/** A protocol: by itself, or as a qualifier of what follows. */
function parseProtocol(reader: TokenReader): Parsed {
  const protocol = reader.take().text;
  if (reader.is("broadcast", "multicast")) return plain(parseGroup(reader, protocol));
  if (reader.is(...DIRECTIONS, ...TYPES)) return parseQualified(reader, protocol);
  if (protocol === "ether") throw reader.unexpected("host, src, dst, proto, broadcast or multicast");
  return plain(protocolTest(protocol));
}

function protocolTest(protocol: string): Expression {
  return Object.hasOwn(ETHER_TYPES, protocol)
    ? { kind: "ether-type", value: ETHER_TYPES[protocol] }
    : { kind: "ip-protocol", ...IP_PROTOCOLS[protocol] };
}

/** A direction, a type, or both; then what they qualify. */
function parseQualified(reader: TokenReader, protocol: string | undefined): Parsed {
  const direction = parseDirection(reader);
  const type = reader.is(...TYPES) ? (reader.take().text as NonNullable<Qualifiers["type"]>) : undefined;
  const qualifiers = { protocol, direction, type };
  return { expression: parseNegatedId(reader, qualifiers), qualifiers };
}

function parseDirection(reader: TokenReader): Direction {
  if (!reader.is(...DIRECTIONS)) return "either";
  const first = reader.take().text as Direction;
  const joint = reader.peek().text;
  const second = reader.peek(1);
  if ((joint !== "or" && joint !== "and") || second.text === first || !DIRECTIONS.includes(second.text)) return first;
  // `src host a and dst host b` is another thing: there the address comes first.
  reader.take();
  reader.take();
  return joint === "or" ? "either" : "both";
}

/** An address or number, or some of them in parentheses. */
function parseNegatedId(reader: TokenReader, qualifiers: Qualifiers): Expression {
  if (reader.accept("not")) {
    return { kind: "not", operand: reader.nested(() => parseNegatedId(reader, qualifiers)) };
  }
  if (!reader.accept("(")) return parseId(reader, qualifiers);
  return reader.nested(() => {
    let left = parseNegatedId(reader, qualifiers);
    while (reader.is("and", "or")) {
      const kind = reader.take().text as "and" | "or";
      left = { kind, left, right: parseNegatedId(reader, qualifiers) };
    }
    reader.expect(")", "at the end of the parenthesis");
    return left;
  });
}

function parseId(reader: TokenReader, qualifiers: Qualifiers | undefined): Expression {
  const { kind, text } = reader.peek();
  if (qualifiers === undefined)
    throw reader.error(`'${text}' needs a word before it that says what it is (host, port, …)`);
  const { type } = qualifiers;
  if (type === "port") return parsePort(reader, qualifiers);
  if (type === "portrange") return parsePortRange(reader, qualifiers);
  if (type === "proto") return parseProto(reader, qualifiers);
  if (kind === "mac") return parseEtherHost(reader, qualifiers);
  if (kind === "address6") return parseHost6(reader, qualifiers);
  if (kind === "address" || kind === "number") return parseHost(reader, qualifiers);
  throw reader.unexpected(`the address of a ${type ?? "host"} (names are not resolved)`);
}

/** Protocols that have ports may qualify them. */
function portProtocol(reader: TokenReader, { protocol }: Qualifiers, token: Token): number {
  if (protocol === undefined) return 0;
  if (protocol === "tcp" || protocol === "udp" || protocol === "sctp") return IP_PROTOCOLS[protocol].value;
  throw reader.error(`'${protocol}' does not go with a port`, token);
}

function parsePort(reader: TokenReader, qualifiers: Qualifiers): Expression {
  const token = reader.take();
  if (token.kind !== "number") throw reader.unexpected("the number of a port (names are not resolved)", token);
  if (token.value >>> 0 > 65_535) throw reader.error("a port is 0 to 65535", token);
  const protocol = portProtocol(reader, qualifiers, token);
  return { kind: "port", first: token.value, last: token.value, protocol, direction: qualifiers.direction };
}

function parsePortRange(reader: TokenReader, qualifiers: Qualifiers): Expression {
  const token = reader.take();
  const ports = /^(\d+)(?:-(\d+))?$/.exec(token.text);
  if (ports === null) throw reader.unexpected("a range of ports like 8000-8999", token);
  const [a, b] = [Number(ports[1]), Number(ports[2] ?? ports[1])];
  if (Math.max(a, b) > 65_535) throw reader.error("a port is 0 to 65535", token);
  const protocol = portProtocol(reader, qualifiers, token);
  const { direction } = qualifiers;
  return { kind: "port", first: Math.min(a, b), last: Math.max(a, b), protocol, direction };
}

/** `ether proto`, `ip proto`, `ip6 proto` or `proto`, and a number or a name (with a backslash or without). */
function parseProto(reader: TokenReader, { protocol, direction }: Qualifiers): Expression {
  const token = reader.take();
  if (direction !== "either") throw reader.error("a protocol has no direction", token);
  const name = token.text.replace(/^\\/, "");
  const table = protocol === "ether" ? ETHER_TYPES : IP_PROTOCOLS;
  let value = token.value;
  if (token.kind === "word" && Object.hasOwn(table, name)) {
    const named = table[name];
    value = typeof named === "number" ? named : named.value;
  } else if (token.kind !== "number") {
    throw reader.unexpected(`a protocol (a number or ${Object.keys(table).join(", ")})`, token);
  }
  if (protocol === "ether") {
    if (value >>> 0 > 65_535 || value < LEAST_ETHER_TYPE) {
      throw reader.error(`a type of Ethernet is ${LEAST_ETHER_TYPE} to 65535`, token);
    }
    return { kind: "ether-type", value };
  }
  if (value >>> 0 > 255) throw reader.error("a protocol of IP is 0 to 255", token);
  const versions: Record<string, 0 | 4 | 6> = { ip: 4, ip6: 6, any: 0 };
  const version = versions[protocol ?? "any"];
  if (version === undefined) throw reader.error(`'${protocol}' does not go with 'proto'`, token);
  return { kind: "ip-protocol", value, version };
}

/** `broadcast` or `multicast`, of Ethernet unless a protocol says otherwise. */
function parseGroup(reader: TokenReader, protocol: string): Expression {
  const token = reader.take();
  if (token.text === "broadcast") {
    if (protocol === "ether") return { kind: "ether-host", high: 0xffff, low: -1, direction: "dst" };
    throw reader.error("only Ethernet has a broadcast address that is known here: write 'ether broadcast'", token);
  }
  if (protocol === "ether" || protocol === "ip" || protocol === "ip6") return { kind: "multicast", layer: protocol };
  throw reader.error(`'${protocol}' does not go with 'multicast'`, token);
}

function parseVlan(reader: TokenReader): Expression {
  reader.take();
  const token = reader.peek();
  if (token.kind !== "number") return { kind: "vlan", id: -1 };
  if (token.value >>> 0 > 4095) throw reader.error("the number of a VLAN is 0 to 4095");
  return { kind: "vlan", id: reader.take().value };
}

/** `greater N` is `len >= N`, `less N` is `len <= N`. */
function parseLength(reader: TokenReader): Expression {
  const operator = reader.take().text === "greater" ? ">=" : "<=";
  const token = reader.take();
  if (token.kind !== "number") throw reader.unexpected("a number of bytes", token);
  const right: Arithmetic = { kind: "number", value: token.value };
  return { kind: "relation", operator, left: { kind: "length" }, right };
}
