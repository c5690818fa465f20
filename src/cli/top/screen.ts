/** A view of `tapir top` as lines of text: as many and as wide as the terminal has room for. */
import { formatTable } from "../table.ts";
import type { TopView } from "./model.ts";

export interface Room {
  columns: number;
  rows: number;
}

export interface Footer {
  order: string;
  delaySeconds: number;
  isPaused: boolean;
}

const STAGES: Record<string, string> = { lookUp: "look up", housekeeping: "other" };

/** A number with three digits and a unit: 0, 4.2, 123, 4.56k, 78.9M. */
export function short(value: number): string {
  if (value < 0.05) return "0";
  if (value < 9.95) return String(Math.round(value * 10) / 10);
  let [rest, unit] = [value, ""];
  for (const next of ["k", "M", "G", "T"]) {
    if (rest < 999.5) break;
    rest /= 1000;
    unit = next;
  }
  if (unit === "" || rest >= 99.95) return `${Math.round(rest)}${unit}`;
  return `${rest.toFixed(rest < 9.995 ? 2 : 1)}${unit}`;
}

function duration(seconds: number | null): string {
  if (seconds === null) return "-";
  if (seconds < 1e-3) return `${Math.ceil(seconds * 1e6)} us`;
  return seconds < 1 ? `${Math.ceil(seconds * 1e3)} ms` : `${seconds.toFixed(1)} s`;
}

function uptime(seconds: number): string {
  const [hours, minutes, rest] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  return `${hours}:${String(minutes).padStart(2, "0")}:${String(rest).padStart(2, "0")}`;
}

/** The whole view, for a file or a pipe. */
export function formatView(view: TopView): string {
  return [...summary(view), "", ...ports(view), "", ...drops(view), "", ...flows(view)].join("\n");
}

/** The view for a terminal; the last line says what keys do. Never more lines, and none longer, than there is room for. */
export function screenLines(view: TopView, room: Room, footer: Footer): string[] {
  const head = summary(view);
  const left = Math.max(0, room.rows - head.length - 1);
  // Ports and drops take what they need, as far as a third of the room each; flows the rest.
  const ofPorts = section(ports(view), Math.max(4, Math.floor(left / 3)));
  const ofDrops = section(drops(view), Math.max(4, Math.floor((left - ofPorts.length) / 2)));
  const ofFlows = section(flows(view), left - ofPorts.length - ofDrops.length);
  const body = [...head, ...ofPorts, ...ofDrops, ...ofFlows].slice(0, room.rows - 1);
  while (body.length < room.rows - 1) body.push("");
  const paused = footer.isPaused ? "paused" : `every ${footer.delaySeconds} s`;
  body.push(`q quit  p pause  s sort (${footer.order})  ${paused}`);
  return body.slice(-room.rows).map((line) => line.slice(0, room.columns));
}

/** An empty line, then as many lines as fit; says how many do not. */
function section(lines: string[], room: number): string[] {
  if (room < 3) return [];
  if (lines.length < room) return ["", ...lines];
  const kept = lines.slice(0, room - 2);
  return ["", ...kept, `  … ${lines.length - kept.length} more`];
}

function summary(view: TopView): string[] {
  const cpu = view.processes.map(({ name, cpu: share }) => `${name} ${Math.round(share * 100)} %`).join(", ");
  const timed = view.stages.map(({ name, nanosecondsPerFrame: ns }) => {
    return `${STAGES[name] ?? name} ${ns === null ? "-" : Math.round(ns)}`;
  });
  const burst = view.framesPerBurst === null ? "-" : short(view.framesPerBurst);
  const tables = view.tables.map(({ name, used, limit }) => `${name} ${used}/${limit}`);
  return [
    `tapir ${view.version}, up ${uptime(view.uptimeSeconds)}, cpu: ${cpu}`,
    `in ${short(view.framesIn)}/s, out ${short(view.framesOut)}/s, dropped ${short(view.dropped)}/s, new flows ${short(view.newFlows)}/s`,
    `burst: ${burst} frames, in the router up to ${duration(view.burstMedianSeconds)} (99 %: ${duration(view.burst99Seconds)})`,
    `ns/frame: ${timed.join(", ")}`,
    `used: ${tables.join(", ")}`,
  ];
}

function ports(view: TopView): string[] {
  const rows = view.ports.map((port) => ({
    port: port.name,
    interface: port.interface,
    "rx/s": short(port.rxFrames),
    "rx bit/s": short(port.rxBits),
    "tx/s": short(port.txFrames),
    "tx bit/s": short(port.txBits),
    "lost/s": short(port.lost),
    state: port.state,
  }));
  const rates = ["rx/s", "rx bit/s", "tx/s", "tx bit/s", "lost/s"];
  return formatTable(rows, ["port", "interface", ...rates, "state"], rates).split("\n");
}

function drops(view: TopView): string[] {
  const rows = view.drops.map(({ reason, rate, count }) => ({ "dropped/s": short(rate), total: count, reason }));
  return formatTable(rows, ["dropped/s", "total", "reason"], ["dropped/s", "total"]).split("\n");
}

function flows(view: TopView): string[] {
  const rows = view.flows.map(({ packetsPerSecond, bytesPerSecond, flow }) => {
    const { original, reply } = flow;
    const isTranslated = original.source !== reply.destination || original.sourcePort !== reply.destinationPort;
    const isForwarded = original.destination !== reply.source || original.destinationPort !== reply.sourcePort;
    return {
      "pkt/s": short(packetsPerSecond),
      "bit/s": short(8 * bytesPerSecond),
      proto: flow.protocol,
      flow: `${place(original.source, original.sourcePort)} > ${place(original.destination, original.destinationPort)}`,
      as: [
        ...(isTranslated ? [`from ${place(reply.destination, reply.destinationPort)}`] : []),
        ...(isForwarded ? [`to ${place(reply.source, reply.sourcePort)}`] : []),
      ].join(" "),
      state: flow.state ?? (flow.assured ? "ASSURED" : flow.seenReply ? "" : "UNREPLIED"),
    };
  });
  const rates = ["pkt/s", "bit/s"];
  return formatTable(rows, [...rates, "proto", "state", "flow", "as"], rates).split("\n");
}

const place = (address: string, port: number | undefined): string =>
  port === undefined ? address : `${address}:${port}`;
