/**
 * The dataplane process. It gets descriptors and plans from the control process over descriptor 3, and never goes
 * back to the event loop: it blocks in the addon, and takes commands between two bursts. When the control process is
 * gone, it goes on without (`hand_over.ts`); one that has not been told how it would be found then ends.
 */

import { randomFillSync } from "node:crypto";
import { closeSync, fstatSync } from "node:fs";
import { getSystemErrorName } from "node:util";
import type { Adoption } from "../conntrack/adopt.ts";
import { FlowEventWriter } from "../conntrack/events.ts";
import {
  type Engine,
  type EngineMemory,
  EngineState,
  native,
  PORT_LIMIT,
  PortCounter,
  PortKind,
} from "../io/native.ts";
import type { FrameIo } from "../io/port.ts";
import { Arena, SLOT_BYTES } from "../packet/arena.ts";
import { adoptFlows } from "./adopt_flows.ts";
import { Alarms } from "./alarms.ts";
import { BURST_FRAMES } from "./burst.ts";
import { Captures } from "./capture.ts";
import { confine } from "./confine.ts";
import { ControlLink } from "./control_link.ts";
import { removeMatching } from "./end_flows.ts";
import { explain } from "./explain/explain.ts";
import { Tracer } from "./explain/tracer.ts";
import { HandOver } from "./hand_over.ts";
import { setLinkState } from "./link_state.ts";
import { Loop } from "./loop.ts";
import type { Reply, Request } from "./messages.ts";
import { askServer, forgetServer, sendDatagram } from "./own_datagrams.ts";
import { PageFetcher } from "./page_fetcher.ts";
import type { PortPlan } from "./plan.ts";
import { restoreFlows } from "./restore.ts";
import { Router } from "./router.ts";
import { changeRoutes, removeNeighbour, setNeighbour, setPolicy } from "./routing.ts";
import { RuleLogger } from "./rule_log.ts";
import { findRoute, show } from "./show.ts";

/** The memory of the ports' counters, which go on in the next process. */
const PORT_COUNTER_DESCRIPTOR = 4;
const SLOT_COUNT = 4096;
const TRANSMIT_LIMIT = 4096;
/** Whose control processes may take this one over. */
const USER = process.geteuid?.() ?? 0;

/** 32-bit words from the system's generator, fetched a page at a time. */
function systemRandom(): () => number {
  const pool = new Int32Array(1024);
  let left = 0;
  return () => {
    if (left === 0) {
      randomFillSync(pool);
      left = pool.length;
    }
    return pool[--left];
  };
}

/** Words that came as base64. */
function wordsOf(text: string): Int32Array {
  return new Int32Array(new Uint8Array(Buffer.from(text, "base64")).buffer);
}

class Dataplane {
  private readonly control: ControlLink;
  private readonly state = new Int32Array(EngineState.WORDS);
  private readonly transmitOffset = new Int32Array(TRANSMIT_LIMIT);
  private readonly portErrors = new Int32Array(PORT_LIMIT);
  private readonly portCounters = new Float64Array(
    native().mapMemory(PORT_COUNTER_DESCRIPTOR),
    0,
    PORT_LIMIT * PortCounter.COUNT,
  );
  private readonly portDescriptors = new Map<number, number>();
  private readonly arena: Arena;
  private readonly engine: Engine;
  private readonly io: FrameIo;
  private router: Router | undefined;
  private loop: Loop | undefined;
  private alarms: Alarms | undefined;
  private readonly captures = new Captures(SLOT_COUNT);
  private tracer: Tracer | undefined;
  /** The memory of flow events, and which that is. */
  private eventRing: { ring: string; memory: ArrayBuffer } | undefined;
  private pages: PageFetcher | undefined;
  private running = true;
  /** What came with `start`. */
  private descriptors: number[] = [];
  private readonly clock = (): number => this.state[EngineState.NOW_MS];

