/**
 * Changing a running router, and taking that back.
 *
 * A change that has to be confirmed is rolled back by this process unless it is in time, whoever asked for it and
 * whatever has become of them. While it waits, only containers come and go: every other change is refused, so that what
 * the rollback goes back to is what was there before.
 *
 * A rollback brings back what was configured, except that containers which were attached or detached at run time since
 * then stay as they are, unless another has their name or address again; one that it wants and whose device cannot be
 * made is out of service, and does not hold it up.
 */
import { keepCniPorts } from "./cni.ts";
import {
  type Configuration,
  checkConfiguration,
  formatError,
  parseConfiguration,
} from "./configuration/configuration.ts";
import type { Action, Difference } from "./difference.ts";
import { ExitCode, TapirError, UnknownNameError } from "./errors.ts";
import { type Cause, History, type HistoryEntry, isContainers } from "./history.ts";

/** A change may wait so long for its confirmation. */
export const LONGEST_CONFIRM_SECONDS = 86_400;

/** What is asked of the router. */
export interface Changeable {
  readonly configuration: Configuration;
  change(edit: (present: Configuration) => Configuration, cause: Cause, isLenient?: boolean): Promise<void>;
  differenceTo(configuration: Configuration): Difference;
  log(level: "info" | "warn" | "error", message: string): void;
}

export interface ApplyWish {
  /** YAML; or `configuration`, as data. */
  text?: string;
  configuration?: unknown;
  /** Name of the file, in errors and in the history. */
  file?: string;
  confirmSeconds?: number;
}

export interface Pending {
  /** The entry of the history that waits. */
  number: number;
  secondsLeft: number;
  /** The entry that it is rolled back to. */
  rollbackTo: number;
}

export interface Applied extends Difference {
  entry: HistoryEntry;
  pending: Pending | null;
}

interface Waiting {
  number: number;
  rollbackTo: number;
  deadlineMs: number;
  timer: NodeJS.Timeout;
}

export class Changes {
  readonly history = new History();
  /** Told of each change, once it is in force. */
  readonly listeners = new Set<(entry: HistoryEntry) => void>();
  private readonly router: Changeable;
  private waiting: Waiting | undefined;
  /** An apply, confirmation or rollback is under way: the next one waits for it. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(router: Changeable) {
    this.router = router;
    this.history.add({ source: "start" }, router.configuration, []);
  }

  get pending(): Pending | null {
    if (this.waiting === undefined) return null;
    const { number, rollbackTo, deadlineMs } = this.waiting;
    return { number, rollbackTo, secondsLeft: Math.max(0, Math.ceil((deadlineMs - performance.now()) / 1000)) };
  }

  /** Throws while a change waits for its confirmation, for all that is not a container or the rollback itself. */
  refuseWhilePending(cause: Cause): void {
    const { pending } = this;
    if (pending === null || isContainers(cause) || cause.source === "rollback") return;
    throw new TapirError(
      `change #${pending.number} waits for its confirmation (${pending.secondsLeft} s left): tapir confirm, or tapir rollback`,
    );
  }

  /** Takes a change down that is in force now. One that changes nothing leaves no trace. */
  record(cause: Cause, actions: readonly Action[]): void {
    if (actions.length === 0) return;
    const entry = this.history.add(cause, this.router.configuration, actions);
    for (const listener of this.listeners) listener(entry);
  }

  /** What applying would change. */
  difference(wish: ApplyWish): Difference {
    return this.router.differenceTo(keepCniPorts(this.router.configuration, readWish(wish)));
  }

  apply(wish: ApplyWish): Promise<Applied> {
    return this.next(() => this.applyNow(wish));
  }

  confirm(): Promise<HistoryEntry> {
    return this.next(async () => {
      if (this.waiting === undefined) throw new TapirError("no change waits for its confirmation");
      this.stopWaiting();
      this.router.log("info", `change #${this.history.present.number} is confirmed`);
      return this.history.present;
    });
  }

  /** Goes back to the configuration of an entry; unless said, to that before the last change. */
  rollback(number?: number): Promise<Applied> {
    return this.next(() => this.rollbackNow(number, ""));
  }

