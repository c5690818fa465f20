/**
 * The configuration: one YAML file, `version: 1`, as `docs/configuration.md` describes it. Reading it never throws;
 * everything that is wrong is reported at once, with its line and column.
 */

import type { LeasedAddress } from "../dhcp/lease.ts";
import { buildPlan, type FormerPlan, type ResolvedPlan } from "./build.ts";
import { type Checked, type Finding, loadChecked, parseChecked } from "./checked_file.ts";
import { type ConfigurationError, formatError, formatPath, type Report } from "./errors.ts";
import type { Configuration } from "./schema.ts";
import { hasShape } from "./validate.ts";

export type { FormerPlan, ResolvedPlan } from "./build.ts";
export type { DockerPlan, Endpoint, IpfixPlan, ServicesPlan } from "./build_services.ts";
export type { DevicePlan } from "./devices.ts";
export { type ConfigurationError, formatError } from "./errors.ts";
export type { Configuration, PortConfiguration } from "./schema.ts";

const NO_LEASES: ReadonlyMap<string, LeasedAddress> = new Map();

export type ConfigurationResult =
  | { configuration: Configuration; errors?: undefined }
  /** At least one, in the order of the file. */
  | { errors: ConfigurationError[]; configuration?: undefined };

/** Reads a configuration's text; `file` is its name in errors. */
export function parseConfiguration(text: string, file: string): ConfigurationResult {
  return asResult(parseChecked<Configuration>(text, file, check));
}

/** Reads a configuration file. One that cannot be read is an error without a position. */
export function loadConfiguration(file: string): ConfigurationResult {
  return asResult(loadChecked<Configuration>(file, check));
}

function asResult(checked: Checked<Configuration>): ConfigurationResult {
  return checked.errors === undefined ? { configuration: checked.value } : checked;
}

/** Checks a configuration that comes as data, not as text: its errors have no position. */
export function checkConfiguration(value: unknown, file = "configuration"): ConfigurationResult {
  const errors = check(value).map(({ path, message }) => ({ file, path: formatPath(path), message }));
  return errors.length === 0 ? { configuration: value as Configuration } : { errors };
}

/**
 * The plan that a configuration stands for. Interfaces and ports that are in `previous` too keep their indexes; a port
 * counts as the same if its name, its network and its device's kind, namespace and name are the same.
 * `leases` are what DHCP servers have given, by the name of the uplink; an uplink without one has no address and no routes.
 * @throws `TypeError` for a configuration that `checkConfiguration` would refuse.
 */
export function resolvePlan(
  configuration: Configuration,
  previous?: FormerPlan,
  leases: ReadonlyMap<string, LeasedAddress> = NO_LEASES,
): ResolvedPlan {
  return buildPlan(configuration, previous, leases, (path, message) => {
    throw new TypeError(formatError({ file: "configuration", path: formatPath(path), message }));
  });
}

function check(value: unknown): Finding[] {
  const found: Finding[] = [];
  const report: Report = (path, message, side = "value", line = undefined) => found.push({ path, message, side, line });
  if (hasShape(value, report)) buildPlan(value, undefined, NO_LEASES, report);
  return found;
}
