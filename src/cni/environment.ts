/** What a runtime tells in environment variables (section 2, "Parameters"). */
import { CniError, Code, quote } from "./errors.ts";

export const COMMANDS = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] as const;
export type CommandName = (typeof COMMANDS)[number];

/** An interface of a container on the network. */
export interface Attachment {
  containerId: string;
  ifname: string;
}

export type Variables = Readonly<Record<string, string | undefined>>;

const CONTAINER_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const IFNAME = /^(?!\.{1,2}$)[^\s/:]{1,15}$/;

export function readCommand({ CNI_COMMAND }: Variables): CommandName {
  const found = COMMANDS.find((name) => name === CNI_COMMAND);
  if (found !== undefined) return found;
  throw wrong("CNI_COMMAND", CNI_COMMAND, `one of ${COMMANDS.join(", ")}`);
}

export function readAttachment({ CNI_CONTAINERID = "", CNI_IFNAME = "" }: Variables): Attachment {
  if (!CONTAINER_ID.test(CNI_CONTAINERID)) {
    throw wrong("CNI_CONTAINERID", CNI_CONTAINERID, "letters, digits, _, . and -, beginning with a letter or a digit");
  }
  if (!IFNAME.test(CNI_IFNAME)) {
    throw wrong("CNI_IFNAME", CNI_IFNAME, "an interface's name of 1 to 15 characters without /, : and blanks");
  }
  return { containerId: CNI_CONTAINERID, ifname: CNI_IFNAME };
}

/** Path of the container's namespace. */
export function readNetns({ CNI_NETNS = "" }: Variables): string {
  if (CNI_NETNS.startsWith("/")) return CNI_NETNS;
  throw wrong("CNI_NETNS", CNI_NETNS, "the path of a network namespace");
}

/** CNI_ARGS; what is not known of it is for others. */
export function readArguments({ CNI_ARGS = "" }: Variables): { ip?: string; mac?: string } {
  const pairs = CNI_ARGS.split(";").filter((pair) => pair !== "");
  const read = new Map(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at <= 0) throw wrong("CNI_ARGS", CNI_ARGS, "pairs KEY=value with ; between them");
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
  const [ip, mac] = [read.get("IP"), read.get("MAC")];
  return { ...(ip === undefined ? {} : { ip }), ...(mac === undefined ? {} : { mac }) };
}

function wrong(name: string, value: string | undefined, expected: string): CniError {
  const what = value === undefined || value === "" ? "is not set" : `is ${quote(value)}`;
  return new CniError(Code.INVALID_ENVIRONMENT, `${name} ${what}: expected ${expected}`);
}