  /** Nothing happens by itself any more. */
  close(): void {
    this.stopWaiting();
    this.listeners.clear();
  }

  private next<T>(body: () => Promise<T>): Promise<T> {
    const done = this.last.then(body);
    this.last = done.catch(() => {});
    return done;
  }

  private async applyNow(wish: ApplyWish): Promise<Applied> {
    const written = readWish(wish);
    const cause: Cause = { source: "apply", ...(wish.file === undefined ? {} : { detail: wish.file }) };
    this.refuseWhilePending(cause);
    const before = this.history.present.number;
    const difference = this.router.differenceTo(keepCniPorts(this.router.configuration, written));
    await this.router.change((present) => keepCniPorts(present, written), cause);
    const { confirmSeconds } = wish;
    if (confirmSeconds !== undefined && difference.actions.length > 0) this.wait(before, confirmSeconds);
    return { ...difference, entry: this.history.present, pending: this.pending };
  }

  private async rollbackNow(wanted: number | undefined, why: string): Promise<Applied> {
    const number = wanted ?? this.waiting?.rollbackTo ?? this.history.beforeLastChange;
    if (number === undefined) throw new TapirError("there is nothing to go back to");
    const target = this.history.configurationOf(number);
    if (target === undefined) throw new UnknownNameError(`no configuration #${number} is kept (tapir history)`);
    const { configuration, left } = withContainers(target, this.history.containersSince(number));
    for (const name of left) {
      this.router.log("warn", `${name} cannot stay: its name or address is another's in configuration #${number}`);
    }
    const difference = this.router.differenceTo(configuration);
    const cause: Cause = { source: "rollback", detail: `to #${number}${why}` };
    await this.router.change(() => configuration, cause, true);
    this.stopWaiting();
    return { ...difference, entry: this.history.present, pending: null };
  }

  private wait(rollbackTo: number, seconds: number): void {
    const { number } = this.history.present;
    const timer = setTimeout(() => this.expire(seconds), seconds * 1000);
    this.waiting = { number, rollbackTo, deadlineMs: performance.now() + seconds * 1000, timer };
  }

  private expire(seconds: number): void {
    const { waiting } = this;
    this.next(async () => {
      // It may have been confirmed while this waited for its turn.
      if (waiting === undefined || this.waiting !== waiting) return;
      this.router.log("warn", `change #${waiting.number} was not confirmed in ${seconds} s: rolled back`);
      await this.rollbackNow(waiting.rollbackTo, `, not confirmed in ${seconds} s`);
    }).catch((error: Error) => {
      this.stopWaiting();
      this.router.log("error", `cannot roll back: ${error.message}`);
    });
  }

  private stopWaiting(): void {
    clearTimeout(this.waiting?.timer);
    this.waiting = undefined;
  }
}

function readWish({ text, configuration, file = "configuration" }: ApplyWish): Configuration {
  if ((text === undefined) === (configuration === undefined)) {
    throw new TapirError("either text or configuration is needed", ExitCode.USAGE);
  }
  const result = text === undefined ? checkConfiguration(configuration, file) : parseConfiguration(text, file);
  if (result.errors === undefined) return result.configuration;
  throw new TapirError(result.errors.map(formatError).join("\n"), ExitCode.CONFIGURATION);
}

/**
 * A configuration with containers put in and taken out, in turn, and the names of those that cannot be in it: their
 * network is not there, or somebody else has their address.
 */
function withContainers(
  configuration: Configuration,
  containers: readonly NonNullable<Cause["container"]>[],
): { configuration: Configuration; left: string[] } {
  const left: string[] = [];
  for (const { network, name, port } of containers) {
    const found = configuration.networks?.[network];
    if (port === undefined) {
      delete found?.ports?.[name];
      continue;
    }
    if (found === undefined || Object.hasOwn(found.ports ?? {}, name)) {
      left.push(name);
      continue;
    }
    found.ports = { ...found.ports, [name]: port };
    if (checkConfiguration(configuration).errors === undefined) continue;
    delete found.ports[name];
    left.push(name);
  }
  return { configuration, left };
}
