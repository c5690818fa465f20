/**
 * What keeps the host's kernel from answering for a raw uplink: it knows nothing of the flows on the reserved ports, and
 * would reset them (RFC 9293 3.10.7.1) or call them unreachable (RFC 1122 4.1.3.1). One nftables table of Tapir's own for each shared address
 * drops just those answers; Tapir's own packets carry a mark, and pass. The table is made in one transaction, which
 * replaces what a crashed router has left, and goes with the uplink.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { Protocol } from "../../../packet/ipv4.ts";
import { formatAddress } from "../../../packet/ipv4_address.ts";
import type { RawPlan } from "../../configuration/devices.ts";
import { ExitCode, TapirError } from "../../errors.ts";
import { TAPIR_MARK } from "./socket.ts";

const PREFIX = "tapir_";
const OWNER = /tapir process (\d+)/;

export function tableName(address: number): string {
  return `${PREFIX}${formatAddress(address).replaceAll(".", "_")}`;
}

/** The table in nft(8)'s words; its first two lines make that it is new, whatever was there. */
export function guardRules(plan: RawPlan, pid: number): string {
  const name = tableName(plan.address);
  const source = `ip saddr ${formatAddress(plan.address)}`;
  const portsOf = (protocol: number): string => {
    const published = plan.published.filter((each) => each.protocol === protocol);
    const spans = joined([plan.ports, ...published]);
    return `{ ${spans.map(({ first, last }) => (first === last ? first : `${first}-${last}`)).join(", ")} }`;
  };
  // Of a port unreachable error: protocol and destination port of the datagram that it quotes, whose header has 20 bytes.
  const quoted = `@th,136,8 ${Protocol.UDP} @th,240,16 ${portsOf(Protocol.UDP)}`;
  return `add table ip ${name}
delete table ip ${name}
table ip ${name} {
  comment "tapir process ${pid}"
  chain output {
    type filter hook output priority filter; policy accept;
    meta mark ${TAPIR_MARK} accept
    ${source} tcp sport ${portsOf(Protocol.TCP)} tcp flags & rst == rst drop
    ${source} icmp type destination-unreachable icmp code port-unreachable ${quoted} drop
  }
}
`;
}

interface Span {
  first: number;
  last: number;
}

/** The same ports, in ranges that do not overlap: nft refuses those that do. */
export function joined(spans: readonly Span[]): Span[] {
  const result: Span[] = [];
  for (const { first, last } of [...spans].sort((a, b) => a.first - b.first)) {
    const before = result.at(-1);
    if (before !== undefined && first <= before.last + 1) before.last = Math.max(before.last, last);
    else result.push({ first, last });
  }
  return result;
}

/** Installs the table. @throws TapirError where nft is not there, or somebody else has the table. */
export function installGuard(plan: RawPlan): void {
  const name = tableName(plan.address);
  const owner = ownerOf(name);
  if (owner !== undefined && owner !== process.pid && isRouter(owner)) {
    throw new TapirError(`process ${owner} shares ${formatAddress(plan.address)} already: another router's raw uplink`);
  }
  // Of routers that have died with another address.
  for (const each of guardTables()) if (each.owner === undefined) nft(["delete", "table", "ip", each.name]);
  nft(["-f", "-"], guardRules(plan, process.pid));
}

/** Removes it, where it is (still) this process's. */
export function removeGuard(plan: RawPlan): void {
  const name = tableName(plan.address);
  if (ownerOf(name) !== process.pid) return;
  nft(["delete", "table", "ip", name]);
}

/** Tables of Tapir's in this namespace, with the process that has made each, where that still runs. */
export function guardTables(): { name: string; owner?: number }[] {
  const { status, stdout } = spawnSync("nft", ["list", "tables", "ip"], { encoding: "utf8" });
  if (status !== 0) return [];
  return [...stdout.matchAll(/^table ip (\S+)$/gm)]
    .map(([, name]) => name)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => {
      const owner = ownerOf(name);
      return owner !== undefined && isRouter(owner) ? { name, owner } : { name };
    });
}

/** Whether nft(8) is there and may be used here; else why not. */
export function nftProblem(): string | undefined {
  const { error, status, stderr } = spawnSync("nft", ["list", "tables"], { encoding: "utf8" });
  if (error !== undefined) return "nft is not there";
  return status === 0 ? undefined : (stderr.trim().split("\n")[0] ?? "nft failed");
}

function ownerOf(name: string): number | undefined {
  const { status, stdout } = spawnSync("nft", ["list", "table", "ip", name], { encoding: "utf8" });
  const pid = status === 0 ? OWNER.exec(stdout)?.[1] : undefined;
  return pid === undefined ? undefined : Number(pid);
}

/** A number that another program has now does not count. */
function isRouter(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("run");
  } catch {
    return false;
  }
}

function nft(words: readonly string[], input?: string): void {
  const { error, status, stderr } = spawnSync("nft", words, {
    encoding: "utf8",
    ...(input === undefined ? {} : { input }),
  });
  if (error !== undefined) {
    throw new TapirError(
      "uplinks of kind raw need nftables, which keeps the kernel from answering: apt-get install -y nftables",
      ExitCode.PRIVILEGE,
    );
  }
  if (status === 0) return;
  const why = stderr.trim().split("\n")[0];
  const isForbidden = /permitted|denied/i.test(why);
  throw new TapirError(`nft: ${why}`, isForbidden ? ExitCode.PRIVILEGE : ExitCode.FAILED);
}
