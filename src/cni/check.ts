/** CHECK: everything that ADD has made is still there. */
import { existsSync } from "node:fs";
import type { PublishOfPort } from "../control/configuration/schema_attached.ts";
import { readAttachment, readNetns, type Variables } from "./environment.ts";
import { CniError, Code } from "./errors.ts";
import { linkIn, routesIn } from "./inside.ts";
import { delegate } from "./ipam.ts";
import type { Network } from "./network.ts";
import type { Result } from "./result.ts";
import { Router } from "./router.ts";
import { portName, publishedOf } from "./wish.ts";

export async function check(network: Network, variables: Variables): Promise<void> {
  const attachment = readAttachment(variables);
  const netns = readNetns(variables);
  const { prevResult } = network;
  if (prevResult === undefined) {
    throw new CniError(Code.INVALID_CONFIGURATION, "CHECK needs prevResult, the result of ADD");
  }
  await delegate("CHECK", network, variables);
  if (!existsSync(netns)) throw failed(`there is no network namespace ${netns}`);
  await checkRouter(network, portName(network.name, attachment));
  checkInside(netns, attachment.ifname, prevResult);
}

async function checkRouter(network: Network, name: string): Promise<void> {
  const router = new Router(network.socket);
  const row = (await router.ports()).find((each) => each.name === name);
  if (row === undefined) throw failed(`the router has no port ${name} for this container`);
  if (row.state !== "up") throw failed(`the router's port ${name} is ${row.state}`);
  const wanted = publishedOf(network);
  if (wanted.length === 0) return;
  const { networks = {} } = await router.configuration();
  const present = networks[network.network]?.ports?.[name]?.publish ?? [];
  const keyOf = ({ proto, address = "", port, to = port }: PublishOfPort) => `${proto} ${address}:${port} to ${to}`;
  const there = new Set(present.map(keyOf));
  const lacking = wanted.map(keyOf).find((key) => !there.has(key));
  if (lacking !== undefined) throw failed(`the router does not publish ${lacking} any more`);
}

function checkInside(netns: string, ifname: string, { interfaces, ips, routes }: Result): void {
  const index = interfaces.findIndex(({ name, sandbox }) => name === ifname && sandbox === netns);
  if (index < 0) throw new CniError(Code.INVALID_CONFIGURATION, `prevResult has no interface ${ifname} in ${netns}`);
  const link = linkIn(netns, ifname);
  if (link === undefined) throw failed(`there is no device ${ifname} in ${netns}`);
  if (!link.flags.includes("UP")) throw failed(`${ifname} in ${netns} is down`);
  const { mac } = interfaces[index];
  if (mac !== undefined && mac.toLowerCase() !== link.address) {
    throw failed(`${ifname} in ${netns} has the hardware address ${link.address}, not ${mac}`);
  }
  for (const { address, interface: owner } of ips) {
    if (owner === index && !link.addresses.includes(address)) throw failed(`${ifname} in ${netns} has no ${address}`);
  }
  const present = new Set(routesIn(netns).map(({ dst }) => dst));
  for (const { dst } of routes) {
    const shown = dst === "0.0.0.0/0" ? "default" : dst.replace(/\/32$/, "");
    if (!dst.includes(":") && !present.has(shown)) throw failed(`there is no route to ${dst} in ${netns}`);
  }
}

const failed = (message: string): CniError => new CniError(Code.CHECK_FAILED, message);
