/** The router's configuration in the lab: the same world in every step, with what the step changes. */
import { Address, Netns } from "./places.ts";

export interface LabSettings {
  /** Give c1 its default route; c2 always has one. */
  defaultRoute: boolean;
  /** MASQUERADE what leaves the containers' network through the uplink. */
  masquerade: boolean;
  forward: "accept" | "drop";
  /** FORWARD rules that accept by pair of interfaces, one for each direction. */
  acceptPairs: boolean;
  input: "accept" | "drop";
  /** Port 8080 of the uplink's address stands for port 80 of c2. */
  publish: boolean;
}

export const OPEN_WITHOUT_NAT: LabSettings = {
  defaultRoute: false,
  masquerade: false,
  forward: "accept",
  acceptPairs: false,
  input: "accept",
  publish: false,
};
export const MASQUERADED: LabSettings = { ...OPEN_WITHOUT_NAT, defaultRoute: true, masquerade: true };
export const CLOSED: LabSettings = { ...MASQUERADED, forward: "drop" };
export const PAIRS_ACCEPTED: LabSettings = { ...CLOSED, acceptPairs: true };
export const GATEWAY_CLOSED: LabSettings = { ...PAIRS_ACCEPTED, input: "drop" };
/** FORWARD is closed but for what the published port is for. */
export const PUBLISHED: LabSettings = { ...CLOSED, publish: true };

/** The lines under `nat:` and `filter:`, which are what the steps are about. */
export function policyLines(settings: LabSettings): string[] {
  const masquerade = settings.masquerade ? ["    - { from: 10.55.66.0/24, out: wan }"] : [];
  const pairs = settings.acceptPairs
    ? ["      - { in: lab, out: wan, action: accept }", "      - { in: wan, out: lab, action: accept }"]
    : [];
  const published = settings.publish ? [`    - { proto: tcp, on: wan, port: 8080, to: "${Address.C2}:80" }`] : [];
  return [
    "nat:",
    `  masquerade:${masquerade.length === 0 ? " []" : ""}`,
    ...masquerade,
    ...(published.length === 0 ? [] : ["  publish:", ...published]),
    "filter:",
    "  forward:",
    `    policy: ${settings.forward}`,
    ...(pairs.length === 0 ? [] : ["    rules:", ...pairs]),
    `  input: { policy: ${settings.input} }`,
  ];
}

export function configurationText(settings: LabSettings): string {
  const lines = [
    "version: 1",
    "networks:",
    "  lab:",
    "    subnet: 10.55.66.0/24",
    `    gateway: ${Address.GATEWAY}`,
    "    ports:",
    `      c1: { netns: ${Netns.C1}, ifname: eth0, address: ${Address.C1}, defaultRoute: ${settings.defaultRoute} }`,
    `      c2: { netns: ${Netns.C2}, ifname: eth0, address: ${Address.C2}, defaultRoute: true }`,
    "uplinks:",
    `  wan: { kind: packet, device: up0, address: ${Address.UPLINK}/24, gateway: ${Address.OUTSIDE} }`,
    "routes:",
    `  - { to: 198.51.100.0/24, via: ${Address.SECOND_ROUTER} }`,
    ...policyLines(settings),
  ];
  return `${lines.join("\n")}\n`;
}
