/**
 * YAML text to plain data that remembers where everything stands in the text.
 *
 * The tree of YAML nodes is walked here rather than by the library, because that gives each duplicate key its path,
 * holds aliases to a number of nodes (a few lines of nested aliases can stand for billions), and makes maps without a
 * prototype, in which `constructor` is a name like any other.
 */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLMap,
} from "yaml";
import { type Path, quote, type Side } from "./errors.ts";

/** A file of more bytes is no configuration. */
export const LARGEST_TEXT_BYTES = 1024 * 1024;
const MOST_NODES = 100_000;
const DEEPEST_NESTING = 32;
/** One slip makes the parser complain of everything behind it. */
const MOST_SYNTAX_ERRORS = 20;
const NESTED_TOO_DEEP = "nested too deep";

export interface Position {
  /** Both from 1. */
  line: number;
  column: number;
}

/** Where a value stands (offsets into the text), and what is inside it. */
interface Place {
  keyOffset: number;
  valueOffset: number;
  /** A text in literal lines (`|`), which begin below its first. */
  isLiteral?: true;
  children: Map<string | number, Place>;
}

/** An error before its offset has become a line and a column. */
export interface TextError {
  offset: number;
  path: Path;
  message: string;
}

export interface ParsedText {
  /** Maps, lists and scalars; undefined where `errors` has a reason to go no further. */
  value: unknown;
  errors: TextError[];
  /**
   * Offset of the value at `path`, or of its key; of the nearest thing around it where there is no such value. `line`,
   * from 1: of that line of the value, where it has lines of its own in the text.
   */
  offsetOf(path: Path, side: Side, line?: number): number;
  positionOf(offset: number): Position;
}

/** Never throws. */
export function parseText(text: string): ParsedText {
  const lines = new LineCounter();
  const errors: TextError[] = [];
  const root: Place = { keyOffset: 0, valueOffset: 0, children: new Map() };
  const value = readValue(text, lines, root, errors);
  return {
    value,
    errors,
    offsetOf: (path, side, line) => {
      const place = placeOf(root, path);
      if (line === undefined || place?.isLiteral === undefined) return offsetOf(root, path, side);
      return lineOffset(text, place.valueOffset, line);
    },
    positionOf: (offset) => {
      const { line, col } = lines.linePos(offset);
      // The counter knows nothing of a text in which it saw no line.
      return { line: Math.max(1, line), column: Math.max(1, col) };
    },
  };
}

function readValue(text: string, lines: LineCounter, root: Place, errors: TextError[]): unknown {
  const fail = (message: string, offset = 0): undefined => {
    errors.push({ offset, path: [], message });
  };
  if (Buffer.byteLength(text) > LARGEST_TEXT_BYTES) {
    return fail(`the file is larger than ${LARGEST_TEXT_BYTES} bytes`);
  }
  // Duplicate keys are found below, where their path is known.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const problems = problemsOf(document);
  for (const { pos, message } of problems.slice(0, MOST_SYNTAX_ERRORS)) fail(message, pos[0]);
  if (problems.length > MOST_SYNTAX_ERRORS) {
    fail(`${problems.length - MOST_SYNTAX_ERRORS} more syntax errors follow`, problems[MOST_SYNTAX_ERRORS].pos[0]);
  }
  const { explicit, version } = document.directives.yaml;
  if (explicit === true && version !== "1.2") fail(`YAML ${version} is not supported, only 1.2`);
  if (errors.length > 0) return undefined;
  if (document.contents === null) return fail('the file is empty: it needs at least "version: 1" and a network');
  const reader = new Reader((offset, path, message) => errors.push({ offset, path, message }));
  const value = reader.read(document.contents, [], root);
  return errors.some(({ path }) => path.length === 0) ? undefined : value;
}

/** What the parser objects to: one problem for each place, on one line each. */
function problemsOf(document: Document.Parsed): { pos: [number, number]; message: string }[] {
  const problems = [...document.errors, ...document.warnings];
  // The parser recurses, and gives up where the stack ends. What it says besides follows from that.
  const exhausted = problems.find(({ code }) => code === "RESOURCE_EXHAUSTION");
  if (exhausted !== undefined) return [{ pos: exhausted.pos, message: NESTED_TOO_DEEP }];
  const places = new Set<number>();
  return problems.flatMap(({ code, pos, message }) => {
    if (places.has(pos[0])) return [];
    places.add(pos[0]);
    const isSecond = code === "MULTIPLE_DOCS";
    return [{ pos, message: isSecond ? "a second document begins here: one is allowed" : oneLine(message) }];
  });
}

function oneLine(message: string): string {
  return message.replace(/\s+/g, " ").trim();
}

