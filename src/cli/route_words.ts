/** The words of `ip route`: what they ask the router to do. */
import type { RouteOperation } from "../control/routing/schemas.ts";
import { unsupported, Words, wrong } from "./words.ts";

type Type = NonNullable<RouteOperation["type"]>;
type Hop = NonNullable<RouteOperation["nexthops"]>[number];

const TYPES: readonly string[] = ["unicast", "blackhole", "unreachable", "prohibit", "throw"];
const OTHER_TYPES = ["local", "broadcast", "multicast", "anycast", "nat", "xresolve"];
const VERBS: Record<string, RouteOperation["op"]> = {
  add: "add",
  del: "del",
  delete: "del",
  replace: "replace",
  change: "change",
  append: "append",
  prepend: "prepend",
  flush: "flush",
};

/** What `route show` and `route flush` choose by. */
export interface RouteChoice {
  table?: string;
  to?: string;
  match?: "root" | "match" | "exact";
  via?: string;
  dev?: string;
  proto?: string;
  type?: Type;
  metric?: number;
}

export interface RouteQuery {
  to: string;
  from?: string;
  iif?: string;
  mark?: string;
}

/** The operation of a verb; undefined for a word that is none. */
export function verbOf(word: string): RouteOperation["op"] | undefined {
  return Object.hasOwn(VERBS, word) ? VERBS[word] : undefined;
}

/** `add`, `del` and their like, without the verb. */
export function readOperation(op: RouteOperation["op"], list: readonly string[]): RouteOperation {
  if (op === "flush") return readFlush(list);
  const words = new Words(list);
  const operation: RouteOperation = { op };
  const hop: Hop = {};
  while (!words.isEmpty) {
    const word = words.next();
    if (readAttribute(word, words, operation) || readHopWord(word, words, hop)) continue;
    if (word === "nexthop") addHop(words, operation);
    else if (word === "to") setTo(operation, words.next(word));
    else if (word === "scope") checkScope(words.next(word));
    else if (TYPES.includes(word) && operation.to === undefined) operation.type = word as Type;
    else if (OTHER_TYPES.includes(word) || REFUSED.has(word)) throw unsupported(word);
    else setTo(operation, word);
  }
  if (operation.to === undefined) throw wrong("a prefix is needed");
  if (Object.keys(hop).length > 0) {
    if (operation.nexthops !== undefined) throw wrong('"via" or "dev" and "nexthop" exclude each other');
    operation.nexthops = [hop];
  }
  return operation;
}

const REFUSED = new Set([
  "tos",
  "dsfield",
  "src",
  "mtu",
  "advmss",
  "rtt",
  "rttvar",
  "window",
  "cwnd",
  "initcwnd",
  "ssthresh",
  "realms",
  "realm",
  "encap",
  "nhid",
  "features",
  "quickack",
  "congctl",
  "pref",
  "expires",
  "hoplimit",
  "ttl-propagate",
  "weight",
  "vrf",
  "oif",
  "cache",
  "type",
]);

/** Words that say the same of a route wherever they stand; false for others. */
function readAttribute(word: string, words: Words, into: RouteOperation | RouteChoice): boolean {
  if (word === "table" || word === "vrf") into.table = words.next(word);
  else if (word === "proto" || word === "protocol") into.proto = words.next(word);
  else if (word === "metric" || word === "preference" || word === "priority") into.metric = words.number(word);
  else return false;
  return true;
}

function readHopWord(word: string, words: Words, hop: Hop): boolean {
  if (word === "via") hop.via = readGateway(words);
  else if (word === "dev" || word === "oif") hop.dev = words.next(word);
  else if (word === "onlink") hop.onlink = true;
  else return false;
  return true;
}

function readGateway(words: Words): string {
  const word = words.next("via");
  if (word === "inet6") throw unsupported("via inet6");
  return word === "inet" ? words.next("via inet") : word;
}

function addHop(words: Words, operation: RouteOperation): void {
  const hop: Hop = {};
  for (let word = words.peek(); word !== undefined && word !== "nexthop"; word = words.peek()) {
    words.next();
    if (word === "weight") hop.weight = words.number(word);
    else if (!readHopWord(word, words, hop)) throw wrong(`"nexthop" or end of line is expected instead of "${word}"`);
  }
  operation.nexthops = [...(operation.nexthops ?? []), hop];
}

/** The scope follows from the rest: it may be said, but decides nothing. */
function checkScope(scope: string): void {
  if (!["link", "global", "universe"].includes(scope)) throw unsupported(`scope ${scope}`);
}

function setTo(operation: RouteOperation, prefix: string): void {
  if (operation.to !== undefined) throw wrong(`either "to" is duplicate, or "${prefix}" is a garbage`);
  operation.to = prefix;
}

/** What `route show` is to show, or `route flush` to take away. */
export function readChoice(list: readonly string[]): RouteChoice {
  const words = new Words(list);
  const choice: RouteChoice = {};
  while (!words.isEmpty) {
    const word = words.next();
    if (readAttribute(word, words, choice)) continue;
    if (word === "via") choice.via = readGateway(words);
    else if (word === "dev" || word === "oif") choice.dev = words.next(word);
    else if (word === "type") choice.type = readType(words.next(word));
    else if (word === "root" || word === "match" || word === "exact") setChosen(choice, words.next(word), word);
    else if (word === "to") readTo(words, choice);
    else if (TYPES.includes(word)) choice.type = word as Type;
    else if (word === "scope" || REFUSED.has(word)) throw unsupported(word);
    else setChosen(choice, word, undefined);
  }
  return choice;
}

function readTo(words: Words, choice: RouteChoice): void {
  const word = words.next("to");
  if (word === "root" || word === "match" || word === "exact") setChosen(choice, words.next(word), word);
  else setChosen(choice, word, undefined);
}

function setChosen(choice: RouteChoice, prefix: string, match: RouteChoice["match"]): void {
  if (choice.to !== undefined) throw wrong(`"${prefix}" is a garbage`);
  choice.to = prefix;
  choice.match = match ?? "exact";
}

function readType(word: string): Type {
  if (TYPES.includes(word)) return word as Type;
  throw unsupported(`type ${word}`);
}

function readFlush(list: readonly string[]): RouteOperation {
  if (list.length === 0) throw wrong('"route flush" requires arguments');
  const { via, dev, ...choice } = readChoice(list);
  const hop = { ...(via === undefined ? {} : { via }), ...(dev === undefined ? {} : { dev }) };
  return { op: "flush", ...choice, ...(Object.keys(hop).length === 0 ? {} : { nexthops: [hop] }) };
}

export function readQuery(list: readonly string[]): RouteQuery {
  const words = new Words(list);
  const query: Partial<RouteQuery> = {};
  while (!words.isEmpty) {
    const word = words.next();
    if (word === "from" || word === "iif" || word === "mark") query[word] = words.next(word);
    else if (word === "to") query.to = words.next(word);
    else if (
      REFUSED.has(word) ||
      ["uid", "ipproto", "sport", "dport", "fibmatch", "connected", "notify"].includes(word)
    )
      throw unsupported(word);
    else if (query.to === undefined) query.to = word;
    else throw wrong(`"${word}" is a garbage`);
  }
  if (query.to === undefined) throw wrong("need at least a destination address");
  return { ...query, to: query.to };
}
