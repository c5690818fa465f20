/** From a network's configuration to what the router is asked for: capabilities (CONVENTIONS.md) as keys of a port. */
import { createHash } from "node:crypto";
import type { AttachWish } from "../control/api_schemas.ts";
import type { PublishOfPort } from "../control/configuration/schema_attached.ts";
import { type Attachment, readArguments, type Variables } from "./environment.ts";
import { CniError, Code, quote } from "./errors.ts";
import { isMap, type Network } from "./network.ts";

/** Of the digest; with what is in front of it, a port's name is full. */
const NAME_DIGITS = 11;
const LARGEST_PORT = 65_535;
/** Bytes of a frame, and frames that an impaired port may hold. */
const FRAME_BYTES = 1514;
const MOST_FRAMES = 1000;
const MAC = /^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$/;
const ADDRESS = /^\d{1,3}(\.\d{1,3}){3}(\/\d{1,2})?$/;

/** What the router calls the port of an attachment: the same for ADD, CHECK and DEL. */
export function portName(network: string, { containerId, ifname }: Attachment): string {
  const digest = createHash("sha256").update(`${network}\0${containerId}\0${ifname}`).digest("hex");
  return `cni-${digest.slice(0, NAME_DIGITS)}`;
}

/** Everything but the address, which may be IPAM's to give, and the routes, which follow from it. */
export function wishOf(network: Network, attachment: Attachment, netns: string, variables: Variables): AttachWish {
  const mac = macOf(network, variables);
  const publish = publishedOf(network);
  const { antiSpoofing } = network;
  return {
    network: network.network,
    netns,
    name: portName(network.name, attachment),
    ifname: attachment.ifname,
    ...(mac === undefined ? {} : { mac }),
    ...(publish.length === 0 ? {} : { publish }),
    ...bandwidthOf(network),
    ...(antiSpoofing === undefined ? {} : { antiSpoofing }),
    cni: { network: network.name, container: attachment.containerId },
  };
}

/** The address that is asked for; with IPAM, IPAM reads it itself. */
export function addressOf({ runtimeConfig, args }: Network, variables: Variables): string | undefined {
  const lists = [runtimeConfig.ips, args.ips].flatMap((list) => (list === undefined ? [] : [list]));
  const { ip } = readArguments(variables);
  const wanted = [...lists.flat(), ...(ip === undefined ? [] : [ip])];
  if (wanted.length === 0) return undefined;
  const wrong = wanted.find((each) => typeof each !== "string" || !ADDRESS.test(each));
  if (wrong !== undefined) throw invalid(`ips: expected an IPv4 address, not ${quote(wrong)}`);
  const different = new Set(wanted.map((each) => (each as string).split("/")[0]));
  if (different.size > 1) throw invalid(`ips: a port has one IPv4 address, not ${[...different].join(" and ")}`);
  return [...different][0];
}

function macOf({ runtimeConfig, args }: Network, variables: Variables): string | undefined {
  const mac = runtimeConfig.mac ?? args.mac ?? readArguments(variables).mac;
  if (mac === undefined || mac === "") return undefined;
  if (typeof mac === "string" && MAC.test(mac)) return mac;
  throw invalid(`mac: expected a hardware address like 02:00:00:00:00:02, not ${quote(mac)}`);
}

/** `portMappings` as the port's published ports. */
export function publishedOf({ runtimeConfig }: Network): PublishOfPort[] {
  const { portMappings = [] } = runtimeConfig;
  if (!Array.isArray(portMappings)) throw invalid(`portMappings: expected a list, not ${quote(portMappings)}`);
  const single = portMappings.map((mapping: unknown, index): Mapping => {
    const what = `portMappings[${index}]`;
    if (!isMap(mapping)) throw invalid(`${what}: expected a map, not ${quote(mapping)}`);
    const { hostPort, containerPort, protocol = "tcp", hostIP = "" } = mapping;
    const proto = String(protocol).toLowerCase();
    if (proto !== "tcp" && proto !== "udp") {
      const message = `${what}: "protocol": ${quote(protocol)} is not supported (tcp and udp are)`;
      throw new CniError(Code.UNSUPPORTED_FIELD, message);
    }
    if (typeof hostIP !== "string" || hostIP.includes(":")) {
      throw new CniError(Code.UNSUPPORTED_FIELD, `${what}: "hostIP": ${quote(hostIP)} is not supported (IPv4 is)`);
    }
    return {
      proto,
      ...(hostIP === "" || hostIP === "0.0.0.0" ? {} : { address: hostIP }),
      port: portOf(hostPort, `${what}.hostPort`),
      to: portOf(containerPort, `${what}.containerPort`),
    };
  });
  return runsOf(single).map(({ last, ...first }) => {
    if (last === 0) return first;
    return { ...first, port: `${first.port}-${first.port + last}`, to: `${first.to}-${first.to + last}` };
  });
}

interface Mapping {
  proto: "tcp" | "udp";
  address?: string;
  port: number;
  to: number;
}

/** Runtimes take ranges apart; here they are ranges again, with how far it is to the last port of each. */
function runsOf(mappings: readonly Mapping[]): (Mapping & { last: number })[] {
  const runs: (Mapping & { last: number })[] = [];
  for (const mapping of mappings) {
    const run = runs.at(-1);
    const isNext =
      run !== undefined &&
      run.proto === mapping.proto &&
      run.address === mapping.address &&
      mapping.port === run.port + run.last + 1 &&
      mapping.to === run.to + run.last + 1;
    if (isNext) run.last++;
    else runs.push({ ...mapping, last: 0 });
  }
  return runs;
}

function portOf(value: unknown, what: string): number {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= LARGEST_PORT) return Number(value);
  throw invalid(`${what}: expected a port from 1 to ${LARGEST_PORT}, not ${quote(value)}`);
}

/**
 * `bandwidth`, in bits: what the container sends is the port's rate limit, what it is sent goes out one frame after the
 * other. No rate, or 0, is no limit.
 */
function bandwidthOf({ runtimeConfig }: Network): Pick<AttachWish, "rateLimit" | "impair"> {
  const { bandwidth = {} } = runtimeConfig;
  if (!isMap(bandwidth)) throw invalid(`bandwidth: expected a map, not ${quote(bandwidth)}`);
  const bits = (key: string): number => {
    const found = bandwidth[key] ?? 0;
    if (Number.isSafeInteger(found) && Number(found) >= 0) return Number(found);
    throw invalid(`bandwidth.${key}: expected a number of bits, not ${quote(found)}`);
  };
  const [egress, ingress, burst] = [bits("egressRate"), bits("ingressRate"), bits("ingressBurst")];
  bits("egressBurst");
  const frames = Math.min(MOST_FRAMES, Math.ceil(burst / 8 / FRAME_BYTES));
  const limit = burst === 0 ? {} : { limit: frames };
  return {
    ...(egress === 0 ? {} : { rateLimit: { bytesPerSecond: Math.max(1, Math.floor(egress / 8)) } }),
    ...(ingress === 0 ? {} : { impair: { direction: "out" as const, rate: `${ingress}bit`, ...limit } }),
  };
}

const invalid = (message: string): CniError => new CniError(Code.INVALID_CONFIGURATION, message);
