/** A configuration file for a command: the configuration, or one error that says all that is wrong with it. */
import { type Configuration, formatError, loadConfiguration } from "./configuration/configuration.ts";
import { ExitCode, TapirError } from "./errors.ts";

/** Reads a configuration, or throws all its errors, one a line. */
export function readConfiguration(file: string): Configuration {
  const loaded = loadConfiguration(file);
  if (loaded.errors !== undefined) {
    throw new TapirError(loaded.errors.map(formatError).join("\n"), ExitCode.CONFIGURATION);
  }
  return loaded.configuration;
}
