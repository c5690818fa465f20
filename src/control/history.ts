/**
 * The configurations that were in force, the newest last: which came when, from where, and what it changed. Kept in
 * memory as JSON texts, so that nobody can change them: at most `MOST_ENTRIES`, of `MOST_CHARACTERS` together.
 */
import type { Configuration, PortConfiguration } from "./configuration/configuration.ts";
import { type Action, summarise } from "./difference.ts";

const MOST_ENTRIES = 64;
const MOST_CHARACTERS = 16 << 20;
/** Actions that an entry keeps one by one; its summary counts them all. */
const MOST_ACTIONS = 50;

/** Where a change comes from. */
export interface Cause {
  /** `start`, `apply`, `sighup`, `attach`, `detach`, `rollback`, `iptables`, `docker`, … */
  source: string;
  /** A file, a container, a command: what there is to say besides. */
  detail?: string;
  /** A container that has come or gone at run time: rolling back the rest does not undo it. */
  container?: { network: string; name: string; port?: PortConfiguration };
}

/** Whether it is a container that has come or gone, or anything else that Docker has asked for. */
export function isContainers({ source, container }: Cause): boolean {
  return container !== undefined || source === "docker";
}

export interface HistoryEntry {
  /** From 1; never given twice. */
  number: number;
  /** ISO 8601. */
  time: string;
  cause: Cause;
  summary: string;
  /** The first of them. */
  actions: Action[];
}

interface Kept extends HistoryEntry {
  text: string;
}

export class History {
  private readonly kept: Kept[] = [];
  private readonly clock: () => Date;
  private lastNumber = 0;

  constructor(clock: () => Date = () => new Date()) {
    this.clock = clock;
  }

  add(cause: Cause, configuration: Configuration, actions: readonly Action[]): HistoryEntry {
    this.kept.push({
      number: ++this.lastNumber,
      time: this.clock().toISOString(),
      cause,
      summary: cause.source === "start" ? "" : summarise(actions),
      actions: actions.slice(0, MOST_ACTIONS),
      text: JSON.stringify(configuration),
    });
    let characters = this.kept.reduce((sum, { text }) => sum + text.length, 0);
    while (this.kept.length > 1 && (this.kept.length > MOST_ENTRIES || characters > MOST_CHARACTERS)) {
      characters -= (this.kept.shift() as Kept).text.length;
    }
    return this.present;
  }

  /** The newest: what is in force. */
  get present(): HistoryEntry {
    return withoutText(this.kept[this.kept.length - 1]);
  }

  /** The newest last. */
  get entries(): HistoryEntry[] {
    return this.kept.map(withoutText);
  }

  /** The configuration of an entry; undefined when there is none of that number (any more). */
  configurationOf(number: number): Configuration | undefined {
    const found = this.kept.find((entry) => entry.number === number);
    return found === undefined ? undefined : (JSON.parse(found.text) as Configuration);
  }

  /** The entry before the newest change that was no container's coming or going; undefined when there is none. */
  get beforeLastChange(): number | undefined {
    const last = this.kept.findLastIndex(({ cause }) => !isContainers(cause));
    return last <= 0 ? undefined : this.kept[last - 1].number;
  }

  /** Containers that have come and gone at run time after an entry, the oldest first. */
  containersSince(number: number): NonNullable<Cause["container"]>[] {
    return this.kept.flatMap(({ number: own, cause }) => {
      return own > number && cause.container !== undefined ? [cause.container] : [];
    });
  }
}

function withoutText({ text: _, ...entry }: Kept): HistoryEntry {
  return entry;
}
