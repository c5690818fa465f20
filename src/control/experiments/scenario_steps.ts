/** Steps of a scenario, read from their texts. */
import type { ResolvedPlan } from "../configuration/configuration.ts";
import type { Path } from "../configuration/errors.ts";
import { quote } from "../configuration/errors.ts";
import { suggestion } from "../configuration/nearest.ts";
import { PacketTextError, type ParsedPacket, parsePacket } from "../packet_text.ts";
import type { StepConfiguration } from "./schema_assertions.ts";
import type { VirtualHosts } from "./virtual_hosts.ts";

export type StepAction =
  | { kind: "send"; port: string; packet: ParsedPacket; text: string }
  | { kind: "expect"; port: string; packet: ParsedPacket; text: string }
  | { kind: "nothing" }
  | { kind: "drop"; reason: string }
  | { kind: "advance"; microseconds: number; text: string }
  | { kind: "apply"; resolved: ResolvedPlan; text: string };

export type Step = StepAction & { path: Path; line: number; column: number };

const NOTHING = "nothing";

const UNITS: Record<string, number> = { us: 1, ms: 1000, s: 1e6, m: 60e6, h: 3600e6, d: 86_400e6 };
const LONGEST_ADVANCE_DAYS = 365;

/** @throws `PacketTextError` */
export function parseStep(
  step: StepConfiguration,
  hosts: VirtualHosts,
  read: (configuration: string) => ResolvedPlan,
): StepAction {
  if (step.send !== undefined) return { kind: "send", ...readPacketAt(step.send, hosts) };
  if (step.expect === NOTHING) return { kind: "nothing" };
  if (step.expect !== undefined) return { kind: "expect", ...readPacketAt(step.expect, hosts) };
  if (step.drop !== undefined) return { kind: "drop", reason: step.drop };
  if (step.advance !== undefined) return readAdvance(step.advance);
  return { kind: "apply", resolved: read(step.apply as string), text: step.apply as string };
}

function readPacketAt(text: string, hosts: VirtualHosts): { port: string; packet: ParsedPacket; text: string } {
  const [, name, packet] = /^\s*(\S+)\s+(.*)$/s.exec(text) ?? [];
  if (name === undefined || packet === undefined) {
    throw new PacketTextError(
      `expected a port and a packet like "c1 udp 10.55.66.2:4000 > 203.0.113.2:53", not ${quote(text)}`,
    );
  }
  if (hosts.port(name) === undefined) {
    const known = hosts.ports.map((port) => port.name);
    throw new PacketTextError(`no port is called ${quote(name)}${suggestion(name, known)}`);
  }
  return { port: name, packet: parsePacket(packet), text };
}

function readAdvance(text: string): StepAction {
  const [, number, unit] = /^([0-9.]+)([a-z]+)$/.exec(text) as unknown as [string, string, string];
  const microseconds = Math.round(Number(number) * UNITS[unit]);
  if (microseconds > LONGEST_ADVANCE_DAYS * UNITS.d) {
    throw new PacketTextError(`${text} is more than ${LONGEST_ADVANCE_DAYS}d`);
  }
  return { kind: "advance", microseconds, text };
}
