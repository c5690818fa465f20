/** JSON over HTTP, as the servers on unix sockets speak it: bodies of bounded length, and answers. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Ajv } from "ajv";

/** An answer with another status than the one that fits the error's kind. */
export class HttpError extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** The whole body. @throws HttpError for one of more than `limitBytes`. */
export async function readBytes(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limitBytes) {
      throw new HttpError(413, `a request has at most ${limitBytes} bytes`, { connection: "close" });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The object that the body is. @throws HttpError for anything else. */
export function parseBody(bytes: Buffer): unknown {
  try {
    const body: unknown = JSON.parse(bytes.toString("utf8"));
    if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
  } catch {
    // Said below.
  }
  throw new HttpError(400, "the request's body is not a JSON object");
}

const ajv = new Ajv({ strict: false });

/** @throws HttpError, with what is wrong first, for a value that the schema does not take; `what` says what it is. */
export function checkAgainst(schema: object, value: unknown, what = "the request's body"): void {
  // A schema is compiled once: the package remembers it.
  const validate = ajv.compile(schema);
  if (validate(value)) return;
  const [error] = validate.errors ?? [];
  const place = error.instancePath.slice(1).replaceAll("/", ".");
  throw new HttpError(400, `${what}: ${place === "" ? "" : `${place} `}${error.message}`);
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(`${JSON.stringify(body ?? {})}\n`);
}
