/** Whether a running router is healthy, by what it says of itself (`/v1/health`). */

import type { Health, PortHealth } from "../health.ts";
import { CONFINED, lacksOf } from "../privilege.ts";
import { counted, type Finding, ok, problem, warning } from "./finding.ts";

/** Shares of a table from which it is nearly full, and as good as full. */
const NEARLY_FULL = 0.8;
const FULL = 0.95;

/** Milliseconds that an answer of the dataplane may take, and that the event loop may stand still. */
const SLOW_DATAPLANE_MS = 100;
const SLOW_LOOP_MS = 200;

/** Drops that say that something is wrong, with what to do about it. The others are policy, or the senders' affair. */
const CURES: Record<string, string> = {
  "flow-table-full": "raise `limits.flows`, or shorten `conntrack.timeouts`",
  "flow-share": "see with `tapir conntrack -L` who holds the flow table, and raise `limits.flows` if he may",
  "nat-ports-exhausted": "give NAT more addresses (`nat.snat` with a range), or shorten `conntrack.timeouts`",
  "host-limit": "raise `limits.flowsPerHost`, or see to the host with `tapir conntrack -L`",
  "neighbour-table-full": "raise `limits.neighbours`",
  "neighbour-queue-full": "see with `tapir show neighbours` who does not answer ARP",
  "neighbour-unreachable": "see with `tapir show neighbours` who does not answer ARP",
  "no-route": "add a route for the destinations, or a gateway to the uplink",
  "port-unusable": "see with `tapir show ports` which port has failed",
  "offload-malformed": "look at the device's driver: it hands over offloads that do not fit its packets",
  "ipv4-checksum": "look for a bad cable or driver on the way here",
  "l4-checksum": "look for a bad cable or driver on the way here",
  "arp-spoofed": "find the station that claims the router's address",
};

export function checkRouter(health: Health, ownVersion: string): Finding[] {
  return [
    checkVersion(health, ownVersion),
    checkDataplane(health),
    checkEventLoop(health),
    ...checkConfinement(health),
    ...checkPorts(health),
    ...health.tables.map(checkTable),
    ...checkDrops(health),
    checkInvariants(health),
  ];
}

export function checkVersion({ version, pid, uptimeSeconds }: Health, own: string): Finding {
  const found = `version ${version}, process ${pid}, up for ${counted(uptimeSeconds, "second")}`;
  if (version === own) return ok("router", found);
  return warning("router", `${found}; this command is version ${own}`, "restart the router, or use its own command");
}

export function checkDataplane({ dataplaneMs, framesReceived, observedSeconds }: Health): Finding {
  const rate = Math.round(framesReceived / observedSeconds);
  const found = `answers in ${dataplaneMs.toFixed(1)} ms, ${counted(rate, "frame")} a second`;
  if (dataplaneMs <= SLOW_DATAPLANE_MS) return ok("dataplane", found);
  return warning("dataplane", found, "see with `top` what else wants its processor");
}

export function checkEventLoop({ eventLoopLagMs }: Health): Finding {
  const found = `of the control process: stood still for ${eventLoopLagMs.toFixed(0)} ms at most`;
  if (eventLoopLagMs <= SLOW_LOOP_MS) return ok("event loop", found);
  return warning("event loop", found, "ask the API less, or for less at once; traffic does not wait for it");
}

export function checkConfinement({ confinement }: Pick<Health, "confinement">): Finding[] {
  if (confinement === undefined) return [];
  const lacks = lacksOf(confinement);
  if (lacks.length === 0) return [ok("privileges", `of the dataplane: ${CONFINED}`)];
  const cure = "see docs/security.md: it needs setpriv, CAP_SETPCAP, x86-64 or arm64, and TAPIR_CONFINE not to be 0";
  return [warning("privileges", `of the dataplane: ${lacks.join(", ")}`, cure)];
}