function offsetOf(root: Place, path: Path, side: Side): number {
  let place = root;
  for (const [index, step] of path.entries()) {
    const child = place.children.get(step);
    // What is missing has no position: its parent's key stands for it.
    if (child === undefined) return index === 0 ? 0 : place.keyOffset;
    place = child;
  }
  return side === "key" ? place.keyOffset : place.valueOffset;
}

/** What stands at `path`, if there is such a thing. */
function placeOf(root: Place, path: Path): Place | undefined {
  return path.reduce<Place | undefined>((place, step) => place?.children.get(step), root);
}

/** Where the words of a literal text's line begin; the text's own `|` is at `offset`. */
function lineOffset(text: string, offset: number, line: number): number {
  let start = offset;
  for (let passed = 0; passed < line; passed++) {
    const end = text.indexOf("\n", start);
    if (end < 0) return start;
    start = end + 1;
  }
  return start + (/^ */.exec(text.slice(start, start + 256))?.[0].length ?? 0);
}

class Reader {
  private readonly fail: (offset: number, path: Path, message: string) => void;
  private nodes = 0;
  /** What each anchor stands for at this point of the text, and each alias that has been met. */
  private readonly anchored = new Map<string, Node>();
  private readonly targets = new Map<Alias, Node | undefined>();

  constructor(fail: (offset: number, path: Path, message: string) => void) {
    this.fail = fail;
  }

  /** The plain value of `node`; notes in `place` where its parts stand. */
  read(node: Node | null, path: Path, place: Place): unknown {
    this.nodes++;
    if (path.length > DEEPEST_NESTING || this.nodes > MOST_NODES) {
      if (this.nodes <= MOST_NODES + 1) {
        const what = this.nodes > MOST_NODES ? `more than ${MOST_NODES} values` : NESTED_TOO_DEEP;
        this.fail(place.valueOffset, path, `${what} (aliases count as what they stand for)`);
        this.nodes = MOST_NODES + 1;
      }
      return undefined;
    }
    if (isAlias(node)) return this.readAlias(node, path, place);
    if (node?.anchor !== undefined) this.anchored.set(node.anchor, node);
    if (isMap<Node, Node | null>(node)) return this.readMap(node, path, place);
    if (isSeq<Node | null>(node)) {
      return node.items.map((item, index) => {
        const offset = startOf(item) ?? place.valueOffset;
        return this.read(item, [...path, index], this.childOf(place, index, offset, offset));
      });
    }
    if (!isScalar(node)) return null;
    if (node.type === "BLOCK_LITERAL") place.isLiteral = true;
    return node.value;
  }

  /** An anchor may be given again: an alias stands for the last one before it, also where it is itself read again. */
  private readAlias(alias: Alias, path: Path, place: Place): unknown {
    if (!this.targets.has(alias)) this.targets.set(alias, this.anchored.get(alias.source));
    const target = this.targets.get(alias);
    if (target !== undefined) return this.read(target, path, place);
    this.fail(place.valueOffset, path, `no anchor ${quote(alias.source)} before this alias`);
    return undefined;
  }

  private readMap(map: YAMLMap<Node, Node | null>, path: Path, place: Place): Record<string, unknown> {
    const result: Record<string, unknown> = Object.create(null);
    for (const { key: keyNode, value } of map.items) {
      if (this.nodes > MOST_NODES) break;
      const keyOffset = startOf(keyNode) ?? place.valueOffset;
      const key = this.keyOf(keyNode);
      if (key === undefined) {
        this.fail(keyOffset, path, "a key must be a word");
        continue;
      }
      const inside = [...path, key];
      if (key in result) {
        this.fail(keyOffset, inside, `duplicate key ${quote(key)}`);
        continue;
      }
      const isEmpty = value === null || (isScalar(value) && value.value === null);
      const valueOffset = isEmpty ? keyOffset : (startOf(value) ?? keyOffset);
      result[key] = this.read(value, inside, this.childOf(place, key, keyOffset, valueOffset));
    }
    return result;
  }

  /** Keys are names: one that YAML takes for a number or a truth value is taken as it is written. */
  private keyOf(node: Node): string | undefined {
    if (!isScalar(node) || node.value === null) return undefined;
    if (typeof node.value === "string") return node.value;
    return node.source ?? String(node.value);
  }

  private childOf(place: Place, step: string | number, keyOffset: number, valueOffset: number): Place {
    const child: Place = { keyOffset, valueOffset, children: new Map() };
    place.children.set(step, child);
    return child;
  }
}

function startOf(node: Node | null): number | undefined {
  return node?.range?.[0];
}
