/**
 * The network configuration that comes on stdin (section 1, "Plugin configuration objects"). ADD, CHECK and STATUS are
 * strict: a key that nobody knows is an error. DEL and GC are not, so that whatever was made can be taken away.
 */
import { suggestion } from "../control/configuration/nearest.ts";
import { CniError, Code, quote } from "./errors.ts";
import { type Result, readResult } from "./result.ts";

export const VERSIONS = ["0.4.0", "1.0.0", "1.1.0"] as const;
export type Version = (typeof VERSIONS)[number];
export const NEWEST: Version = "1.1.0";

type Values = Record<string, unknown>;

export interface Network {
  version: Version;
  /** What the runtime calls it. */
  name: string;
  /** What the router calls it; the same unless said. */
  network: string;
  /** The router's API. */
  socket: string | undefined;
  /** Without IPAM: whether a default route leads over the gateway. */
  defaultRoute: boolean;
  antiSpoofing: boolean | undefined;
  /** Name of the IPAM plugin. */
  ipam: string | undefined;
  dns: Values | undefined;
  runtimeConfig: Values;
  /** `args.cni`: CONVENTIONS.md. */
  args: Values;
  /** Not read where nothing depends on it. */
  prevResult: Result | undefined;
  validAttachments: unknown;
  /** As it came; delegated plugins get it. */
  text: string;
}

/** Keys of the specification and of the runtimes; `cni.dev/…` besides. */
const WELL_KNOWN = ["cniVersion", "cniVersions", "name", "type", "args", "ipMasq", "ipam", "dns", "capabilities"];
const OF_RUNTIMES = ["runtimeConfig", "prevResult", "disableCheck", "disableGC"];
const OWN = ["network", "socket", "defaultRoute", "antiSpoofing"];
const KEYS = [...WELL_KNOWN, ...OF_RUNTIMES, ...OWN];
/** `ipRanges` is for IPAM. */
const CAPABILITIES = ["portMappings", "ips", "mac", "bandwidth", "ipRanges"];
/** Older runtimes give the attachments by the second name. */
const ATTACHMENTS = ["cni.dev/valid-attachments", "cni.dev/attachments"];
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

/** The configuration as JSON, whatever its version. */
export function parseNetwork(text: string): Values {
  if (text.trim() === "") throw new CniError(Code.IO_FAILURE, "no network configuration comes on stdin");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CniError(Code.DECODING_FAILURE, "the network configuration is not JSON", (error as Error).message);
  }
  if (isMap(value)) return value;
  throw new CniError(Code.DECODING_FAILURE, "the network configuration is not a JSON object");
}

export function isVersion(value: unknown): value is Version {
  return VERSIONS.some((version) => version === value);
}

export function readVersion({ cniVersion }: Values): Version {
  if (isVersion(cniVersion)) return cniVersion;
  const said = cniVersion === undefined ? "no cniVersion is given" : `cniVersion ${quote(cniVersion)} is not supported`;
  throw new CniError(Code.INCOMPATIBLE_VERSION, `${said}: the versions are ${VERSIONS.join(", ")}`);
}

export function readNetwork(values: Values, text: string, isStrict: boolean): Network {
  const version = readVersion(values);
  const name = value(values, "name", isName, "a name of letters, digits, _, . and -");
  if (name === undefined) throw new CniError(Code.INVALID_CONFIGURATION, "the network configuration has no name");
  if (isStrict) refuseUnknown(values);
  const { type } = value(values, "ipam", isMap, "a map") ?? {};
  const args = value(values, "args", isMap, "a map") ?? {};
  return {
    version,
    name,
    network: value(values, "network", isText, "the name of a network of the router") ?? name,
    socket: value(values, "socket", isPath, "an absolute path"),
    defaultRoute: value(values, "defaultRoute", isTruth, "true or false") ?? true,
    antiSpoofing: value(values, "antiSpoofing", isTruth, "true or false"),
    ipam: readIpam(type),
    dns: value(values, "dns", isMap, "a map"),
    runtimeConfig: value(values, "runtimeConfig", isMap, "a map") ?? {},
    args: value(args, "cni", isMap, "a map") ?? {},
    prevResult: isStrict && values.prevResult !== undefined ? readResult(values.prevResult, "prevResult") : undefined,
    validAttachments: ATTACHMENTS.map((key) => values[key]).find((each) => each !== undefined),
    text,
  };
}

function refuseUnknown(values: Values): void {
  for (const [key, given] of Object.entries(values)) {
    if (!KEYS.includes(key) && !key.startsWith("cni.dev/")) {
      throw new CniError(Code.UNSUPPORTED_FIELD, `unknown key ${quote(key)}: ${quote(given)}${suggestion(key, KEYS)}`);
    }
  }
  if (values.ipMasq === true) {
    const cure = "the router's configuration says who is masqueraded (nat.masquerade)";
    throw new CniError(Code.UNSUPPORTED_FIELD, `"ipMasq": true is not supported: ${cure}`);
  }
  const { capabilities = {}, runtimeConfig = {} } = values;
  for (const [map, known] of [
    [capabilities, CAPABILITIES],
    [runtimeConfig, CAPABILITIES],
  ] as const) {
    for (const [key, given] of Object.entries(isMap(map) ? map : {})) {
      if (known.includes(key) || given === false) continue;
      const message = `capability ${quote(key)}: ${quote(given)} is not supported${suggestion(key, known)}`;
      throw new CniError(Code.UNSUPPORTED_FIELD, message);
    }
  }
}

/** No plugin, no IPAM: the router chooses. */
function readIpam(type: unknown): string | undefined {
  if (type === undefined || type === "") return undefined;
  if (typeof type === "string" && !type.includes("/")) return type;
  throw new CniError(Code.INVALID_CONFIGURATION, `ipam.type: expected a plugin's name, not ${quote(type)}`);
}

function value<T>(values: Values, key: string, is: (each: unknown) => each is T, expected: string): T | undefined {
  const found = values[key];
  if (found === undefined || found === null) return undefined;
  if (is(found)) return found;
  throw new CniError(Code.INVALID_CONFIGURATION, `${key}: expected ${expected}, not ${quote(found)}`);
}

export const isMap = (each: unknown): each is Values =>
  typeof each === "object" && each !== null && !Array.isArray(each);
const isText = (each: unknown): each is string => typeof each === "string" && each !== "";
const isName = (each: unknown): each is string => typeof each === "string" && NAME.test(each);
const isPath = (each: unknown): each is string => typeof each === "string" && each.startsWith("/");
const isTruth = (each: unknown): each is boolean => typeof each === "boolean";