  constructor() {
    const buffer = native().allocateMemory(SLOT_COUNT * SLOT_BYTES);
    this.arena = new Arena(buffer, SLOT_COUNT, this.state.subarray(EngineState.FREE_COUNT, EngineState.FREE_COUNT + 1));
    const memory: EngineMemory = {
      arena: buffer,
      slotBytes: SLOT_BYTES,
      slotCount: SLOT_COUNT,
      slotLength: this.arena.slotLength,
      freeSlots: this.arena.freeSlots,
      receivedSlot: new Int32Array(BURST_FRAMES),
      receivedPort: new Int32Array(BURST_FRAMES),
      transmitSlot: new Int32Array(TRANSMIT_LIMIT),
      transmitPort: new Int32Array(TRANSMIT_LIMIT),
      transmitOffset: this.transmitOffset,
      state: this.state,
      portErrors: this.portErrors,
      portCounters: this.portCounters,
    };
    const engine = native().createEngine(memory);
    this.engine = engine;
    this.control = new ControlLink(
      (fd) => engine.watchControl(fd),
      (request, descriptors) => this.answer(request, descriptors),
    );
    if (process.env.TAPIR_IO_URING !== "0" && !this.engine.useRing(true)) {
      this.control.send({
        notice: "log",
        level: "warn",
        message: "no io_uring (kernel.io_uring_disabled?): each frame of a TAP costs a system call of its own",
      });
    }
    this.io = {
      receivedSlot: memory.receivedSlot,
      receivedPort: memory.receivedPort,
      transmitSlot: memory.transmitSlot,
      transmitPort: memory.transmitPort,
      transmitOffset: this.transmitOffset,
      receive: (max, timeoutMs) => engine.receive(max, timeoutMs),
      transmit: (count) => engine.transmit(count),
    };
  }

  run(): void {
    const lack = confine(native(), process.env);
    if (lack !== undefined) this.control.send({ notice: "log", level: "warn", message: lack });
    while (this.running) {
      if (this.loop === undefined) this.engine.receive(1, 1000);
      else if (this.loop.turn() === 0) this.pages?.run();
      this.alarms?.run();
      this.tracer?.endUnread();
      if (this.state[EngineState.PORT_ERRORS] !== 0) this.reportPortErrors();
      if (this.state[EngineState.CONTROL_READY] !== 0) this.serve();
      this.control.flush();
    }
    this.engine.close();
  }

  private serve(): void {
    const isWanted = this.control.serve();
    if (!isWanted) this.running = false;
    if (!this.control.isAlone || this.router === undefined) return;
    // Nobody reads them any more.
    this.router.flows.events = undefined;
    this.router.captures = undefined;
  }

  private answer(request: Request, descriptors: number[]): Reply {
    try {
      const result = this.execute(request, descriptors);
      return { id: request.id, ok: true, ...(result === undefined ? {} : { result }) };
    } catch (error) {
      for (const descriptor of descriptors) closeSync(descriptor);
      return { id: request.id, ok: false, error: (error as Error).message };
    }
  }

  private execute(request: Request, descriptors: number[]): unknown {
    if (request.type === "start") return this.start(request, descriptors);
    if (request.type === "stop") {
      this.running = false;
      return undefined;
    }
    const router = this.router;
    if (router === undefined) throw new Error("not started");
    switch (request.type) {
      case "adopt":
        return this.adopt(router);
      case "apply":
        return router.apply({ ...request.plan, rules: request.plan.rules ?? router.rules.ruleSet }, request.carry);
      case "change-routes":
        return changeRoutes(router, request.change);
      case "set-policy":
        return setPolicy(router, request.rules);
      case "set-neighbour":
        return setNeighbour(router, request.neighbour);
      case "remove-neighbour":
        return removeNeighbour(router, request.interface, request.address);
      case "find-route":
        return findRoute(router, request.question);
      case "zero-rules":
        return router.rules.zero(request.table, request.chain, request.rule);
      case "add-port":
        return this.addPort(
          router,
          request.port,
          request.kind === "tap" ? PortKind.TAP : PortKind.PACKET,
          descriptors[0],
        );
      case "remove-port":
        return this.removePort(router, request.port);
      case "set-link":
        return setLinkState(router, request.interface, request.isUp);
      case "show":
        return show(router, request.table, this.portCounters);
      case "send-datagram":
        return sendDatagram(router, request.datagram);
      case "ask-server":
        return askServer(router, request.question);
      case "forget-server":
        return forgetServer(router, request.socket);
      case "trace-start":
        return this.tracerOf(router).start(request.program, request.port, request.perSecond);
      case "trace-read":
        return this.tracerOf(router).read(request.trace);
      case "trace-stop":
        return this.tracerOf(router).stop(request.trace);
      case "explain":
        return explain(router, request.port, request.frame, request.fitsNumbers);
      case "remove-flows":
        return removeMatching(router.flows, request.filter, request.from, router.now, !request.isQuiet);
      case "restore-flows":
        return restoreFlows(router, wordsOf(request.flows));
      case "watch-flows":
        return this.watchFlows(router, descriptors[0], request.capacity);
      case "time-stages":
        this.loop?.timeStages(request.everyBursts, request.forMs);
        return undefined;
      case "start-capture":
        this.captures.start(request.plan, () => native().mapMemory(descriptors[0]));
        closeSync(descriptors[0]);
        router.captures = this.captures;
        return undefined;
      case "stop-capture":
        this.captures.stop(request.capture);
        if (this.captures.isEmpty) router.captures = undefined;
        return undefined;
      case "keep-estate":
        if (this.control.handOver === undefined) throw new Error("nobody could find it");
        return this.control.handOver.keepEstate(descriptors[0]);
      case "unwatch-flows":
        router.flows.events = undefined;
        return undefined;
    }
  }

