/**
 * Alarms: what an operator must hear of though it is only counted: a full flow table, ports that have run out, hosts at
 * their limit. Each is said at most once in ten seconds, with what has happened since it was said last.
 */
import { Stop } from "../packet/stop_reasons.ts";
import { COUNTER_NAMES } from "./counters.ts";
import type { Router } from "./router.ts";

const CHECK_MS = 1000;
const QUIET_MS = 10_000;

interface Alarm {
  read: (router: Router) => number;
  text: (count: number, router: Router) => string;
  said: number;
  /** Not before this time again. */
  quietUntil: number | undefined;
}

const counter = (name: (typeof COUNTER_NAMES)[number]) => {
  const index = COUNTER_NAMES.indexOf(name);
  return (router: Router) => router.counters.values[index];
};

const stop = (code: number) => (router: Router) => router.counters.stops[code];

export class Alarms {
  private readonly router: Router;
  private readonly warn: (message: string) => void;
  private dueAt: number;
  private readonly alarms: Alarm[] = [
    alarm(
      counter("flowsTableFull"),
      (count, { flows }) => `flow table full (${flows.capacity} flows): ${count} packets of new flows dropped`,
    ),
    alarm(
      counter("flowsEvicted"),
      (count, { flows }) => `flow table full (${flows.capacity} flows): ${count} unassured flows ended early`,
    ),
    alarm(
      counter("flowsReplaced"),
      (count) => `a port holds its share of the flow table: ${count} unassured flows of its own ended early`,
    ),
    alarm(stop(Stop.FLOW_SHARE), (count) => `a port holds its share of the flow table: ${count} packets dropped`),
    alarm(stop(Stop.NAT_PORTS_EXHAUSTED), (count) => `no free port for NAT: ${count} packets of new flows dropped`),
    alarm(stop(Stop.HOST_LIMIT), (count) => `hosts at their limit of translated flows: ${count} packets dropped`),
  ];

  constructor(router: Router, warn: (message: string) => void) {
    this.router = router;
    this.warn = warn;
    this.dueAt = router.now;
  }

  /** To be called after each burst; does something once a second. */
  run(): void {
    const { now } = this.router;
    if (((now - this.dueAt) | 0) < 0) return;
    this.dueAt = (now + CHECK_MS) | 0;
    for (const each of this.alarms) this.check(each, now);
  }

  private check(alarm: Alarm, now: number): void {
    const count = alarm.read(this.router);
    const isQuiet = alarm.quietUntil !== undefined && ((now - alarm.quietUntil) | 0) < 0;
    if (count === alarm.said || isQuiet) return;
    this.warn(alarm.text(count - alarm.said, this.router));
    alarm.said = count;
    alarm.quietUntil = (now + QUIET_MS) | 0;
  }
}

function alarm(read: Alarm["read"], text: Alarm["text"]): Alarm {
  return { read, text, said: 0, quietUntil: undefined };
}
