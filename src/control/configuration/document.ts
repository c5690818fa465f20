/**
 * YAML text to plain data that remembers where everything stands in the text.
 *
 * The tree of YAML nodes is walked here rather than by the library, because that gives each duplicate key its path,
 * holds aliases to a number of nodes (a few lines of nested aliases can stand for billions), and makes maps without a
 * prototype, in which `constructor` is a name like any other.
 */
import {
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

export interface Position {
  /** Both from 1. */
  line: number;
  column: number;
}

/** Where a value stands (offsets into the text), and what is inside it. */
interface Place {
  keyOffset: number;
  valueOffset: number;
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
  /** Offset of the value at `path`, or of its key; of the nearest thing around it where there is no such value. */
  offsetOf(path: Path, side: Side): number;
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
    offsetOf: (path, side) => offsetOf(root, path, side),
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
  let document: Document.Parsed;
  try {
    // Duplicate keys are found below, where their path is known.
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  } catch (error) {
    // The parser recurses: thousands of opening brackets exhaust the stack.
    return fail(error instanceof RangeError ? "nested too deep" : (error as Error).message);
  }
  for (const { code, pos, message } of [...document.errors, ...document.warnings]) {
    fail(code === "MULTIPLE_DOCS" ? "a second document begins here: one is allowed" : oneLine(message), pos[0]);
  }
  const { explicit, version } = document.directives.yaml;
  if (explicit === true && version !== "1.2") fail(`YAML ${version} is not supported, only 1.2`);
  if (errors.length > 0) return undefined;
  if (document.contents === null) return fail('the file is empty: it needs at least "version: 1" and a network');
  const reader = new Reader(document, (offset, path, message) => errors.push({ offset, path, message }));
  const value = reader.read(document.contents, [], root);
  return errors.some(({ path }) => path.length === 0) ? undefined : value;
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

class Reader {
  private readonly document: Document.Parsed;
  private readonly fail: (offset: number, path: Path, message: string) => void;
  private nodes = 0;

  constructor(document: Document.Parsed, fail: (offset: number, path: Path, message: string) => void) {
    this.document = document;
    this.fail = fail;
  }

  /** The plain value of `node`; notes in `place` where its parts stand. */
  read(node: Node | null, path: Path, place: Place): unknown {
    this.nodes++;
    if (path.length > DEEPEST_NESTING || this.nodes > MOST_NODES) {
      if (this.nodes <= MOST_NODES + 1) {
        const what = this.nodes > MOST_NODES ? `more than ${MOST_NODES} values` : "nested too deep";
        this.fail(place.valueOffset, path, `${what} (aliases count as what they stand for)`);
        this.nodes = MOST_NODES + 1;
      }
      return undefined;
    }
    if (isAlias(node)) {
      const target = node.resolve(this.document);
      if (target !== undefined) return this.read(target, path, place);
      this.fail(place.valueOffset, path, `no anchor "${node.source}" before this alias`);
      return undefined;
    }
    if (isMap<Node, Node | null>(node)) return this.readMap(node, path, place);
    if (isSeq<Node | null>(node)) {
      return node.items.map((item, index) => {
        const offset = startOf(item) ?? place.valueOffset;
        return this.read(item, [...path, index], this.childOf(place, index, offset, offset));
      });
    }
    return isScalar(node) ? node.value : null;
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