  private start(request: Extract<Request, { type: "start" }>, descriptors: number[]): void {
    if (this.router !== undefined) throw new Error("started already");
    const [flowMemory, counterMemory] = descriptors.slice(0, 2).map((fd) => native().mapMemory(fd));
    this.engine.setSpin(request.spinMicroseconds);
    const router = new Router({
      arena: this.arena,
      io: this.io,
      plan: request.plan,
      limits: request.limits,
      random: systemRandom(),
      now: this.clock(),
      portLimit: PORT_LIMIT,
      flowMemory,
      counterMemory,
      adopts: request.adopts,
    });
    this.router = router;
    const ruleLog = new RuleLogger(router, (entry) => this.control.send({ notice: "rule-log", entry }));
    router.rules.onLog = (rule, key) => ruleLog.note(rule, key);
    router.datagrams.onDatagram = (datagram) => this.control.offer({ notice: "datagram", datagram });
    this.descriptors = descriptors;
    this.pages = new PageFetcher(flowMemory);
    if (!request.adopts) this.begin(router);
  }

  private adopt(router: Router): Adoption {
    if (this.loop !== undefined) throw new Error("begun already");
    router.now = this.clock();
    const adoption = adoptFlows(router);
    this.begin(router);
    return adoption;
  }

  /** From now on the memory is this process's, and can be found with it where its control process ends. */
  private begin(router: Router): void {
    const [flows, counters, listener] = this.descriptors;
    if (listener === undefined) for (const descriptor of this.descriptors) closeSync(descriptor);
    else {
      const memory = [flows, counters, PORT_COUNTER_DESCRIPTOR];
      this.control.handOver = new HandOver({ listener, memory, devices: this.portDescriptors, user: USER });
    }
    const { NOW_MICROSECONDS, BUSY_NS } = EngineState;
    this.loop = new Loop(
      router,
      this.clock,
      () => this.state[NOW_MICROSECONDS],
      () => this.state[BUSY_NS],
    );
    this.alarms = new Alarms(router, (message) => this.control.send({ notice: "log", level: "warn", message }));
  }

  /** A mapping is given back by the event loop, which never runs here: the ring that was mapped last is kept. */
  private watchFlows(router: Router, descriptor: number, capacity: number): void {
    const { ino, dev } = fstatSync(descriptor);
    const ring = `${dev} ${ino}`;
    if (this.eventRing?.ring !== ring) this.eventRing = { ring, memory: native().mapMemory(descriptor) };
    closeSync(descriptor);
    router.flows.events = new FlowEventWriter(this.eventRing.memory, capacity);
  }

  private tracerOf(router: Router): Tracer {
    this.tracer ??= new Tracer(router);
    return this.tracer;
  }

  private addPort(router: Router, port: PortPlan, kind: PortKind, descriptor: number): void {
    router.addPort(port);
    try {
      this.engine.addPort(port.index, descriptor, kind);
    } catch (error) {
      router.removePort(port.index);
      throw error;
    }
    this.portDescriptors.set(port.index, descriptor);
  }

  private removePort(router: Router, port: number): void {
    router.removePort(port);
    this.forgetDevice(port);
    this.portErrors[port] = 0;
    this.portCounters.fill(0, port * PortCounter.COUNT, (port + 1) * PortCounter.COUNT);
  }

  private forgetDevice(port: number): void {
    this.engine.removePort(port);
    const descriptor = this.portDescriptors.get(port);
    if (descriptor !== undefined) closeSync(descriptor);
    this.portDescriptors.delete(port);
  }

  /** A device that has failed for good leaves the router; the control process decides what becomes of it. */
  private reportPortErrors(): void {
    this.reportRing();
    for (const port of this.portDescriptors.keys()) {
      const errno = this.portErrors[port];
      if (errno === 0) continue;
      this.portErrors[port] = 0;
      this.router?.removePort(port);
      if (this.control.isAlone) this.forgetDevice(port);
      else this.control.send({ notice: "port-error", port, errno });
    }
  }

  private reportRing(): void {
    const errno = this.state[EngineState.RING_ERROR];
    if (errno === 0) return;
    this.state[EngineState.RING_ERROR] = 0;
    const message = `io_uring is given up (${getSystemErrorName(-errno)}): each frame of a TAP costs a system call of its own`;
    this.control.send({ notice: "log", level: "warn", message });
  }
}

new Dataplane().run();
process.exit(0);
