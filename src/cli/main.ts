#!/usr/bin/env node
/** The `tapir` command: reads its words, runs the command, turns errors into one line and an exit code. */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Argument, Command, CommanderError, Option } from "commander";
import { ExitCode, TapirError } from "../control/errors.ts";
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from "../control/log_options.ts";
import { ownVersion } from "../io/package_root.ts";
import { addAssert } from "./assert.ts";
import { addAttach } from "./attach.ts";
import { addCapture } from "./capture.ts";
import { addChange } from "./change.ts";
import { socketPath } from "./client.ts";
import { addCompletion } from "./completion/completion.ts";
import { conntrack } from "./conntrack.ts";
import { addConntrackOptions, readConntrackWish } from "./conntrack_options.ts";
import { addDoctor } from "./doctor_command.ts";
import { addExplain } from "./explain.ts";
import { addHelp } from "./help.ts";
import { addImpair } from "./impair.ts";
import { addIptables } from "./iptables.ts";
import { addNeigh } from "./neigh.ts";
import { addOciHook } from "./oci_hook.ts";
import { addReplay } from "./replay.ts";
import { addRoute } from "./route.ts";
import { addRule } from "./rule.ts";
import { SHOWN, type Shown, show } from "./show.ts";
import { addSnapshot } from "./snapshot.ts";
import { type CommonOptions, talking } from "./talking.ts";
import { addTop } from "./top/top_command.ts";
import { addTrace } from "./trace.ts";
import { addUpgrade } from "./upgrade.ts";

interface RunOptions {
  file: string;
  socket?: string;
  logLevel?: LogLevel;
  logFormat?: LogFormat;
  outlive: boolean;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function addRun(program: Command): void {
  const run = program
    .command("run")
    .description("run a router in the foreground; SIGTERM and SIGINT end it and remove what it made, SIGHUP re-reads")
    .requiredOption("-f, --file <path>", "the configuration")
    .option("--socket <path>", "the API's socket, in place of the configuration's")
    .addOption(
      new Option("--log-level <level>", "what to log, and all that is worse").choices(LOG_LEVELS).env("TAPIR_LOG"),
    )
    .addOption(
      new Option("--log-format <format>", "how to log (default: text on a terminal, JSON elsewhere)").choices(
        LOG_FORMATS,
      ),
    )
    .option("--no-outlive", "should this process crash, forwarding ends with it (also: TAPIR_OUTLIVE=0)")
    .action(async ({ file, socket, logLevel, logFormat, outlive }: RunOptions) => {
      const { run } = await import("../control/run.ts");
      await run(file, socket ?? process.env.TAPIR_SOCKET, {
        ...(logLevel === undefined ? {} : { level: logLevel }),
        ...(logFormat === undefined ? {} : { format: logFormat }),
        outlive: outlive && process.env.TAPIR_OUTLIVE !== "0",
      });
    });
  addHelp(
    run,
    [
      ["tapir run -f router.yaml", "until Ctrl-C"],
      ["ip netns exec r tapir run -f router.yaml", "in the namespace that has the uplinks' devices"],
      ["tapir run -f router.yaml --log-format json --log-level warn", "for a log that a program reads"],
    ],
    { exitCodes: [ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.CONFIGURATION, ExitCode.PRIVILEGE] },
  );
  const check = program
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
  addHelp(
    check,
    [
      ["tapir check -f router.yaml", "say what is wrong, with line and column"],
      ["tapir check -f router.yaml -j", "print it as data"],
    ],
    { exitCodes: [ExitCode.DONE, ExitCode.USAGE, ExitCode.CONFIGURATION] },
  );
}

function addLab(program: Command): void {
  const lab = program
    .command("lab")
    .description("the demonstration: two containers, a router and an outside host in namespaces of their own")
    .option("--once", "end after the steps, with exit code 0 or 1")
    .argument("[command...]", "run this in the first container once all is up, and end with its exit code")
    .passThroughOptions()
    .action(async (command: string[], { once }: { once?: boolean }) => {
      const { labCommand } = await import("./lab/lab.ts");
      process.exitCode = await labCommand({ once: once === true, ...(command.length > 0 ? { command } : {}) });
    });
  addHelp(
    lab,
    [
      ["tapir lab", "the steps, then it stays up until Ctrl-C"],
      ["tapir lab --once", "the steps alone"],
      ["tapir lab -- ping -c3 203.0.113.2", "a command in the first container"],
    ],
    {
      exitCodes: [ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.PRIVILEGE],
      meanings: { [ExitCode.FAILED]: "a step failed" },
      notes: "With a command, its exit code is that of the command.",
    },
  );
}

function addTables(program: Command): void {
  const table = talking(program, "show", "show a table of the running router")
    .addArgument(new Argument("<table>", "which table").choices(SHOWN))
    .action(async (table: Shown, { socket, json }: CommonOptions) => {
      print(await show(socketPath(socket), table, json === true));
    });
  addHelp(table, [
    ["tapir show ports", "devices, their state and their counters"],
    ["tapir show drops", "why frames stopped, and how many"],
    ["tapir show rules -j", "each rule with its packets and bytes, as JSON"],
  ]);
  const command = talking(program, "conntrack", "the flow table, as conntrack(8) prints it");
  addConntrackOptions(command.showSuggestionAfterError(false)).action(
    async (table: string | undefined, options: CommonOptions & Record<string, string | boolean>) => {
      process.exitCode = await conntrack(socketPath(options.socket), readConntrackWish(options, table), print);
    },
  );
  addHelp(command, [
    ["tapir conntrack -L -p tcp", "the TCP flows"],
    ["tapir conntrack -E -o timestamp", "what happens to flows, until Ctrl-C"],
    ["tapir conntrack -D -s 10.55.66.2", "end the flows of a source"],
    ["tapir conntrack -C", "how many there are"],
  ]);
}

/** All commands; nothing has been read yet. */
export function createProgram(): Command {
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
  tapir iptables -L -n -v            the rules, and what they have met
  tapir doctor -f router.yaml        what this machine lacks for a configuration

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 invalid configuration, 4 no router answers,
            5 missing privilege or kernel feature, 6 an assertion does not hold`,
    );
  addLab(program);
  addRun(program);
  addRoute(program);
  addRule(program);
  addNeigh(program);
  addAttach(program);
  addOciHook(program);
  addTables(program);
  addChange(program);
  addIptables(program);
  addDoctor(program);
  addImpair(program);
  addReplay(program);
  addAssert(program);
  addExplain(program);
  addCapture(program);
  addTop(program);
  addTrace(program);
  addSnapshot(program);
  addUpgrade(program);
  addCompletion(program);
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

async function main(): Promise<void> {
  // A reader that has seen enough (`| head`) is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? ExitCode.DONE : ExitCode.FAILED);
  });
  try {
    await createProgram().parseAsync(process.argv);
  } catch (error) {
    fail(error);
  }
}

/** The installed command is a link to this file. */
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main();
