/**
 * The router's unix socket: who may have it, and how it is made without a moment in which others could connect. A lock
 * file beside it, created exclusively and holding the owner's pid, settles two that start at once.
 */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmdirSync, unlinkSync, writeSync } from "node:fs";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { type SystemError, TapirError } from "./errors.ts";

export class SocketPlace {
  readonly path: string;
  private readonly lock: string;
  private madeFolder = false;
  private isHeld = false;

  constructor(path: string) {
    this.path = path;
    this.lock = `${path}.lock`;
  }

  /** Takes the place, or throws when a live router has it. What a dead one has left is removed. */
  async take(): Promise<void> {
    const folder = dirname(this.path);
    try {
      this.madeFolder = !existsSync(folder) && mkdirSync(folder, { recursive: true, mode: 0o755 }) !== undefined;
      this.takeLock();
    } catch (error) {
      if (error instanceof TapirError) throw error;
      throw new TapirError(`socket ${this.path}: ${(error as Error).message}`);
    }
    if (!existsSync(this.path)) return;
    if (await isAnswered(this.path)) {
      this.release();
      throw new TapirError(`a router answers on ${this.path} already`);
    }
    unlinkSync(this.path);
  }

  /** Listens with mode 0600 from the first moment. */
  listen(server: Server): Promise<void> {
    return new Promise((resolve, reject) => {
      server.once("error", (error) => reject(new TapirError(`socket ${this.path}: ${error.message}`)));
      const before = process.umask(0o177);
      server.listen(this.path, resolve);
      process.umask(before);
    });
  }

  /** Removes lock, socket and folder, as far as they were made here. */
  release(): void {
    if (!this.isHeld) return;
    this.isHeld = false;
    removeQuietly(() => unlinkSync(this.lock));
    if (this.madeFolder) removeQuietly(() => rmdirSync(dirname(this.path)));
  }

  private takeLock(): void {
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        const fd = openSync(this.lock, "wx", 0o600);
        writeSync(fd, `${process.pid}\n`);
        closeSync(fd);
        this.isHeld = true;
        return;
      } catch (error) {
        if ((error as SystemError).code !== "EEXIST") throw error;
        if (isAlive(ownerOf(this.lock))) throw new TapirError(`another router is running or starting on ${this.path}`);
        removeQuietly(() => unlinkSync(this.lock));
      }
    }
    throw new TapirError(`cannot lock ${this.lock}`);
  }
}

function ownerOf(lock: string): number {
  try {
    return Number.parseInt(readFileSync(lock, "utf8"), 10);
  } catch {
    return Number.NaN;
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("\0run\0");
  } catch (error) {
    return (error as SystemError).code === "EPERM";
  }
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}

function removeQuietly(remove: () => void): void {
  try {
    remove();
  } catch {
    // Somebody else has removed it: that is what was wanted.
  }
}
