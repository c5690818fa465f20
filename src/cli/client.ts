/** Asks the router that runs: one HTTP request over its unix socket. */
import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import { DEFAULT_SOCKET } from "../control/default_socket.ts";
import { ExitCode, type SystemError, TapirError, UnknownNameError } from "../control/errors.ts";

/** How long an answer may take, unless the caller has less patience. */
const PATIENCE_MS = 30_000;

export function socketPath(option: string | undefined): string {
  return option ?? process.env.TAPIR_SOCKET ?? DEFAULT_SOCKET;
}

function send(
  socket: string,
  method: string,
  path: string,
  body?: object,
  timeout = PATIENCE_MS,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: socket, method, path, timeout }, resolve);
    call.once("timeout", () => call.destroy(new Error("timed out")));
    call.once("error", (error: SystemError) => reject(noRouter(socket, error)));
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function noRouter(socket: string, error: SystemError): TapirError {
  const why = error.code === "ENOENT" || error.code === "ECONNREFUSED" ? "no router runs there" : error.message;
  if (error.code === "EACCES") return new TapirError(`${socket}: no permission: run as root`, ExitCode.PRIVILEGE);
  return new TapirError(`no router answers on ${socket}: ${why}`, ExitCode.NO_ROUTER);
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response) text += chunk;
  return text;
}

async function answerOf<T>(socket: string, response: IncomingMessage): Promise<T> {
  const text = await textOf(response);
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new TapirError(`what answers on ${socket} is not a router`, ExitCode.NO_ROUTER);
  }
}

interface ErrorAnswer {
  error?: string;
  exitCode?: ExitCode;
}

/** What the router says is wrong, with the exit code that belongs to it. */
function refusal({ error, exitCode }: ErrorAnswer, { statusCode }: IncomingMessage): TapirError {
  const text = error ?? `the router said ${statusCode}`;
  return statusCode === 404 ? new UnknownNameError(text, exitCode) : new TapirError(text, exitCode);
}

/** The answer as data; throws what the router says is wrong. */
export async function ask<T>(
  socket: string,
  method: string,
  path: string,
  body?: object,
  patienceMs?: number,
): Promise<T> {
  const response = await send(socket, method, path, body, patienceMs);
  const answer = await answerOf<T & ErrorAnswer>(socket, response);
  if (response.statusCode !== 200) throw refusal(answer, response);
  return answer;
}

/** The elements of an array that the router sends one a line, as they come. */
export async function* askEach<T>(socket: string, path: string, method = "GET"): AsyncGenerator<T> {
  const response = await send(socket, method, path);
  if (response.statusCode !== 200) throw refusal(await answerOf<ErrorAnswer>(socket, response), response);
  for await (const line of createInterface({ input: response })) {
    const text = line.replace(/,$/, "");
    if (text.startsWith("{")) yield JSON.parse(text) as T;
  }
  if (!response.complete) throw new TapirError("the router broke off in the middle of its answer", ExitCode.NO_ROUTER);
}

/** An answer that goes on for as long as it may, as it comes; and what its head says. */
export async function askStream(socket: string, path: string): Promise<IncomingMessage> {
  const response = await send(socket, "GET", path);
  if (response.statusCode !== 200) throw refusal(await answerOf<ErrorAnswer>(socket, response), response);
  // Nothing may happen for a long time.
  response.socket.setTimeout(0);
  return response;
}

/** What the router tells, a line each, for as long as it runs; throws when it ends. */
export async function* askEvents<T>(socket: string, path: string): AsyncGenerator<T> {
  const response = await askStream(socket, path);
  try {
    for await (const line of createInterface({ input: response })) yield JSON.parse(line) as T;
  } catch (error) {
    if ((error as SystemError).code !== "ECONNRESET") throw error;
  }
  throw new TapirError("the router has ended", ExitCode.NO_ROUTER);
}
