#!/usr/bin/env node
/** The `tapir` command: reads its words, runs the command, turns errors into one line and an exit code. */
import { Argument, Command, CommanderError, InvalidArgumentError } from "commander";
import type { Attached } from "../control/attach.ts";
import { ExitCode, TapirError } from "../control/errors.ts";
import { ownVersion } from "../io/package_root.ts";
import { ask, socketPath } from "./client.ts";
import { conntrack } from "./conntrack.ts";
import { addConntrackOptions, readConntrackWish } from "./conntrack_options.ts";
import { SHOWN, type Shown, show } from "./show.ts";

interface CommonOptions {
  socket?: string;
  json?: boolean;
}

interface AttachOptions extends CommonOptions {
  netns?: string;
  pid?: number;
  name?: string;
  ifname?: string;
  address?: string;
  defaultRoute: boolean;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function readPid(text: string): number {
  if (!/^[1-9][0-9]{0,9}$/.test(text)) throw new InvalidArgumentError("a process id is a number from 1 on.");
  return Number(text);
}

/** A command that talks to a router. */
function talking(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .option("--socket <path>", "the router's socket (default: $TAPIR_SOCKET or /run/tapir/tapir.sock)")
    .option("-j, --json", "print JSON");
}

function addRun(program: Command): void {
  program
    .command("run")
    .description("run a router in the foreground; SIGTERM and SIGINT end it and remove what it made, SIGHUP re-reads")
    .requiredOption("-f, --file <path>", "the configuration")
    .option("--socket <path>", "the API's socket, in place of the configuration's")
    .action(async ({ file, socket }: { file: string; socket?: string }) => {
      const { run } = await import("../control/run.ts");
      await run(file, socket ?? process.env.TAPIR_SOCKET);
    });
  program
    .command("check")
    .description("validate a configuration")
    .requiredOption("-f, --file <path>", "the configuration")
    .option("-j, --json", "print the configuration as JSON, or what is wrong with it")
    .action(async ({ file, json }: { file: string; json?: boolean }) => {
      const { formatError, loadConfiguration } = await import("../control/configuration/configuration.ts");
      const { configuration, errors } = loadConfiguration(file);
      if (json === true) print(JSON.stringify(configuration ?? { errors }, null, 2));
      else if (configuration !== undefined) print(`${file} is valid`);
      if (errors !== undefined) throw new TapirError(errors.map(formatError).join("\n"), ExitCode.CONFIGURATION);
    });
}

function addLab(program: Command): void {
  program
    .command("lab")
    .description("the demonstration: two containers, a router and an outside host in namespaces of their own")
    .option("--once", "end after the steps, with exit code 0 or 1")
    .argument("[command...]", "run this in the first container once all is up, and end with its exit code")
    .passThroughOptions()
    .action(async (command: string[], { once }: { once?: boolean }) => {
      const { labCommand } = await import("./lab/lab.ts");
      process.exitCode = await labCommand({ once: once === true, ...(command.length > 0 ? { command } : {}) });
    });
}

function addAttach(program: Command): void {
  talking(program, "attach", "attach a container to a network of the running router")
    .argument("<network>", "the network")
    .option("--netns <name>", "the container's namespace, by its name in /run/netns")
    .option("--pid <number>", "the container's namespace, by a process in it", readPid)
    .option("--name <name>", "name of the port (default: the namespace's)")
    .option("--ifname <name>", "name of the device in the container", "eth0")
    .option("--address <address>", "its address (default: the first free one)")
    .option("--no-default-route", "do not give it a default route over the gateway")
    .action(async (network: string, options: AttachOptions) => {
      const { socket, json, ...wish } = options;
      if ((wish.netns === undefined) === (wish.pid === undefined)) {
        throw new TapirError("attach: either --netns or --pid is needed", ExitCode.USAGE);
      }
      const attached = await ask<Attached>(socketPath(socket), "POST", "/v1/ports", { network, ...wish });
      const { name, ifname, address, gateway } = attached;
      print(
        json === true ? JSON.stringify(attached) : `${name}: ${ifname} ${address}, gateway ${gateway}, on ${network}`,
      );
    });
  talking(program, "detach", "detach a container")
    .argument("<name>", "name of its port")
    .action(async (name: string, { socket, json }: CommonOptions) => {
      const path = `/v1/ports/${encodeURIComponent(name)}`;
      const detached = await ask<{ network: string }>(socketPath(socket), "DELETE", path);
      print(json === true ? JSON.stringify(detached) : `${name}: detached from ${detached.network}`);
    });
}

function addTables(program: Command): void {
  talking(program, "show", "show a table of the running router")
    .addArgument(new Argument("<table>", "which table").choices(SHOWN))
    .action(async (table: Shown, { socket, json }: CommonOptions) => {
      print(await show(socketPath(socket), table, json === true));
    });
  const command = talking(program, "conntrack", "the flow table, as conntrack(8) prints it");
  addConntrackOptions(command.showSuggestionAfterError(false)).action(
    async (table: string | undefined, options: CommonOptions & Record<string, string | boolean>) => {
      process.exitCode = await conntrack(socketPath(options.socket), readConntrackWish(options, table), print);
    },
  );
}

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= 10)) throw new InvalidArgumentError("seconds are a number above 0, at most 10.");
  return seconds;
}

