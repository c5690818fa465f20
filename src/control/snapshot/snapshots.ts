/**
 * Snapshots of a running router: its flows and the configuration in force, in a directory. Written every so often, when
 * somebody asks, and when the router ends; one at a time. The router does not depend on them: what goes wrong is logged,
 * and the former snapshot stays.
 */
import { join } from "node:path";
import { FLOW_LAYOUT_VERSION, HeaderWord } from "../../conntrack/flow_layout.ts";
import type { Restored } from "../../dataplane/messages.ts";
import { native } from "../../io/native.ts";
import { ownVersion } from "../../io/package_root.ts";
import type { SnapshotPlan } from "../configuration/build_services.ts";
import type { Configuration, ResolvedPlan } from "../configuration/configuration.ts";
import { type SystemError, TapirError } from "../errors.ts";
import type { FlowReader } from "../flows.ts";
import { addressesOf } from "../routing/on_link.ts";
import type { Routing } from "../routing/routing.ts";
import { configurationText } from "./configuration_text.ts";
import { writeAll, writeDurably } from "./durable.ts";
import type { Description } from "./format.ts";
import { describeOutcome, readSnapshot, restoreContents } from "./restore.ts";
import { type Written, writeFlows } from "./write.ts";

const FLOWS_FILE = "flows.tapir";
const CONFIGURATION_FILE = "configuration.yaml";

/** What is asked of the router. */
export interface Photographed {
  readonly configuration: Configuration;
  readonly resolved: ResolvedPlan;
  readonly flows: FlowReader;
  readonly routing: Routing;
  log(level: "info" | "warn" | "error", message: string): void;
}

export interface SnapshotView extends Written {
  directory: string;
  /** ISO 8601. */
  time: string;
  milliseconds: number;
}

export class Snapshots {
  private readonly router: Photographed;
  private plan: SnapshotPlan | undefined;
  private timer: NodeJS.Timeout | undefined;
  private last: SnapshotView | undefined;
  private problem: string | undefined;
  private previous: Promise<unknown> = Promise.resolve();

  constructor(router: Photographed) {
    this.router = router;
  }

  /** Restores what a directory has, if it has anything: before there are ports. */
  static async restore(router: Photographed, take: (flows: string) => Promise<Restored>): Promise<void> {
    const { snapshot } = router.resolved.services;
    if (snapshot === undefined) return;
    const path = join(snapshot.directory, FLOWS_FILE);
    try {
      const contents = readSnapshot(path);
      if (contents === undefined) return;
      const clocks = { wallMs: Date.now(), nowMs: wrappedClock() };
      const outcome = await restoreContents(contents, router.resolved, clocks, take);
      router.log("info", describeOutcome(outcome));
    } catch (error) {
      router.log("warn", `${path} is not restored, and the router begins without flows: ${(error as Error).message}`);
    }
  }

  /** Does from now on what the configuration says. */
  follow({ services }: ResolvedPlan): void {
    const isSame = JSON.stringify(services.snapshot) === JSON.stringify(this.plan);
    if (isSame) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.problem = undefined;
    this.plan = services.snapshot;
    if (this.plan === undefined) return;
    this.timer = setInterval(() => void this.write().catch(() => {}), this.plan.everySeconds * 1000);
    this.timer.unref();
  }

  /** The last one, and what keeps the next from being written. */
  view(): { plan: SnapshotPlan | null; last: SnapshotView | null; problem: string | null } {
    return { plan: this.plan ?? null, last: this.last ?? null, problem: this.problem ?? null };
  }

  /** Writes one. @throws TapirError where it cannot be written. */
  write(): Promise<SnapshotView> {
    const { plan } = this;
    if (plan === undefined) throw new TapirError("the configuration names no directory (control.snapshot.directory)");
    const done = this.previous.then(() => this.writeNow(plan));
    this.previous = done.catch(() => {});
    return done;
  }

  /** The last one: to be called when the dataplane has ended, and its table is there still. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    if (this.plan !== undefined) await this.write().catch(() => {});
    this.plan = undefined;
  }

  private async writeNow({ directory }: SnapshotPlan): Promise<SnapshotView> {
    const { configuration, resolved, flows, routing } = this.router;
    const begin = performance.now();
    const time = new Date();
    try {
      const text = configurationText(configuration, resolved, routing);
      await writeDurably(join(directory, CONFIGURATION_FILE), (file) => writeAll(file, Buffer.from(text)));
      const description = describe(resolved, flows, time);
      const written = await writeFlows(join(directory, FLOWS_FILE), flows, description);
      const milliseconds = Math.round(performance.now() - begin);
      this.last = { directory, time: time.toISOString(), ...written, milliseconds };
      if (this.problem !== undefined) this.router.log("info", `snapshots are written to ${directory} again`);
      this.problem = undefined;
      return this.last;
    } catch (error) {
      throw this.failed(directory, error as SystemError);
    }
  }

  /** The same problem is told once. */
  private failed(directory: string, error: SystemError): TapirError {
    const message = `no snapshot is written to ${directory}: ${reasonOf(error)}`;
    if (this.problem !== message) this.router.log("warn", message);
    this.problem = message;
    return new TapirError(message);
  }
}

function describe(resolved: ResolvedPlan, { header }: FlowReader, time: Date): Description {
  const { interfaces, ports, conntrack } = resolved.plan;
  const named = <T extends { index: number; name: string }>({ index, name }: T) => ({ index, name });
  return {
    program: ownVersion(),
    flowLayout: FLOW_LAYOUT_VERSION,
    wallMs: time.getTime(),
    nowMs: wrappedClock(),
    capacity: header[HeaderWord.CAPACITY],
    profile: conntrack.profile,
    ownAddresses: interfaces.flatMap((each) => addressesOf(each).map(({ address }) => address)),
    containers: resolved.devices.flatMap(({ address }) => address?.address ?? []),
    interfaces: interfaces.map(named),
    ports: ports.map(named),
  };
}

/** The clock that deadlines are told by: CLOCK_MONOTONIC in milliseconds, as a signed word. */
function wrappedClock(): number {
  return (native().monotonicMilliseconds() % 2 ** 32) | 0;
}

function reasonOf({ code, message }: SystemError): string {
  switch (code) {
    case "ENOENT":
      return "there is no such directory";
    case "EACCES":
      return "this user may not write there";
    case "EROFS":
      return "its file system is read-only";
    case "ENOSPC":
    case "EDQUOT":
      return "the disk is full";
    default:
      return message;
  }
}
