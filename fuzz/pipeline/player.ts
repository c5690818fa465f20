/** Plays a case: a router in memory meets its steps, and after each burst everything that must hold is checked. */
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import type { RouterPlan } from "../../src/dataplane/plan.ts";
import { LARGEST_FRAME_BYTES } from "../../src/packet/arena.ts";
import { printFrame } from "../../src/packet/print.ts";
import { STOP_REASONS } from "../../src/packet/stop_reasons.ts";
import type { TestRouter } from "../../test/support/router.ts";
import { Dice } from "../dice.ts";
import { fromHex } from "../mutate_bytes.ts";
import { insist } from "../target.ts";
import { Judge } from "./judge.ts";
import { answerTo, errorAbout } from "./packets.ts";
import { Seen } from "./seen.ts";
import { type PipelineCase, planOf, type Step } from "./steps.ts";
import { readPacket } from "./wire.ts";
import { routerOfWorld } from "./world.ts";

/** Frames that left and may be answered. */
const REMEMBERED = 32;

interface Left {
  port: number;
  bytes: Uint8Array;
}

export class Player {
  readonly r: TestRouter;
  private readonly seen = new Seen();
  private readonly judge: Judge;
  private plan;
  private readonly left: Left[] = [];
  private readonly reached = new Set<string>();
  private readonly unplugged = new Set<number>();
  private injected = 0;
  private before: Float64Array;
  /** What came last, in a word. */
  private kind = "";
  /** Frames that wait for the end of their burst. */
  private waiting = 0;

  constructor(input: PipelineCase) {
    this.plan = planOf(input);
    this.judge = new Judge(this.seen, this.plan);
    this.r = routerOfWorld(input.world, this.plan);
    this.r.io.takeSent();
    this.injected = this.r.router.counters.named().framesReceived;
    this.before = this.r.router.counters.stops.slice();
  }

  /** Returns what was reached. */
  play({ steps }: PipelineCase): ReadonlySet<string> {
    for (const [index, step] of steps.entries()) {
      this.take(step);
      const next = steps[index + 1];
      const isJoined = next !== undefined && "joins" in next && next.joins === true;
      if (!isJoined) this.turn();
    }
    this.end();
    return this.reached;
  }

  private take(step: Step): void {
    if (step.do === "frame")
      this.inject(step.port, fromHex(step.frame), step.vnet === undefined ? undefined : fromHex(step.vnet));
    else if (step.do === "answer" || step.do === "quote") this.respond(step);
    else if (step.do === "wait") this.wait(step.milliseconds);
    else if (step.do === "apply") this.apply(planOf(step));
    else this.plug(step.port, step.do === "plug");
  }

  private respond(step: Extract<Step, { do: "answer" | "quote" }>): void {
    const left = this.left.at(-1 - (step.back % Math.max(1, this.left.length)));
    if (left === undefined) return;
    const make = step.do === "answer" ? answerTo : errorAbout;
    this.inject(left.port, make(new Dice(step.seed), left.bytes), undefined);
  }

  private inject(port: number, frame: Uint8Array, vnet: Uint8Array | undefined): void {
    const { io, arena, router } = this.r;
    // The addon receives no more than there are slots for; some are left for the answers.
    if (this.waiting >= 16 || arena.free[0] < 4) return;
    if (this.unplugged.has(port) || frame.length > LARGEST_FRAME_BYTES) return;
    printFrame(new DataView(frame.buffer), 0, frame.length);
    const isOutside = this.plan.ports.find((each) => each.index === port)?.interface === 1;
    this.seen.add(frame, vnet, isOutside);
    io.inject(port, frame, vnet);
    this.injected++;
    this.waiting++;
    const packet = readPacket(frame);
    const kind = packet === undefined ? "other" : `${packet.protocol}${packet.fragment === 0 ? "" : "f"}`;
    this.kind = `${kind}${vnet === undefined ? "" : "v"}${router.isBcp ? "b" : ""}`;
  }

  private turn(): void {
    const { r } = this;
    r.loop.turn(0);
    this.waiting = 0;
    for (const sent of r.io.takeSent()) {
      this.judge.check(sent);
      this.left.push(sent);
    }
    this.left.splice(0, this.left.length - REMEMBERED);
    this.checkBooks();
    const { stops } = r.router.counters;
    for (let reason = 0; reason < stops.length; reason++) {
      if (stops[reason] !== this.before[reason]) this.reached.add(`${STOP_REASONS[reason].name} ${this.kind}`);
    }
    this.before.set(stops);
  }

  /** Slots, counters, and the books of the flow table and of NAT. */
  private checkBooks(): void {
    const { router, arena } = this.r;
    const { counters, neighbours, fragments } = router;
    const held = neighbours.parkedTotal + fragments.size;
    insist(arena.heldSlots() === held, () => `${arena.heldSlots()} slots held, ${held} of them known`);
    insist(router.transmitCount === 0 && router.outboxCount === 0, () => "something has not been sent");
    const named = counters.named();
    insist(named.framesReceived === this.injected, () => `${named.framesReceived} of ${this.injected} frames counted`);
    const { violations } = checkInvariants(router);
    insist(violations.length === 0, () => violations.join("; "));
  }

  private wait(milliseconds: number): void {
    const { r } = this;
    // Small steps first: neighbours are asked again each second.
    for (let left = milliseconds, leap = 500; left > 0; left -= leap, leap = Math.min(10_000, leap * 1.5)) {
      r.now += Math.min(leap, left);
      this.turn();
    }
  }

  private apply(plan: RouterPlan): void {
    this.r.router.apply(plan);
    this.plan = plan;
    this.judge.takePlan(plan);
  }

  private plug(port: number, isIn: boolean): void {
    const { router } = this.r;
    const plan = this.plan.ports.find(({ index }) => index === port);
    if (plan === undefined || this.unplugged.has(port) !== isIn) return;
    // What has come by it is handled before it goes.
    this.turn();
    if (isIn) {
      router.addPort(plan);
      this.unplugged.delete(port);
    } else {
      router.removePort(port);
      this.unplugged.add(port);
    }
  }

  /** When nobody sends any more, nothing is held; and flows have counted right to their end. */
  private end(): void {
    const { router, arena } = this.r;
    this.turn();
    this.wait(60_000);
    const held = router.neighbours.parkedTotal + router.fragments.size;
    insist(
      held === 0 && arena.heldSlots() === 0,
      () => `${held} frames wait for ever, ${arena.heldSlots()} slots held`,
    );
    for (const [name, count] of Object.entries(router.counters.named())) {
      if (count > 0) this.reached.add(`${name} ${Math.min(6, Math.floor(Math.log2(count)))}`);
    }
  }
}
