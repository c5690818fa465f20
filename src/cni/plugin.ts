/**
 * The CNI plugin (https://www.cni.dev/docs/spec/, versions 0.4.0, 1.0.0 and 1.1.0): one call of a runtime is one run. It
 * keeps nothing itself: the router keeps the ports, each with the runtime's names in it, and IPAM its addresses.
 */
import { add } from "./add.ts";
import { check } from "./check.ts";
import { type CommandName, readCommand, type Variables } from "./environment.ts";
import { CniError, Code } from "./errors.ts";
import { isVersion, NEWEST, type Network, parseNetwork, readNetwork, VERSIONS } from "./network.ts";
import { collect, del, status } from "./release.ts";

export interface Answer {
  /** Exit code. */
  status: 0 | 1;
  /** What goes to stdout. */
  output: string;
}

/** What it resolves with is printed. */
type Command = (network: Network, variables: Variables) => Promise<unknown>;

const COMMANDS: Readonly<Record<Exclude<CommandName, "VERSION">, { run: Command; isStrict: boolean; since?: string }>> =
  {
    ADD: { run: add, isStrict: true },
    DEL: { run: del, isStrict: false },
    CHECK: { run: check, isStrict: true },
    GC: { run: collect, isStrict: false, since: "1.1.0" },
    STATUS: { run: status, isStrict: true, since: "1.1.0" },
  };

/** Never throws: an error is an answer too. */
export async function answerTo(variables: Variables, input: string): Promise<Answer> {
  let version: string = NEWEST;
  try {
    const name = readCommand(variables);
    const values = parseNetwork(input);
    if (isVersion(values.cniVersion)) version = values.cniVersion;
    const result =
      name === "VERSION"
        ? { cniVersion: version, supportedVersions: VERSIONS }
        : await run(name, values, variables, input);
    return { status: 0, output: result === undefined ? "" : `${JSON.stringify(result)}\n` };
  } catch (error) {
    return { status: 1, output: `${JSON.stringify(describe(version, error))}\n` };
  }
}

function run(
  command: Exclude<CommandName, "VERSION">,
  values: Record<string, unknown>,
  variables: Variables,
  input: string,
): Promise<unknown> {
  const { isStrict, since, run: body } = COMMANDS[command];
  const network = readNetwork(values, input, isStrict);
  if (since === undefined || network.version === since) return body(network, variables);
  const message = `${command} came with version ${since}, and cniVersion is ${network.version}`;
  throw new CniError(Code.INCOMPATIBLE_VERSION, message);
}

function describe(cniVersion: string, error: unknown): object {
  if (!(error instanceof CniError)) {
    const { message, stack } = error as Error;
    return { cniVersion, code: Code.INTERNAL, msg: message, details: stack };
  }
  const { code, message, details } = error;
  return { cniVersion, code, msg: message, ...(details === undefined ? {} : { details }) };
}
