/** What there is where a router's socket would be. */
import { lstatSync } from "node:fs";
import { connect } from "node:net";
import type { SystemError } from "../errors.ts";
import { type Finding, missing, ok, problem, warning } from "./finding.ts";

/** `stale`: a socket that nobody listens on. `open`: somebody takes connections, a router or not. */
export type SocketState = "absent" | "stale" | "no-socket" | "forbidden" | "open";

export async function socketState(path: string): Promise<SocketState> {
  try {
    const there = lstatSync(path, { throwIfNoEntry: false });
    if (there === undefined) return "absent";
    if (!there.isSocket()) return "no-socket";
  } catch (error) {
    return (error as SystemError).code === "EACCES" ? "forbidden" : "absent";
  }
  return new Promise((resolve) => {
    const probe = connect(path);
    const settle = (state: SocketState): void => {
      probe.destroy();
      resolve(state);
    };
    probe.once("connect", () => settle("open"));
    probe.once("error", ({ code }: SystemError) => {
      settle(code === "ECONNREFUSED" ? "stale" : code === "ENOENT" ? "absent" : "forbidden");
    });
  });
}

/** `isAskedFor`: the user named the socket, and so expects a router there. */
export function checkSocket(path: string, state: Exclude<SocketState, "open">, isAskedFor: boolean): Finding {
  switch (state) {
    case "absent":
      return isAskedFor
        ? problem("router", `none runs on ${path}`, "start it with `tapir run -f FILE`, or name another --socket")
        : ok("router", `none runs on ${path}`);
    case "stale":
      return warning("router", `${path} was left by a router that died`, "the next `tapir run` there takes its place");
    case "no-socket":
      return problem("router", `${path} is no socket`, "remove it, or choose another path with --socket");
    case "forbidden":
      return missing("router", `${path} may not be opened`, "run as root, or as the user whose router it is");
  }
}

/** Somebody took the connection, but what came back was no router's health. */
export function checkStranger(path: string, why: string): Finding {
  const cure = "end what listens there, or restart the router if it is one that hangs";
  return problem("router", `on ${path} no healthy router answers (${why})`, cure);
}
