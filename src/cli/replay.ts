/** `tapir replay`: a capture file through a configuration, without devices. */
import { closeSync, openSync, writeSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { ExitCode, type SystemError, TapirError } from "../control/errors.ts";
import type { ReplayEvent } from "../control/experiments/replay.ts";
import type { CapturedPacket } from "../io/captured_packet.ts";
import { pcapHeader, pcapRecord } from "../io/pcap_writer.ts";
import { addHelp } from "./help.ts";

interface ReplayCommandOptions {
  file: string;
  in?: string;
  map: Map<string, string>;
  routerMac: string[];
  write?: string;
  seed: number;
  hosts: boolean;
  json?: boolean;
}

function readSeed(text: string): number {
  if (/^[0-9]{1,10}$/.test(text) && Number(text) <= 0xffffffff) return Number(text);
  throw new InvalidArgumentError("a seed is an integer from 0 to 4294967295.");
}

function readMapping(text: string, present: Map<string, string>): Map<string, string> {
  const [, name, port] = /^(.+)=([^=]+)$/.exec(text) ?? [];
  if (name === undefined || port === undefined) throw new InvalidArgumentError("expected INTERFACE=PORT.");
  return new Map([...present, [name, port]]);
}

function readMac(text: string, present: string[]): string[] {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new InvalidArgumentError("expected aa:bb:cc:dd:ee:ff.");
  return [...present, text];
}

export function addReplay(program: Command): void {
  const command = program
    .command("replay")
    .description("take the packets of a capture file through a configuration, on the file's clock, without devices")
    .argument("<pcap>", "pcap or pcapng; - for standard input")
    .requiredOption("-f, --file <path>", "the configuration")
    .option("--in <port>", "the port that all packets enter by")
    .option("--map <interface=port>", "the port for packets of an interface of the file", readMapping, new Map())
    .option("--router-mac <mac>", "what was the router's hardware address in the file", readMac, [])
    .option("-w, --write <path>", "write what came out as pcap; - for standard output")
    .option("--seed <number>", "of all chance", readSeed, 1)
    .option("--no-hosts", "no virtual hosts that answer the router's ARP requests")
    .option("-j, --json", "print JSON, an object a line")
    .action(async (file: string, options: ReplayCommandOptions) => {
      await replayFile(file, options);
    });
  addHelp(
    command,
    [
      ["tapir replay c1.pcap -f router.yaml", "the port follows from each packet's source"],
      ["tapir replay c1.pcap -f router.yaml --in c1 -w out.pcap", "all by one port; keep what came out"],
      ["tapir replay any.pcapng -f router.yaml --map eth1=wan", "by the file's interfaces"],
      ["tapir replay old.pcap -f router.yaml --router-mac 02:42:0a:37:42:01", "captured beside another router"],
    ],
    {
      exitCodes: [ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.CONFIGURATION],
      meanings: { [ExitCode.FAILED]: "the file is malformed" },
      notes: "The same file, configuration and seed give the same output, byte for byte.",
    },
  );
}

async function replayFile(file: string, options: ReplayCommandOptions): Promise<void> {
  const { readConfiguration, resolvePlan, replay, readPackets, bytesOfFile } = await modules();
  const resolved = resolvePlan(readConfiguration(options.file));
  checkPorts(
    resolved.plan.ports.map(({ name }) => name),
    options,
  );
  const input = openFile(file === "-" ? "/dev/stdin" : file, "r");
  const output = new Output(options.write);
  const tally = new Tally();
  try {
    const packets = tally.counting(readPackets(bytesOfFile(input)));
    const { in: port, map, routerMac, seed, hosts } = options;
    const wish = { ...(port === undefined ? {} : { port }), map, routerMacs: routerMac, seed, hosts };
    // Lines go where the packets do not.
    const print = (line: string): void => {
      (options.write === "-" ? process.stderr : process.stdout).write(`${line}\n`);
    };
    for (const event of replay(packets, resolved, wish)) {
      tally.take(event);
      output.take(event, tally.start);
      print(options.json === true ? JSON.stringify(withoutBytes(event)) : formatEvent(event));
    }
    if (options.json !== true) print(tally.summary());
  } catch (error) {
    throw known(file, error as Error);
  } finally {
    closeSync(input);
    output.close();
  }
}

async function modules() {
  return {
    ...(await import("../control/read_configuration.ts")),
    ...(await import("../control/configuration/configuration.ts")),
    ...(await import("../control/experiments/replay.ts")),
    ...(await import("../io/pcap_reader.ts")),
    ...(await import("../io/byte_source.ts")),
  };
}

function checkPorts(known: readonly string[], { in: port, map }: ReplayCommandOptions): void {
  for (const name of [...(port === undefined ? [] : [port]), ...map.values()]) {
    if (!known.includes(name)) {
      throw new TapirError(`replay: no port is called ${name}; there are ${known.join(", ")}`, ExitCode.USAGE);
    }
  }
}

function openFile(path: string, flags: string): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    throw new TapirError(
      `${path}: ${(error as SystemError).code === "ENOENT" ? "no such file" : (error as Error).message}`,
    );
  }
}

