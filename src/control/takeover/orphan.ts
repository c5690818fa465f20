/**
 * A dataplane that its control process has left (`dataplane/hand_over.ts`), as the next control process sees it: found at
 * its socket, asked for all that it holds, and told to stop once somebody is ready to go on. Until then it forwards,
 * whatever becomes of the one who asks.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Described, HandedPorts, HandOverRequest } from "../../dataplane/hand_over.ts";
import type { Reply } from "../../dataplane/messages.ts";
import { Channel, type ChannelMessage } from "../../io/channel.ts";
import { native } from "../../io/native.ts";
import { type DevicePlan, type ResolvedPlan, resolvePlan } from "../configuration/configuration.ts";
import type { OpenDevice } from "../devices.ts";
import { leaseOf } from "../dhcp/leased_uplink.ts";
import { TapirError } from "../errors.ts";
import { type Estate, readEstate } from "./estate.ts";

/** It looks at its socket between two bursts: one that is silent for so long hangs. */
const REPLY_MS = 5_000;
/** Flow table, counters, counters of the ports. */
const MEMORIES = 3;
/** Its end is looked for so often, so long: it has memory to give back. */
const BURY_MS = 20;
const MOST_BURY_TRIALS = 500;

type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;

export class Orphan {
  readonly pid: number;
  readonly estate: Estate;
  /** The socket that it listens at; whoever takes the orphan over closes it. */
  readonly listener: number;
  private readonly memoryFds: readonly number[];
  isStopped = false;
  private readonly link: Link;
  /** Descriptors of its devices by port, as long as nobody has claimed them. */
  private readonly devices: Map<number, number>;

  private constructor(link: Link, pid: number, estate: Estate, descriptors: number[], devices: Map<number, number>) {
    this.link = link;
    this.pid = pid;
    this.estate = estate;
    this.memoryFds = descriptors.slice(0, MEMORIES);
    this.listener = descriptors[MEMORIES];
    this.devices = devices;
  }

  /** Asks who listens at a path for all that it holds. @throws TapirError where it does not answer, or holds what is of no use. */
  static async meet(path: string): Promise<Orphan> {
    const link = new Link(path);
    try {
      const { result, descriptors } = await link.ask<Described>({ type: "describe" });
      const { pid, hasEstate } = result;
      return await Orphan.read(link, pid, hasEstate ? descriptors.pop() : undefined, descriptors);
    } catch (error) {
      link.close();
      throw error;
    }
  }

  private static async read(
    link: Link,
    pid: number,
    estate: number | undefined,
    descriptors: number[],
  ): Promise<Orphan> {
    const devices = new Map<number, number>();
    try {
      if (estate === undefined) throw new TapirError("its control process had not come up yet");
      const read = readEstate(estate);
      for (let from = 0; from >= 0; ) {
        const { result, descriptors } = await link.ask<HandedPorts>({ type: "ports", from });
        for (const [place, port] of result.ports.entries()) devices.set(port, descriptors[place]);
        from = result.next;
      }
      return new Orphan(link, pid, read, descriptors, devices);
    } catch (error) {
      for (const fd of [...descriptors, ...devices.values()]) native().closeDescriptor(fd);
      throw new TapirError(
        `a dataplane that was left without its control process forwards on as process ${pid}, and cannot be taken over: ` +
          `${(error as Error).message} (kill ${pid} ends it, with its devices and flows)`,
      );
    } finally {
      if (estate !== undefined) native().closeDescriptor(estate);
    }
  }

  /** The plan that it forwards by, in this program's words. */
  resolve(): ResolvedPlan {
    const { configuration, former, leases } = this.estate;
    return resolvePlan(configuration, former, new Map(leases.map((lease) => [lease.plan.name, leaseOf(lease)])));
  }

  /** Flow table, counters, and counters of the ports, mapped; the descriptors are the caller's from now on. */
  memory(): { fd: number; memory: ArrayBuffer }[] {
    return this.memoryFds.map((fd) => ({ fd, memory: native().mapMemory(fd) }));
  }

  /** The devices of a plan that are open already, exactly as it wants them; they are the caller's from now on. */
  claim(wanted: readonly DevicePlan[]): OpenDevice[] {
    return this.estate.devices.flatMap((saved) => {
      const text = JSON.stringify(saved.plan);
      const plan = wanted.find((each) => JSON.stringify(each) === text);
      const fd = this.devices.get(saved.plan.port);
      // The other end of a raw uplink has gone with the process that held it.
      if (plan === undefined || fd === undefined || plan.kind === "raw") return [];
      this.devices.delete(plan.port);
      return [{ ...saved, plan, fd }];
    });
  }

  /** It does nothing any more when this returns, and ends. What nobody has claimed is closed. */
  async stop(): Promise<void> {
    await this.link.ask({ type: "stop" });
    this.isStopped = true;
    this.leave();
    void bury(this.pid);
  }

  /** Lets it go on; what nobody has claimed is closed on this side. */
  leave(): void {
    this.link.close();
    for (const fd of this.devices.values()) native().closeDescriptor(fd);
    this.devices.clear();
  }
}

/** One question at a time over a connection to a path. */
class Link {
  private readonly fd: number;
  private readonly channel: Channel;
  private isClosed = false;

  constructor(path: string) {
    this.fd = native().connectTo(path);
    this.channel = new Channel(native(), this.fd);
  }

  async ask<T>(request: WithoutId<HandOverRequest>): Promise<{ result: T; descriptors: number[] }> {
    this.channel.send({ ...request, id: 1 });
    const { message, descriptors, lost } = await this.next();
    if (lost !== undefined) throw new TapirError(lost);
    const reply = message as Reply;
    if (!reply.ok) throw new TapirError(reply.error);
    return { result: reply.result as T, descriptors };
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    native().closeDescriptor(this.fd);
  }

  private next(): Promise<ChannelMessage> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void): void => {
        clearTimeout(timer);
        stop();
        action();
      };
      const timer = setTimeout(() => settle(() => reject(new TapirError("it does not answer"))), REPLY_MS);
      const stop = native().watchReadable(this.fd, () => {
        const received = this.channel.receive();
        if (received === null) return;
        if (received === "closed") settle(() => reject(new TapirError("it has ended")));
        else settle(() => resolve(received));
      });
    });
  }
}

/** After an upgrade in place it is this process's child. */
async function bury(pid: number): Promise<void> {
  for (let trial = 0; trial < MOST_BURY_TRIALS && !native().buryChild(pid); trial++) {
    await sleep(BURY_MS, undefined, { ref: false });
  }
}
