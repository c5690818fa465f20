/**
 * What happens to flows, handed to those who listen. The dataplane writes into a ring only while somebody does; it is
 * read every few milliseconds. What was lost, in the ring or because a listener does not keep up, is
 * said to the listener.
 */
import { ANY_EVENT, FlowEventReader, type RecordedEvent, ringBytes } from "../conntrack/events.ts";
import { EVERY_FLOW, type FlowFilter, matchesFlow } from "../conntrack/filter.ts";
import { native } from "../io/native.ts";

const RING_RECORDS = 65_536;
const READ_INTERVAL_MS = 5;
/** Events told in one turn of the event loop: the API and the dataplane's replies are served in between. */
const READ_AT_ONCE = 4096;

export interface FlowListener {
  /** Takes an event; `event` is valid until it returns. */
  event(event: RecordedEvent): void;
  lost(count: number): void;
}

export interface Wish {
  filter?: FlowFilter;
  /** Kinds of events: bits of `FlowEvent`. */
  kinds?: number;
}

type Ask = (
  request: { type: "watch-flows"; capacity: number } | { type: "unwatch-flows" },
  descriptors: readonly number[],
) => Promise<unknown>;

export class FlowEventHub {
  private readonly ask: Ask;
  private readonly listeners = new Map<FlowListener, Required<Wish>>();
  private ring: { fd: number; reader: FlowEventReader } | undefined;
  private timer: NodeJS.Timeout | undefined;
  private isWatching = false;
  /** Changes of what the dataplane does come one after the other. */
  private settled: Promise<void> = Promise.resolve();

  constructor(ask: Ask) {
    this.ask = ask;
  }

  /** From when the promise is kept the listener is told of every event that it wishes for. */
  async add(listener: FlowListener, wish: Wish = {}): Promise<void> {
    this.listeners.set(listener, { filter: wish.filter ?? EVERY_FLOW, kinds: wish.kinds ?? ANY_EVENT });
    await this.settle();
  }

  async remove(listener: FlowListener): Promise<void> {
    this.listeners.delete(listener);
    await this.settle();
  }

  /** Has another dataplane write on where the last one has ended; nothing where nobody listens. */
  async resume(ask: Ask): Promise<void> {
    if (this.isWatching && this.ring !== undefined) {
      await ask({ type: "watch-flows", capacity: RING_RECORDS }, [this.ring.fd]);
    }
  }

  close(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.listeners.clear();
    if (this.ring !== undefined) native().closeDescriptor(this.ring.fd);
    this.ring = undefined;
  }

  /** Makes the dataplane write exactly while there are listeners. */
  private settle(): Promise<void> {
    const next = this.settled.then(() => this.settleNow());
    this.settled = next.catch(() => {});
    return next;
  }

  private async settleNow(): Promise<void> {
    const isWanted = this.listeners.size > 0;
    if (isWanted === this.isWatching) return;
    if (!isWanted) {
      clearTimeout(this.timer);
      await this.ask({ type: "unwatch-flows" }, []);
      this.isWatching = false;
      return;
    }
    this.ring ??= openRing();
    this.ring.reader.reset();
    await this.ask({ type: "watch-flows", capacity: RING_RECORDS }, [this.ring.fd]);
    this.isWatching = true;
    this.readSoon(READ_INTERVAL_MS);
  }

  private readSoon(milliseconds: number): void {
    this.timer = setTimeout(() => this.read(), milliseconds);
  }

  /** Tells at once what there is to tell. */
  drain(): void {
    while (this.readOnce() === READ_AT_ONCE);
  }

  private read(): void {
    this.readSoon(this.readOnce() === READ_AT_ONCE ? 0 : READ_INTERVAL_MS);
  }

  /** Returns how many events there were. */
  private readOnce(): number {
    if (this.ring === undefined) return 0;
    const { reader } = this.ring;
    let count = 0;
    for (const event of reader.read(READ_AT_ONCE)) {
      count++;
      for (const [listener, { filter, kinds }] of this.listeners) {
        if ((event.kind & kinds) !== 0 && matchesFlow(filter, event.words, event.base)) listener.event(event);
      }
    }
    const lost = reader.takeLost();
    if (lost > 0) for (const listener of this.listeners.keys()) listener.lost(lost);
    return count;
  }
}

function openRing(): { fd: number; reader: FlowEventReader } {
  const { fd, memory } = native().createMemory("tapir-flow-events", ringBytes(RING_RECORDS));
  return { fd, reader: new FlowEventReader(memory, RING_RECORDS) };
}