/** What is wrong with the capture file names it. */
function known(file: string, error: Error): Error {
  const isOfFile = error.constructor.name === "CaptureFileError" || (error as SystemError).syscall === "read";
  return isOfFile ? new TapirError(`${file}: ${error.message}`) : error;
}

const MICROSECONDS = 1e6;

export function formatEvent({ at, kind, port = "-", text }: ReplayEvent): string {
  const time = `${Math.floor(at / MICROSECONDS)}.${String(at % MICROSECONDS).padStart(6, "0")}`;
  return `${time.padStart(12)} ${port.padEnd(8)} ${kind.padEnd(5)} ${text}`;
}

function withoutBytes({ bytes: _, ...event }: ReplayEvent): Omit<ReplayEvent, "bytes"> {
  return event;
}

/** What came out, as a file of its own. */
class Output {
  private readonly descriptor: number | undefined;
  private begun = false;

  constructor(path: string | undefined) {
    this.descriptor = path === undefined ? undefined : path === "-" ? 1 : openFile(path, "w");
  }

  take({ at, bytes }: ReplayEvent, start: CapturedPacket | undefined): void {
    if (bytes === undefined || start === undefined) return;
    this.begin();
    this.write(pcapRecord(start.seconds, Math.floor(start.nanoseconds / 1000) + at, bytes));
  }

  /** A file without packets has its header all the same. */
  close(): void {
    this.begin();
    if (this.descriptor !== undefined && this.descriptor !== 1) closeSync(this.descriptor);
  }

  private begin(): void {
    if (!this.begun) this.write(pcapHeader());
    this.begun = true;
  }

  private write(bytes: Uint8Array): void {
    if (this.descriptor === undefined) return;
    for (let done = 0; done < bytes.length; ) done += writeSync(this.descriptor, bytes, done);
  }
}

/** Counts for the last line. */
class Tally {
  /** The first packet: its time is the file's beginning. */
  start: CapturedPacket | undefined;
  private readonly kinds = new Map<string, number>();
  private readonly reasons = new Map<string, number>();

  *counting(packets: Iterable<CapturedPacket>): Generator<CapturedPacket> {
    for (const packet of packets) {
      this.start ??= packet;
      yield packet;
    }
  }

  take({ kind, reason }: ReplayEvent): void {
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
    if (kind === "drop" && reason !== undefined) this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
  }

  summary(): string {
    const count = (kind: string): number => this.kinds.get(kind) ?? 0;
    const why = [...this.reasons].map(([reason, times]) => `${reason} ${times}`).join(", ");
    const words = [
      `${count("in")} in`,
      `${count("out")} out`,
      `${count("drop")} dropped${why === "" ? "" : ` (${why})`}`,
    ];
    if (count("local") > 0) words.push(`${count("local")} for the router`);
    if (count("skip") > 0) words.push(`${count("skip")} skipped`);
    return words.join(", ");
  }
}
