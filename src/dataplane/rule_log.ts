/**
 * What rules with LOG tell. A flood must not become a flood of messages: over all rules together at most `PER_SECOND`
 * are told, `BURST` at once; what is kept back is counted.
 */
import type { LoggedRule } from "../filter/compiled_rules.ts";
import type { FilterKey } from "../filter/key.ts";
import { fragmentField, headerBytes, identification, Protocol, timeToLive, typeOfService } from "../packet/ipv4.ts";
import { formatAddress } from "../packet/ipv4_address.ts";
import { formatMac } from "../packet/mac_address.ts";
import { TcpFlag } from "../packet/tcp.ts";
import { Counter } from "./counters.ts";
import type { RuleLog } from "./messages.ts";
import type { Router } from "./router.ts";

const PER_SECOND = 10;
const BURST = 20;

export class RuleLogger {
  private readonly router: Router;
  private readonly tell: (entry: RuleLog) => void;
  private credit = BURST * 1000;
  private last: number;

  constructor(router: Router, tell: (entry: RuleLog) => void) {
    this.router = router;
    this.tell = tell;
    this.last = router.now;
  }

  note(rule: LoggedRule, key: FilterKey): void {
    const { router } = this;
    this.credit = Math.min(BURST * 1000, this.credit + ((router.now - this.last) >>> 0) * PER_SECOND);
    this.last = router.now;
    if (this.credit < 1000) {
      router.count(Counter.ruleLogsLimited);
      return;
    }
    this.credit -= 1000;
    const entry = describe(router, rule, key);
    if (entry !== undefined) this.tell(entry);
  }
}

function describe(router: Router, { target, table, chain }: LoggedRule, key: FilterKey): RuleLog | undefined {
  const { frame, memory } = key;
  if (frame === undefined || memory === undefined) return undefined;
  const { ip } = frame;
  const nameOf = (index: number): string => router.interfaces[index]?.name ?? "";
  const port = router.ports.plans[key.inPort]?.name;
  return {
    prefix: target.prefix,
    level: target.level,
    table,
    chain,
    in: nameOf(key.inInterface),
    out: nameOf(key.outInterface),
    ...(port === undefined ? {} : { physin: port }),
    mac: formatMac(frame.sourceMacHigh, frame.sourceMacLow),
    src: formatAddress(key.source),
    dst: formatAddress(key.destination),
    len: frame.end - ip,
    tos: typeOfService(memory, ip),
    ttl: timeToLive(memory, ip),
    id: identification(memory, ip),
    df: (fragmentField(memory, ip) & 0x4000) !== 0,
    proto: key.protocol,
    mark: key.mark >>> 0,
    ...describeL4(key, frame.l4 - ip === headerBytes(memory, ip)),
  };
}

function describeL4(key: FilterKey, isParsed: boolean): Partial<RuleLog> {
  if (!isParsed) return {};
  if (key.icmp >= 0) return { type: key.icmp >> 8, code: key.icmp & 0xff };
  if (key.sourcePort < 0) return {};
  const ports = { spt: key.sourcePort, dpt: key.destinationPort };
  return key.protocol === Protocol.TCP ? { ...ports, flags: flagNames(key.tcpFlags) } : ports;
}

function flagNames(flags: number): string {
  return Object.entries(TcpFlag)
    .filter(([, bit]) => (flags & bit) !== 0)
    .map(([name]) => name)
    .join(" ");
}
