/** What the dataplane is asked, and told to do, while the configuration stays what it is. */
import type { FlowFilter } from "../conntrack/filter.ts";
import type { FlowView } from "../conntrack/format.ts";
import type { TracePiece } from "../dataplane/explain/tracer.ts";
import type {
  FoundRoute,
  OwnSocket,
  RemovedFlows,
  Restored,
  RouteQuestion,
  SentDatagram,
  ServerQuestion,
  ShowTable,
} from "../dataplane/messages.ts";
import type { TableName } from "../filter/rule_set.ts";
import type { DataplaneProcess } from "./dataplane_process.ts";
import { DataplaneDownError } from "./errors.ts";
import { viewRemoved } from "./flows.ts";

/** A dataplane has fewer traces in its life. */
const TRACE_NUMBERS = 2 ** 32;

export abstract class DataplaneQuestions {
  protected abstract readonly dataplane: Pick<DataplaneProcess, "request">;
  /** How many dataplanes there have been before the one that works; a trace ends with its own. */
  protected predecessors = 0;

  /** Sets counters to zero: of a table, of a chain, or of one rule of it (from 0). */
  async zeroRules(table: TableName, chain?: string, rule?: number): Promise<void> {
    await this.dataplane.request({
      type: "zero-rules",
      table,
      ...(chain === undefined ? {} : { chain }),
      ...(rule === undefined ? {} : { rule }),
    });
  }

  show(table: ShowTable): Promise<unknown> {
    return this.dataplane.request({ type: "show", table });
  }

  /** Sends a datagram to a station of a network. One that cannot be sent now is lost. */
  sendDatagram(datagram: SentDatagram): void {
    this.dataplane.request({ type: "send-datagram", datagram }).catch(() => {});
  }

  /** Sends a question to a server. Rejects where no route leads there. */
  async askServer(question: ServerQuestion): Promise<OwnSocket> {
    return (await this.dataplane.request({ type: "ask-server", question })) as OwnSocket;
  }

  /** Nothing more is expected of a server. */
  forgetServer(socket: OwnSocket): void {
    this.dataplane.request({ type: "forget-server", socket }).catch(() => {});
  }

  /** Has the dataplane time the stages of one burst in `everyBursts`, for so long. */
  async timeStages(everyBursts: number, forMs: number): Promise<void> {
    await this.dataplane.request({ type: "time-stages", everyBursts, forMs });
  }

  /** Begins to record the walks of live packets; the trace's number. */
  async startTrace(program: number[], port: number, perSecond: number): Promise<number> {
    const trace = (await this.dataplane.request({ type: "trace-start", program, port, perSecond })) as number;
    return this.predecessors * TRACE_NUMBERS + trace;
  }

  async readTrace(trace: number): Promise<TracePiece> {
    return (await this.dataplane.request({ type: "trace-read", trace: this.traceOf(trace) })) as TracePiece;
  }

  async stopTrace(trace: number): Promise<void> {
    await this.dataplane.request({ type: "trace-stop", trace: this.traceOf(trace) });
  }

  /** The number that the dataplane knows a trace by. */
  private traceOf(trace: number): number {
    if (Math.floor(trace / TRACE_NUMBERS) === this.predecessors) return trace % TRACE_NUMBERS;
    throw new DataplaneDownError("the trace has ended with the dataplane, which has been started again");
  }

  /** What would happen to an Ethernet frame that comes in by a port; changes nothing. */
  explain(port: number, frame: Uint8Array, fitsNumbers: boolean): Promise<unknown> {
    return this.dataplane.request({ type: "explain", port, frame: Buffer.from(frame).toString("base64"), fitsNumbers });
  }

  /** Ends the flows of a filter and says which. */
  async *removeFlows(filter: FlowFilter): AsyncGenerator<FlowView> {
    for await (const piece of this.removeByPieces(filter, false)) yield* viewRemoved(piece);
  }

  /** Ends the flows of a filter; returns how many. */
  async removeFlowsQuietly(filter: FlowFilter): Promise<number> {
    let removed = 0;
    for await (const piece of this.removeByPieces(filter, true)) removed += piece.removed;
    return removed;
  }

  /** Has the dataplane take flows that another router has left: base64 of their words. */
  restoreFlows(flows: string): Promise<Restored> {
    return this.dataplane.request({ type: "restore-flows", flows }) as Promise<Restored>;
  }

  /** The dataplane forwards in between. */
  private async *removeByPieces(filter: FlowFilter, isQuiet: boolean): AsyncGenerator<RemovedFlows> {
    for (let from = 0; from >= 0; ) {
      const piece = (await this.dataplane.request({ type: "remove-flows", filter, from, isQuiet })) as RemovedFlows;
      yield piece;
      from = piece.next;
    }
  }

  /** Asks the dataplane which way a packet would take. */
  findRoute(question: RouteQuestion): Promise<FoundRoute> {
    return this.dataplane.request({ type: "find-route", question }) as Promise<FoundRoute>;
  }
}
