/**
 * `tapir capture`: frames at the points of their walk, into a pcapng file, a pipe, or lines like tcpdump's. What comes is
 * passed on as it comes; Ctrl-C asks the router to end the capture, so that the file ends with its statistics.
 */
import { createWriteStream } from "node:fs";
import type { IncomingMessage } from "node:http";
import type { Writable } from "node:stream";
import { type Command, InvalidArgumentError } from "commander";
import { ExitCode, type SystemError, TapirError } from "../control/errors.ts";
import { HOOK_NAMES, LONGEST_SNAP_BYTES } from "../dataplane/capture_ring.ts";
import { CaptureFileError } from "../io/captured_packet.ts";
import { PcapngStream, type StreamedPacket } from "../io/pcapng_stream.ts";
import { printFrame } from "../packet/print.ts";
import { compileExpression, ExpressionError } from "../pcap_filter/expression.ts";
import { ask, askStream, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { type CommonOptions, talking } from "./talking.ts";

interface CaptureOptions extends CommonOptions {
  at?: string;
  in?: string;
  write?: string;
  count?: number;
  snaplen?: number;
}

function readNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^[0-9]+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`a number from ${least} to ${most} is needed.`);
  };
}

export function addCapture(program: Command): void {
  const command = talking(program, "capture", "show frames at the points of their walk, or write them to a pcapng file")
    .argument("[expression...]", "which frames: an expression of pcap-filter(7)")
    .option("--at <points>", `where to look: a list of ${HOOK_NAMES.join(", ")} (default: ingress,egress)`)
    .option("-i, --in <interface>", "one port, network or uplink")
    .option("-w, --write <file>", "write pcapng there; - for the standard output")
    .option("-c, --count <number>", "end after so many frames", readNumber(1, 2 ** 31))
    .option(
      "-s, --snaplen <bytes>",
      "bytes of each frame that are kept (default: all)",
      readNumber(0, LONGEST_SNAP_BYTES),
    )
    .action(async (words: string[], options: CaptureOptions) => {
      await capture(words.join(" "), options);
    });
  addHelp(
    command,
    [
      ["tapir capture icmp", "as it comes in and goes out, like tcpdump's lines"],
      ["tapir capture -i c1 'tcp port 80 and tcp[tcpflags] & tcp-syn != 0'", "who opens connections"],
      ["tapir capture --at prerouting,postrouting host 10.55.66.2", "before and after translation"],
      ["tapir capture --at drop", "what is dropped, and why"],
      ["tapir capture -i wan -w uplink.pcapng -c 1000", "the next thousand frames of the uplink"],
      ["tapir capture -w - | tshark -r -", "live, in other tools"],
    ],
    {
      notes: `ingress: as it came from the port. bridge: switched inside a network. prerouting: for the router, before DNAT. postrouting:
after translation. egress: as written to the port. drop: as it came, with the reason why it was dropped.
Ctrl-C ends it, and says how many frames were captured and how many were lost.`,
    },
  );
}

function queryOf(expression: string, { at, in: name, count, snaplen }: CaptureOptions): string {
  const query = new URLSearchParams();
  if (expression !== "") query.set("filter", expression);
  if (at !== undefined) query.set("at", at);
  if (name !== undefined) query.set("in", name);
  if (count !== undefined) query.set("count", String(count));
  if (snaplen !== undefined) query.set("snaplen", String(snaplen));
  return query.toString();
}

async function capture(expression: string, options: CaptureOptions): Promise<void> {
  try {
    // Said at once, whether a router answers or not.
    compileExpression(expression);
  } catch (error) {
    if (error instanceof ExpressionError) throw new TapirError(`capture: ${error.message}`, ExitCode.USAGE);
    throw error;
  }
  const socket = socketPath(options.socket);
  const output = options.write === undefined ? undefined : await openOutput(options.write);
  const response = await askStream(socket, `/v1/capture?${queryOf(expression, options)}`);
  const id = String(response.headers["tapir-capture"]);
  endOnSignals(socket, id);
  process.stderr.write(`tapir capture: at ${options.at ?? "ingress,egress"}; Ctrl-C ends it\n`);
  const seen = { packets: 0, lost: 0 };
  const stream = new PcapngStream({
    packet: (packet) => {
      seen.packets++;
      if (output === undefined) process.stdout.write(`${lineOf(packet, options.json === true)}\n`);
    },
    lost: (count) => {
      seen.lost += count;
    },
  });
  const isWhole = await follow(response, stream, output ?? process.stdout, output !== undefined);
  process.stderr.write(`${seen.packets} packets captured, ${seen.lost} lost\n`);
  if (!isWhole) throw new TapirError("capture: the router has ended", ExitCode.NO_ROUTER);
}

async function openOutput(path: string): Promise<Writable> {
  if (path === "-") {
    if (process.stdout.isTTY) throw new TapirError("capture: -w - would write to the terminal", ExitCode.USAGE);
    return process.stdout;
  }
  const file = createWriteStream(path);
  await new Promise((resolve, reject) => {
    file.once("open", resolve);
    file.once("error", (error: SystemError) => reject(new TapirError(`capture: ${path}: ${error.code}`)));
  });
  // A full disk ends the command, and with it the capture: the router hears that its client is gone.
  file.on("error", (error: SystemError) => {
    process.stderr.write(`tapir: capture: ${path}: ${error.message}\n`);
    process.exit(ExitCode.FAILED);
  });
  return file;
}

/** The first signal ends the capture, a second one the command. */
function endOnSignals(socket: string, id: string): void {
  const end = (): void => {
    process.once("SIGINT", () => process.exit(130)).once("SIGTERM", () => process.exit(143));
    // A router that is gone has ended the capture already.
    ask(socket, "DELETE", `/v1/captures/${id}`).catch(() => {});
  };
  let isEnding = false;
  const once = (): void => {
    if (!isEnding) end();
    isEnding = true;
  };
  process.once("SIGINT", once).once("SIGTERM", once);
}

/** Passes on what comes until it ends; false when the router broke off. A slow reader of ours slows the router's writing. */
async function follow(
  response: IncomingMessage,
  stream: PcapngStream,
  output: Writable,
  isFile: boolean,
): Promise<boolean> {
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      stream.push(piece);
      const goesOn = isFile ? output.write(piece) : !output.writableNeedDrain;
      if (!goesOn) await new Promise((resolve) => output.once("drain", resolve));
    }
  } catch (error) {
    if (error instanceof CaptureFileError) throw new TapirError(`capture: not a capture: ${error.message}`);
    if ((error as SystemError).code !== "ECONNRESET") throw error;
  }
  if (isFile && output !== process.stdout) await new Promise((resolve) => output.end(resolve));
  return response.complete;
}

function lineOf(
  { interfaceName, seconds, microseconds, length, comment, bytes }: StreamedPacket,
  isJson: boolean,
): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const packet = printFrame(view, 0, bytes.length);
  if (isJson) {
    const said = Object.fromEntries(comment.split(" ").flatMap((word) => (word === "" ? [] : [splitWord(word)])));
    return JSON.stringify({ time: seconds + microseconds / 1e6, interface: interfaceName, length, ...said, packet });
  }
  const time = new Date(seconds * 1000);
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, "0"));
  const fraction = String(microseconds).padStart(6, "0");
  return `${clock.join(":")}.${fraction} ${interfaceName} ${packet}${comment === "" ? "" : ` [${comment}]`}`;
}

function splitWord(word: string): [string, string] {
  const at = word.indexOf("=");
  return [word.slice(0, at), word.slice(at + 1)];
}
