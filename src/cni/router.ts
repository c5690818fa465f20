/** The router over its API, with what it says is wrong as errors of a CNI plugin. */
import { TapirClient, TapirClientError } from "../client/client.ts";
import type { AttachWish, Port } from "../control/api_schemas.ts";
import type { Attached } from "../control/attach.ts";
import type { Configuration } from "../control/configuration/schema.ts";
import { CniError, Code } from "./errors.ts";

export class Router {
  private readonly client: TapirClient;

  constructor(socket: string | undefined) {
    this.client = new TapirClient(socket);
  }

  attach(wish: AttachWish): Promise<Attached> {
    return translated(this.client.attach(wish));
  }

  /** Also succeeds where there is no such port, or no router: then there is nothing to detach. */
  async detach(name: string): Promise<void> {
    try {
      await this.client.detach(name);
    } catch (error) {
      if (error instanceof TapirClientError && (error.status === 404 || isAbsent(error))) return;
      throw errorOf(error);
    }
  }

  ports(): Promise<Port[]> {
    return translated(this.client.ports());
  }

  configuration(): Promise<Configuration> {
    return translated(this.client.configuration());
  }

  /** Whether there is a router at all. */
  async isThere(): Promise<boolean> {
    try {
      await this.client.ask("GET", "/v1/names");
      return true;
    } catch (error) {
      if (error instanceof TapirClientError && isAbsent(error)) return false;
      throw errorOf(error);
    }
  }
}

/** Nobody listens: a TAP does not outlive who holds it, so its ports are gone too. */
function isAbsent({ status, message }: TapirClientError): boolean {
  return status === undefined && /ENOENT|ECONNREFUSED/.test(message);
}

async function translated<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw errorOf(error);
  }
}

function errorOf(error: unknown): unknown {
  if (!(error instanceof TapirClientError)) return error;
  const { status, message } = error;
  const [first, ...rest] = message.split("\n");
  return new CniError(codeOf(status, message), first, rest.length === 0 ? undefined : rest.join("\n"));
}

/** 404: no such network; 400: a configuration that cannot be; 503: the dataplane is being started again. */
function codeOf(status: number | undefined, message: string): number {
  if (status === 404 || status === 400) return Code.INVALID_CONFIGURATION;
  if (status === 503) return Code.TRY_AGAIN_LATER;
  return status === undefined && !/EACCES|EPERM/.test(message) ? Code.TRY_AGAIN_LATER : Code.REFUSED;
}
