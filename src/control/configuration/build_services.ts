/** From the configuration of metrics and flow export to where they listen and send. */
import { formatAddress } from "../../packet/ipv4_address.ts";
import { isUnicast, readAddress } from "./addresses.ts";
import { type Path, quote, type Report } from "./errors.ts";
import type { Configuration } from "./schema.ts";
import { DEFAULT_DOCKER, DEFAULT_IPFIX, DEFAULT_SNAPSHOT_SECONDS } from "./schema_services.ts";

/** A place on the network; the address as a dotted quad. */
export interface Endpoint {
  address: string;
  port: number;
}

export interface IpfixPlan {
  collector: Endpoint;
  activeTimeoutSeconds: number;
  intervalSeconds: number;
  templateSeconds: number;
  domain: number;
  mtu: number;
  natEvents: boolean;
}

/** Paths, all of them absolute. */
export interface DockerPlan {
  socket: string;
  state: string;
  engine: string;
}

/** What the control process offers and sends beside the API; each may change while the router runs. */
export interface ServicesPlan {
  metrics?: Endpoint;
  ipfix?: IpfixPlan;
  snapshot?: SnapshotPlan;
  docker?: DockerPlan;
}

export interface SnapshotPlan {
  directory: string;
  everySeconds: number;
}

const LOOPBACK = 127;

export function buildServices({ control, export: exported, docker }: Configuration, report: Report): ServicesPlan {
  const metrics =
    control?.metrics === undefined ? undefined : readMetrics(control.metrics, control.metricsAnyAddress, report);
  const { ipfix } = exported ?? {};
  const collector =
    ipfix === undefined ? undefined : readEndpoint(ipfix.collector, ["export", "ipfix", "collector"], report);
  if (collector !== undefined && !isReachable(collector.word)) {
    report(["export", "ipfix", "collector"], `${collector.address} is not a unicast address`);
  }
  return {
    ...(metrics === undefined ? {} : { metrics }),
    ...(control?.snapshot === undefined
      ? {}
      : { snapshot: { everySeconds: DEFAULT_SNAPSHOT_SECONDS, ...control.snapshot } }),
    ...(ipfix === undefined || collector === undefined
      ? {}
      : { ipfix: { ...DEFAULT_IPFIX, ...ipfix, collector: { address: collector.address, port: collector.port } } }),
    ...(docker === undefined ? {} : { docker: { ...DEFAULT_DOCKER, ...docker } }),
  };
}

function readMetrics(text: string, isAnyAllowed: boolean | undefined, report: Report): Endpoint | undefined {
  const path = ["control", "metrics"];
  const endpoint = readEndpoint(text, path, report);
  if (endpoint === undefined) return undefined;
  const { word, address, port } = endpoint;
  if (word >>> 24 !== LOOPBACK && isAnyAllowed !== true) {
    report(path, `${address} is no loopback address: others could read the metrics; metricsAnyAddress: true allows it`);
  }
  return { address, port };
}

const isReachable = (word: number): boolean => isUnicast(word) || word >>> 24 === LOOPBACK;

function readEndpoint(text: string, path: Path, report: Report): (Endpoint & { word: number }) | undefined {
  const colon = text.lastIndexOf(":");
  const expected = "an IPv4 address and a port like 127.0.0.1:9100";
  if (colon < 0) {
    report(path, `${quote(text)} has no port: expected ${expected}`);
    return undefined;
  }
  const word = readAddress(text.slice(0, colon), path, report, expected);
  const digits = text.slice(colon + 1);
  const port = /^[1-9]\d{0,4}$/.test(digits) ? Number(digits) : 0;
  if (port < 1 || port > 65_535) {
    report(path, `${quote(digits)} is not a port from 1 to 65535`);
    return undefined;
  }
  return word === undefined ? undefined : { word, address: formatAddress(word), port };
}