function addDoctor(program: Command): void {
  talking(program, "doctor", "say what this machine offers and lacks, and whether a running router is healthy")
    .option("-f, --file <path>", "check a configuration against this machine as well")
    .option("--seconds <number>", "how long to watch a running router", readSeconds, 1)
    .addHelpText(
      "after",
      `
Each line is ok, a warning or a problem, and says what to do about it. Run it where the router runs or shall run: in its
namespace, with its privileges.

Examples:
  tapir doctor                       this machine, and the router on the default socket if there is one
  tapir doctor -f router.yaml        also whether the configuration and the machine fit
  tapir doctor --seconds 5 -j        watch a router for five seconds; print JSON

Exit codes: 0 healthy, 1 problems found, 3 invalid configuration, 5 missing privilege or kernel feature`,
    )
    .action(async (options: CommonOptions & { file?: string; seconds: number }) => {
      const { diagnose, formatDiagnosis } = await import("./doctor.ts");
      const { json, ...wish } = options;
      const diagnosis = await diagnose(wish, ownVersion());
      print(json === true ? JSON.stringify(diagnosis, null, 2) : formatDiagnosis(diagnosis));
      process.exitCode = diagnosis.exitCode;
    });
}

function createProgram(): Command {
  const program = new Command("tapir")
    .description("A userspace router for network namespaces and containers")
    .version(ownVersion())
    .option("--socket <path>", "the router's socket, for the commands that talk to one")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "tapir: ")) })
    .addHelpText(
      "after",
      `
Examples:
  tapir lab                          two containers, a router, an outside host; the steps of the tutorial
  tapir run -f router.yaml           the router in the foreground
  tapir attach lab --netns c3        give the namespace c3 an eth0 on the network lab
  tapir show drops                   why frames stopped, and how many
  tapir conntrack -L -p tcp          the TCP flows
  tapir doctor -f router.yaml        what this machine lacks for a configuration

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 invalid configuration, 4 no router answers,
            5 missing privilege or kernel feature`,
    );
  addLab(program);
  addRun(program);
  addAttach(program);
  addTables(program);
  addDoctor(program);
  program.hook("preAction", (_, command) => takeSocket(program, command));
  for (const command of program.commands) command.exitOverride().configureOutput(program.configureOutput());
  return program;
}

/** `--socket` may also come before the command's name. */
function takeSocket(program: Command, command: Command): void {
  const { socket } = program.opts<CommonOptions>();
  const takesIt = command.options.some((option) => option.long === "--socket");
  if (socket !== undefined && takesIt && command.opts<CommonOptions>().socket === undefined) {
    command.setOptionValue("socket", socket);
  }
}

/** One line on stderr, and the exit code that belongs to the error. */
function fail(error: unknown): void {
  if (error instanceof CommanderError) {
    // Commander has printed it; help and version are no errors.
    process.exitCode = error.exitCode === 0 ? ExitCode.DONE : ExitCode.USAGE;
    return;
  }
  const known = error instanceof TapirError;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${message.replace(/^(?!\S+:\d+:)/, "tapir: ")}\n`);
  if (process.env.TAPIR_DEBUG === "1" && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exitCode = known ? error.exitCode : ExitCode.FAILED;
}

/** A reader that has seen enough (`| head`) is no error. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? ExitCode.DONE : ExitCode.FAILED);
});

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  fail(error);
}
