/**
 * The socket beside the API's, at which a dataplane without its control process is found. It is made before the dataplane
 * starts, so that there is no moment in which that could not be found; whoever uses it holds the lock of the API's socket.
 */
import { lstatSync, unlinkSync } from "node:fs";
import { native } from "../../io/native.ts";
import type { SystemError } from "../errors.ts";
import { Orphan } from "./orphan.ts";

/** Nobody is there; or nobody can be. */
const ABSENT = ["ENOENT", "ECONNREFUSED", "ENAMETOOLONG"];

export class DataplanePlace {
  /** The dataplane that was found there. */
  orphan: Orphan | undefined;
  /** The listening socket; undefined where there is none, and the dataplane ends with its control process. */
  listener: number | undefined;
  private path: string | undefined;

  /**
   * Looks for a dataplane that was left beside `socket`, the API's; where there is none, makes the place for the next. `warn`
   * is told what it cannot do.
   */
  async take(socket: string, warn: (message: string) => void): Promise<void> {
    const path = `${socket}.dataplane`;
    this.orphan = await find(path);
    try {
      this.listener = this.orphan?.listener ?? listenAnew(path);
      this.path = path;
    } catch (error) {
      warn(`${(error as Error).message}: should this process end by a crash, so does forwarding`);
    }
  }

  /** Lets go of it: a dataplane that has not been told to stop stays, and with it its socket. */
  release(): void {
    const isLeft = this.orphan?.isStopped === false;
    if (isLeft) this.orphan?.leave();
    if (this.listener !== undefined) native().closeDescriptor(this.listener);
    this.listener = undefined;
    if (this.path === undefined || isLeft) return;
    try {
      unlinkSync(this.path);
    } catch {
      // Somebody else has removed it.
    }
  }
}

async function find(path: string): Promise<Orphan | undefined> {
  try {
    return await Orphan.meet(path);
  } catch (error) {
    if (ABSENT.includes((error as SystemError).code ?? "")) return undefined;
    throw error;
  }
}

/** What a machine that lost its power has left is in the way. */
function listenAnew(path: string): number {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) unlinkSync(path);
  return native().listenAt(path);
}
