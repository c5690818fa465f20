/** Checks data against the schema, and says what is wrong in words. */
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import { type Path, quote, type Report } from "./errors.ts";
import { suggestion } from "./nearest.ts";
import { type Configuration, ConfigurationSchema } from "./schema.ts";
import { NAME_WORDS } from "./schema_parts.ts";

const ajv = new Ajv({ allErrors: true, verbose: true, allowUnionTypes: true });
const matches = ajv.compile<Configuration>(ConfigurationSchema);

/** Whether `value` has the shape of a configuration; reports everything that has not. */
export function hasShape(value: unknown, report: Report): value is Configuration {
  return fits(matches, value, report);
}

/** A check of a shape of another kind, in the same words. */
export function shapeCheck<T>(schema: object): (value: unknown, report: Report) => value is T {
  const validate = ajv.compile<T>(schema);
  return (value, report): value is T => fits(validate, value, report);
}

function fits<T>(matches: ValidateFunction<T>, value: unknown, report: Report): value is T {
  if (matches(value)) return true;
  const said = new Set<string>();
  for (const error of withoutUnionNoise(matches.errors ?? [])) {
    const { path, message, side } = explain(error, value);
    // One value can fail several keywords of one schema: the first tells enough.
    const key = JSON.stringify([path, side, error.keyword === "required" ? message : ""]);
    if (said.has(key)) continue;
    said.add(key);
    report(path, message, side);
  }
  return false;
}

/**
 * A value that fits no member of a union fails every member's keywords too. What is said instead: that it is none of
 * them; but for a list or a map, where that is allowed, what is wrong inside it.
 */
function withoutUnionNoise(errors: ErrorObject[]): ErrorObject[] {
  const dropped = new Set<ErrorObject>();
  const unions = errors.filter(({ keyword }) => keyword === "anyOf");
  unions.sort((left, right) => left.schemaPath.length - right.schemaPath.length);
  for (const union of unions) {
    if (dropped.has(union)) continue;
    const members = union.schema as { type?: string }[];
    const kind = Array.isArray(union.data) ? "array" : typeof union.data;
    const member = kind === "string" || union.data === null ? -1 : members.findIndex(({ type }) => type === kind);
    const kept = member < 0 ? undefined : `${union.schemaPath}/${member}/`;
    for (const error of errors) {
      if (!error.schemaPath.startsWith(`${union.schemaPath}/`)) continue;
      if (error.instancePath !== union.instancePath && !error.instancePath.startsWith(`${union.instancePath}/`))
        continue;
      if (kept === undefined || !error.schemaPath.startsWith(kept)) dropped.add(error);
    }
    if (kept !== undefined) dropped.add(union);
  }
  return errors.filter((error) => !dropped.has(error) && error.propertyName === undefined);
}

interface Explained {
  path: Path;
  message: string;
  side: "key" | "value";
}

function explain(error: ErrorObject, root: unknown): Explained {
  const path = pathOf(error.instancePath, root);
  switch (error.keyword) {
    case "additionalProperties":
      return unknownKey(path, error);
    case "propertyNames": {
      const name = error.params.propertyName as string;
      return { path: [...path, name], message: `${quote(name)} is no valid name: ${NAME_WORDS}`, side: "key" };
    }
    case "required": {
      return { path, message: `missing key ${quote(error.params.missingProperty)}`, side: "key" };
    }
    default:
      return { path, message: wrongValue(error), side: "value" };
  }
}

function unknownKey(path: Path, error: ErrorObject): Explained {
  const key = error.params.additionalProperty as string;
  const inside = [...path, key];
  const known = Object.keys((error.parentSchema?.properties as object | undefined) ?? {});
  return { path: inside, message: `unknown key ${quote(key)}${suggestion(key, known)}`, side: "key" };
}

function wrongValue(error: ErrorObject): string {
  const { data, parentSchema } = error;
  const message = `expected ${parentSchema?.title ?? error.message}, not ${quote(data)}`;
  if (typeof data === "string") return message + suggestion(data, wordsOf(parentSchema));
  const wantsText = parentSchema?.type === "string" && (typeof data === "number" || typeof data === "boolean");
  return wantsText ? `${message} (a text that looks like a number needs quotes)` : message;
}

/** The words that a schema allows, its union's members included. */
function wordsOf(schema: unknown): string[] {
  const {
    enum: words = [],
    anyOf = [],
    items,
  } = (schema ?? {}) as { enum?: unknown[]; anyOf?: unknown[]; items?: unknown };
  const own = words.filter((word): word is string => typeof word === "string");
  return [...own, ...anyOf.flatMap(wordsOf), ...(items === undefined ? [] : wordsOf(items))];
}

/** A JSON pointer's steps; those into lists become numbers. */
function pathOf(pointer: string, root: unknown): Path {
  const path: (string | number)[] = [];
  let value = root;
  for (const escaped of pointer.split("/").slice(1)) {
    const step = escaped.replaceAll("~1", "/").replaceAll("~0", "~");
    path.push(Array.isArray(value) ? Number(step) : step);
    value = (value as Record<string, unknown> | undefined)?.[step];
  }
  return path;
}
