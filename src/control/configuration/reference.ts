/**
 * What is published of the schema: `schema/tapir.schema.json`, and the tables of keys in `docs/configuration.md`.
 */
import { ConfigurationSchema } from "./schema.ts";

/** The keywords of a schema that matter here. */
interface SchemaNode {
  type?: string;
  title?: string;
  description?: string;
  default?: unknown;
  properties?: Record<string, SchemaNode>;
  patternProperties?: Record<string, SchemaNode>;
  required?: string[];
  items?: SchemaNode;
}

/** The JSON Schema as its file has it. */
export function schemaText(): string {
  const published = {
    $schema: "http://json-schema.org/draft-07/schema#",
    ...ConfigurationSchema,
    title: "Configuration of a Tapir router, version 1",
  };
  return `${JSON.stringify(published, null, 2)}\n`;
}

const BEGIN = "<!-- keys: made by npm run schema -->";
const END = "<!-- end of keys -->";

/** The documentation `text` with its tables of keys replaced by those of the schema. */
export function withKeyTables(text: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`no ${BEGIN} ... ${END}`);
  return `${text.slice(0, begin + BEGIN.length)}\n\n${keyTables()}\n${text.slice(end)}`;
}

/** A table for each map of the format, in the order of the schema. */
function keyTables(): string {
  const tables: string[] = [];
  const seen = new Set<string>();
  addTable("", ConfigurationSchema as unknown as SchemaNode, tables, seen);
  return tables.join("\n");
}

function addTable(path: string, node: SchemaNode, tables: string[], seen: Set<string>): void {
  const rows: string[] = [];
  const inner: [string, SchemaNode][] = [];
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    const needed = node.required?.includes(key) ? "required" : defaultOf(child);
    rows.push(`| \`${key}\` | ${cell(child.title ?? "")} | ${needed} | ${cell(child.description ?? "")} |`);
    const found = mapWithin(path === "" ? key : `${path}.${key}`, child);
    if (found !== undefined) inner.push(found);
  }
  // The chains have the same keys: the first table stands for both.
  const content = rows.join("\n");
  if (seen.has(content)) return;
  seen.add(content);
  const heading = path === "" ? "The file" : `\`${path}\``;
  const description = path === "" || node.description === undefined ? "" : `${node.description}\n\n`;
  tables.push(`### ${heading}\n\n${description}| key | value | default | meaning |\n|---|---|---|---|\n${content}\n`);
  for (const [innerPath, innerNode] of inner) addTable(innerPath, innerNode, tables, seen);
}

/** The map that a value is, or that its members are. */
function mapWithin(path: string, node: SchemaNode): [string, SchemaNode] | undefined {
  if (node.properties !== undefined) return [path, node];
  const [named] = Object.values(node.patternProperties ?? {});
  if (named !== undefined) return mapWithin(`${path}.NAME`, named);
  return node.items === undefined ? undefined : mapWithin(`${path}[]`, node.items);
}

function defaultOf(node: SchemaNode): string {
  return node.default === undefined ? "" : `\`${String(node.default)}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
