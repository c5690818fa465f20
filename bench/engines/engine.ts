/** What is compared: something that carries packets between the container and the world outside. */
import type { Namespace, World } from "../topology.ts";

export interface StartOptions {
  /** Processor of the engine's own processes; undefined: any. */
  readonly cpu: number | undefined;
  /** Flows that it must be able to hold. */
  readonly flows: number;
}

/** What a variant of an engine is told besides. */
export interface Variant {
  /** Filter rules that match nothing of the load, before those that do. */
  readonly rules?: number;
  /** Flags of the dataplane's V8. */
  readonly flags?: string;
}

/** An engine at work between the two namespaces, with their devices up. */
export interface Running {
  readonly container: Namespace;
  /** The container's address. */
  readonly address: string;
  /** MAC of the container's next hop. */
  readonly nextHop: string;
  /** Source address that the outside sees. */
  readonly seenAs: string;
  /** A processor that the receiver may use without disturbing the engine, where the generator has the first one. */
  readonly sinkCpu: number;
  /** Its own processes, the one that carries the packets last; for the count of their memory. */
  readonly pids: readonly number[];
  /** It knows no flows: nothing has to be set up before a trial. */
  readonly isStateless?: boolean;
  /** Flows that it holds, both directions as one. */
  countFlows?(): Promise<number>;
  /** What it wrote to its output. */
  output?(): string;
  stop(): Promise<void>;
}

export interface Engine {
  readonly name: string;
  /** One line for the report. */
  readonly title: string;
  /** Why it cannot run here; null when it can. */
  unavailable(): string | null;
  /** It has to see traffic before it is as fast as it gets (a just-in-time compiler). */
  readonly warmsUp?: boolean;
  /** So much slower or faster than the others that one trial of each start says enough; it is started by itself. */
  readonly isFarOff?: boolean;
  /** Most flows that it can hold here; absent: as many as it is told. */
  maxFlows?(): number;
  start(world: World, options: StartOptions): Promise<Running>;
}

/** `taskset` in front of a command, where a processor is asked for. */
export function pinned(cpu: number | undefined, command: readonly string[]): string[] {
  return cpu === undefined ? [...command] : ["taskset", "-c", String(cpu), ...command];
}
