/**
 * The estate: what a control process leaves in writing, so that the next one can go on where it was. The dataplane keeps it,
 * as memory that it does not look into (`keep-estate`), and hands it over with the devices and the tables.
 *
 * It says what was meant, not how that was put into numbers: the configuration in force, and what no configuration
 * says: which index stands for what, which devices are open, leases, routes that were added by hand. The program that reads it may be
 * a newer one, with plans of another shape.
 */
import { native } from "../../io/native.ts";
import { ownVersion } from "../../io/package_root.ts";
import type { FormerPlan } from "../configuration/build.ts";
import { type Configuration, checkConfiguration, formatError } from "../configuration/configuration.ts";
import type { OpenDevice } from "../devices.ts";
import type { SavedLease } from "../dhcp/leased_uplink.ts";
import { TapirError } from "../errors.ts";
import type { SavedRouting } from "../routing/routing.ts";

/** Of the words below; a program takes over what it can read, and nothing else. */
const ESTATE_FORMAT = 1;

export type SavedDevice = Pick<OpenDevice, "plan" | "mtu" | "ifindex" | "cutsDatagrams">;

export interface Estate {
  configuration: Configuration;
  /** What has which index: flows know interfaces and ports by them. */
  former: FormerPlan;
  devices: SavedDevice[];
  leases: SavedLease[];
  routing: SavedRouting;
}

/** Writes an estate into memory of its own; the descriptor is the caller's. */
export function writeEstate(estate: Estate): number {
  const bytes = Buffer.from(JSON.stringify({ format: ESTATE_FORMAT, version: ownVersion(), ...estate }));
  const { fd, memory } = native().createMemory("tapir-estate", bytes.length);
  new Uint8Array(memory).set(bytes);
  return fd;
}

/** @throws TapirError for what this program cannot go on with. */
export function readEstate(fd: number): Estate {
  const { format, version, ...estate } = parse(Buffer.from(native().mapMemory(fd)).toString("utf8"));
  if (format !== ESTATE_FORMAT) throw new TapirError(`tapir ${version ?? "of another version"} has left it`);
  const { errors } = checkConfiguration(estate.configuration);
  if (errors !== undefined) throw new TapirError(`its configuration is none here: ${formatError(errors[0])}`);
  return estate;
}

function parse(text: string): Estate & { format?: number; version?: string } {
  try {
    return JSON.parse(text) as Estate;
  } catch {
    throw new TapirError("what it holds cannot be read");
  }
}
