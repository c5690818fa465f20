/** A walk while it is being recorded: the steps so far, and what later ones need to know of earlier ones. */
import type { SourceStation } from "./bridge_steps.ts";
import type { DecidingRule, StageName, Step } from "./steps.ts";

export class Draft {
  readonly time: number;
  readonly port: number;
  readonly wantedBy: number;
  readonly steps: Step[] = [];
  frame = "";
  sourceMac = "";
  destinationMac = "";
  /** What the MAC table said of the sender before the frame came. */
  station: SourceStation | undefined = undefined;
  /** STATUS of the flow that it was found to belong to, before the packet; 0 without one. */
  statusBefore = 0;
  /** Reference of that flow, -1 without one. */
  found = -1;
  /** Reference of the flow that it belongs to or has opened. */
  reference = -1;
  conntrack: Step | undefined = undefined;
  dnat: Step | undefined = undefined;
  snat: Step | undefined = undefined;
  /** Time to live as it came, once it is known. */
  ttl = -1;
  isReadmitted = false;
  isOpened = false;
  isLimited = false;
  rule: DecidingRule | undefined = undefined;
  /** Lines of what the router itself sent because of it. */
  readonly answers: string[] = [];
  /** Why nobody is told of its end, where somebody might have been. */
  silence: string | undefined = undefined;
  egress: string[] = [];
  frameAfter: string | undefined = undefined;
  /** How it leaves, in words. */
  leaves = "as it came";

  constructor(time: number, port: number, wantedBy: number) {
    this.time = time;
    this.wantedBy = wantedBy;
    this.port = port;
  }

  add(stage: StageName, text: string): Step {
    const step: Step = { stage, text };
    this.steps.push(step);
    return step;
  }
}
