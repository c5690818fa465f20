/**
 * Plays a scenario: what its steps send goes through a router in memory, on a clock that only its steps move. Packets
 * that have come out wait to be expected, in their order at each port; what nobody expects before the next `send` is
 * forgotten. ARP is not shown.
 */
import { composeFrame, type PacketFields } from "../../packet/compose.ts";
import { STOP_REASONS } from "../../packet/stop_reasons.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import type { ParsedPacket } from "../packet_text.ts";
import type { Scenario } from "./assertion_file.ts";
import { type Decoded, decodeFrame } from "./decode.ts";
import { printBytes } from "./replay.ts";
import type { Step } from "./scenario_steps.ts";
import type { VirtualPort } from "./virtual_hosts.ts";
import { type Came, type Happening, VirtualRouter } from "./virtual_router.ts";

export interface Failure {
  line: number;
  column: number;
  expected: string;
  found: string;
}

/** The first step that fails, or nothing. */
export function playScenario(resolved: ResolvedPlan, { seed, steps }: Scenario): Failure | undefined {
  const player = new Player(new VirtualRouter(resolved, { seed, hosts: true }));
  for (const step of steps) {
    const failure = player.play(step);
    if (failure !== undefined) return { line: step.line, column: step.column, ...failure };
  }
  return undefined;
}

type StepFailure = Pick<Failure, "expected" | "found">;

class Player {
  private readonly virtual: VirtualRouter;
  private came: Came[] = [];
  private stops: string[] = [];

  constructor(virtual: VirtualRouter) {
    this.virtual = virtual;
    virtual.announceHosts();
  }

  play(step: Step): StepFailure | undefined {
    switch (step.kind) {
      case "send":
        return this.send(step.port, step.packet.fields);
      case "advance":
        for (const happened of this.virtual.advance(this.virtual.now + step.microseconds)) this.note(happened);
        return undefined;
      case "apply":
        this.virtual.apply(step.resolved);
        return undefined;
      case "expect":
        return this.expect(step.port, step.packet, step.text);
      case "nothing":
        if (this.came.length === 0) return undefined;
        return { expected: "nothing", found: this.describeAll() };
      case "drop":
        return this.expectDrop(step.reason);
    }
  }

  private send(name: string, fields: PacketFields): StepFailure | undefined {
    const port = this.virtual.hosts.port(name) as VirtualPort | undefined;
    // A configuration that was applied may have no such port any more.
    if (port === undefined) return { expected: `a port ${name}`, found: "no port of that name" };
    const { hostMac, nextHopMac } = this.virtual.addressing(port, fields.source, fields.destination);
    this.came = [];
    this.stops = [];
    this.note(this.virtual.send(name, composeFrame(fields, hostMac, nextHopMac)));
    return undefined;
  }

  private note({ came, stops }: Happening): void {
    this.came.push(...came.filter(({ bytes }) => decodeFrame(bytes) !== undefined));
    this.stops.push(...stops);
  }

  private expect(port: string, packet: ParsedPacket, text: string): StepFailure | undefined {
    const index = this.came.findIndex((each) => each.port === port);
    const found = index < 0 ? undefined : decodeFrame(this.came[index].bytes);
    if (found !== undefined && isAsNamed(found, packet)) {
      this.came.splice(index, 1);
      return undefined;
    }
    return { expected: text, found: this.describeAll() };
  }

  private expectDrop(reason: string): StepFailure | undefined {
    const index = this.stops.indexOf(reason);
    if (index < 0) return { expected: `drop ${reason}`, found: this.describeAll() };
    this.stops.splice(index, 1);
    return undefined;
  }

  /** What has come out, and why the rest has not. */
  private describeAll(): string {
    const drops = this.stops.flatMap((name) => {
      const reason = STOP_REASONS.find((each) => each.name === name);
      return reason?.outcome === "dropped" ? [`dropped: ${name} (${reason.text})`] : [];
    });
    const all = [...this.came.map(({ port, bytes }) => `${port} ${printBytes(bytes)}`), ...drops];
    return all.length === 0 ? "nothing" : all.join("; ");
  }
}

/** Whether a packet is what a text says, in all that it says. */
function isAsNamed(found: Decoded, { fields, named }: ParsedPacket): boolean {
  return [...named].every((field) => found[field] === fields[field]);
}
