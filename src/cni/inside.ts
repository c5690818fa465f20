/** What is in a container's namespace, by iproute2: for CHECK, and to see whether there is a default route already. */
import { spawnSync } from "node:child_process";
import { CniError, Code } from "./errors.ts";

export interface Link {
  ifname: string;
  address: string;
  flags: string[];
  addresses: string[];
}

export interface InsideRoute {
  dst: string;
  gateway?: string;
  dev?: string;
}

interface LinkAnswer {
  ifname: string;
  address?: string;
  flags?: string[];
  addr_info?: { local: string; prefixlen: number }[];
}

export function linkIn(netns: string, ifname: string): Link | undefined {
  const links = ask<LinkAnswer>(netns, ["addr", "show"]);
  const found = links.find((each) => each.ifname === ifname);
  if (found === undefined) return undefined;
  const { address = "", flags = [], addr_info = [] } = found;
  return { ifname, address, flags, addresses: addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`) };
}

/** IPv4 routes; the default one is `default`, and one to a host has no length. */
export function routesIn(netns: string): InsideRoute[] {
  return ask(netns, ["-4", "route", "show"]);
}

function ask<T>(netns: string, words: readonly string[]): T[] {
  const { status, stdout, stderr, error } = spawnSync("nsenter", [`--net=${netns}`, "ip", "-j", ...words], {
    encoding: "utf8",
  });
  if (error === undefined && status === 0) return JSON.parse(stdout === "" ? "[]" : stdout) as T[];
  const why = error?.message ?? stderr.trim().split("\n")[0];
  throw new CniError(Code.IO_FAILURE, `cannot look into ${netns}: ${why}`);
}
