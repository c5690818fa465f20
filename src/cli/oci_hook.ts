/**
 * `tapir oci-hook`: what an OCI runtime (runc, crun, youki) calls when a container has its namespaces, and when it has
 * been deleted, with the container's state on standard input. Source: OCI runtime-spec, runtime.md "State", config.md
 * "POSIX-platform Hooks" and "Annotations".
 */
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import type { Attached } from "../control/attach.ts";
import { ExitCode, TapirError, UnknownNameError } from "../control/errors.ts";
import { type Done, describeAttached, detachPort } from "./attach.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { type CommonOptions, talking } from "./talking.ts";

/** Of a container's id, where the port has no other name: as many as `docker ps` and `podman ps` show. */
const ID_CHARACTERS = 12;

interface State {
  id: string;
  status: string;
  /** Of the container's first process, in the runtime's pid namespace. Not there, or 0, when the container has ended. */
  pid?: number;
  annotations: Record<string, unknown>;
}

interface HookOptions extends CommonOptions {
  name?: string;
  ifname?: string;
  address?: string;
  defaultRoute: boolean;
}

export function addOciHook(program: Command): void {
  const hook = talking(program, "oci-hook", "attach or detach a container, as a hook of runc, crun or podman")
    .argument("[network]", "the network (default: the annotation tapir.network)")
    .option("--name <name>", "name of the port (default: the annotation tapir.name, or the id's first 12 characters)")
    .option("--ifname <name>", "name of the device in the container (default: the annotation tapir.ifname, or eth0)")
    .option("--address <address>", "its address (default: the annotation tapir.address, or the first free one)")
    .option("--no-default-route", "do not give it a default route over the gateway")
    .action(async (network: string | undefined, options: HookOptions) => {
      const { said, words } = await hookCalled(readState(await text(process.stdin)), network, options);
      process.stdout.write(`${options.json === true ? JSON.stringify(said) : words}\n`);
    });
  addHelp(
    hook,
    [
      ["tapir oci-hook lab < state.json", "what the runtime does: attach, or detach when the state is stopped"],
      ["runc state web | tapir oci-hook lab --name web", "a container that is there already"],
    ],
    {
      notes:
        "For the stages createRuntime and poststop of a bundle's config.json, or of a file in podman's hooks directory. " +
        "The state is that of the OCI runtime specification, on standard input.",
    },
  );
}

/** Does what the state asks for. */
async function hookCalled(state: State, network: string | undefined, options: HookOptions): Promise<Done> {
  const { socket, defaultRoute } = options;
  const wish = (key: "name" | "ifname" | "address"): string | undefined => options[key] ?? annotation(state, key);
  const path = socketPath(socket);
  const name = wish("name") ?? state.id.slice(0, ID_CHARACTERS);
  if (state.status === "stopped") return detach(path, name);
  if (state.pid === undefined || state.pid === 0) throw new TapirError("oci-hook: the state has no pid");
  const asked = network ?? annotation(state, "network");
  if (asked === undefined) {
    throw new TapirError("oci-hook: which network? (an argument, or the annotation tapir.network)", ExitCode.USAGE);
  }
  const body = { network: asked, pid: state.pid, name, ifname: wish("ifname"), address: wish("address"), defaultRoute };
  const said = await ask<Attached>(path, "POST", "/v1/ports", body);
  return { said, words: describeAttached(said) };
}

/** The port may have gone with the container's process. */
async function detach(path: string, name: string): Promise<Done> {
  try {
    return await detachPort(path, name);
  } catch (error) {
    if (error instanceof UnknownNameError) return { said: { name }, words: `${name}: detached already` };
    throw error;
  }
}

function annotation({ annotations }: State, key: string): string | undefined {
  const value = Object.hasOwn(annotations, `tapir.${key}`) ? annotations[`tapir.${key}`] : undefined;
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** @throws TapirError for what is no state. */
export function readState(written: string): State {
  const { id, status, pid, annotations } = parse(written);
  if (typeof id !== "string" || id === "" || typeof status !== "string") {
    throw new TapirError("oci-hook: standard input is not the state of a container (id, status)", ExitCode.USAGE);
  }
  if (pid !== undefined && !Number.isSafeInteger(pid)) {
    throw new TapirError("oci-hook: the state's pid is no process id", ExitCode.USAGE);
  }
  return { id, status, annotations: (annotations ?? {}) as object as State["annotations"], pid: pid as number };
}

function parse(written: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(written)) as Record<string, unknown>;
  } catch {
    throw new TapirError("oci-hook: standard input is no JSON", ExitCode.USAGE);
  }
}