export function checkPorts({ ports, observedSeconds }: Pick<Health, "ports" | "observedSeconds">): Finding[] {
  const findings = ports.flatMap((port) => checkPort(port, observedSeconds));
  const good = ports.filter(({ state }) => state === "up").length;
  return [ok("ports", `${good} of ${ports.length} up`), ...findings];
}

function checkPort({ name, state, txFull, txErrors, rxErrors }: PortHealth, seconds: number): Finding[] {
  const check = `port ${name}`;
  if (state === "down (no DHCP lease)") {
    return [problem(check, state, "see whether a DHCP server answers on its network (`tcpdump -ni DEVICE port 67`)")];
  }
  if (state.startsWith("down")) {
    return [problem(check, state, "bring its link back: the router follows by itself")];
  }
  if (state !== "up") {
    const cure = `bring its device or namespace back and reload with SIGHUP, or \`tapir detach ${name}\``;
    return [problem(check, state, cure)];
  }
  const findings: Finding[] = [];
  if (txFull > 0) {
    const found = `its device did not take ${rateOf(txFull, seconds)}: the receiver is too slow`;
    findings.push(warning(check, found, "give the receiver more processor, or a longer queue (txqueuelen)"));
  }
  if (txErrors + rxErrors > 0) {
    const found = `${rateOf(txErrors + rxErrors, seconds)} were refused or malformed`;
    findings.push(warning(check, found, `look at the device with \`ip -s link\``));
  }
  return findings;
}

const rateOf = (frames: number, seconds: number): string =>
  `${counted(frames, "frame")} (${(frames / seconds).toFixed(frames < 10 * seconds ? 1 : 0)} a second)`;

export function checkTable({ name, used, limit }: Health["tables"][number]): Finding {
  const share = used / limit;
  const found = `${used} of ${limit} (${share < 0.001 && used > 0 ? "<0.1" : (share * 100).toFixed(1)} %)`;
  const check = `table ${name}`;
  if (share < NEARLY_FULL) return ok(check, found);
  const cure =
    name === "frame slots"
      ? "see with `tapir show neighbours` whose packets are parked"
      : `raise \`limits.${name}\` and start the router again`;
  return share < FULL ? warning(check, found, cure) : problem(check, found, cure);
}

type Drops = Pick<Health, "drops" | "observedSeconds">;

/** Drops that go on now are told one by one; those of before are summed up. */
export function checkDrops({ drops, observedSeconds }: Drops): Finding[] {
  const total = drops.reduce((sum, { count }) => sum + count, 0);
  const reasons = drops.length === 0 ? "" : ` for ${counted(drops.length, "reason")} (\`tapir show drops\`)`;
  const going = drops.filter(({ during }) => during > 0);
  const quiet = drops.filter(({ reason, during }) => during === 0 && CURES[reason] !== undefined);
  const findings = going.map(({ reason, text, during }) => {
    const found = `${reason}, ${text}: ${rateOf(during, observedSeconds)}`;
    return CURES[reason] === undefined ? ok("drops", found) : problem("drops", found, CURES[reason]);
  });
  const earlier = quiet.map(({ reason, text, count }) =>
    warning("drops", `${reason}, ${text}: ${counted(count, "frame")} before, none now`, CURES[reason]),
  );
  return [ok("drops", `${counted(total, "frame")} since the start${reasons}`), ...findings, ...earlier];
}

export function checkInvariants({ invariants, tables }: Pick<Health, "invariants" | "tables">): Finding {
  if (invariants === undefined) {
    const flows = tables.find(({ name }) => name === "flows")?.used ?? 0;
    return ok("invariants", `not asked for: with ${flows} flows \`tapir show invariants\` would hold traffic up`);
  }
  const { violations } = invariants;
  if (violations.length === 0) return ok("invariants", "all hold");
  const cure = "restart the router and report what `tapir show invariants` says: it is a fault of Tapir";
  return problem("invariants", `${counted(violations.length, "violation")}, first: ${violations[0]}`, cure);
}
