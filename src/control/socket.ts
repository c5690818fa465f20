/**
 * The router's unix socket: who may have it, and how it is made without a moment in which others could connect.
 *
 * A lock (flock(2)) on a file beside the socket settles two that start at once. The lock belongs to the open descriptor
 * and ends with the process, however that ends, so there is no stale lock to judge: whoever holds it may remove a
 * socket that nobody answers on. Whoever removes the file does so while holding the lock; who waited for a file that
 * is not the one of that name any more looks again.
 */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { connect, type Server } from "node:net";
import { dirname, resolve } from "node:path";
import { ExitCode, type SystemError, TapirError } from "./errors.ts";

/** How often the lock's file may have been removed under one's hands before that is an error. */
const LOCK_ATTEMPTS = 10;

export class SocketPlace {
  readonly path: string;
  private readonly lock: string;
  private lockFd: number | undefined;
  /** Folders made here, the innermost first. */
  private folders: string[] = [];
  private isListening = false;

  constructor(path: string) {
    this.path = resolve(path);
    this.lock = `${this.path}.lock`;
  }

  /** Takes the place, or throws when a live router has it. What a dead one has left is removed. */
  async take(): Promise<void> {
    try {
      this.folders = makeFolders(dirname(this.path));
      this.takeLock();
      await this.removeStale();
    } catch (error) {
      this.release();
      throw error instanceof TapirError ? error : this.explain(error as SystemError);
    }
  }

  /** Listens with mode 0600 from the first moment. */
  listen(server: Server): Promise<void> {
    return new Promise((done, reject) => {
      const fail = (error: SystemError): void => reject(this.explain(error));
      server.once("error", fail);
      const before = process.umask(0o177);
      try {
        server.listen(this.path, () => {
          this.isListening = true;
          server.off("error", fail);
          done();
        });
      } finally {
        process.umask(before);
      }
    });
  }

  /** Removes socket, lock and folders, as far as they were made here. */
  release(): void {
    if (this.isListening) removeQuietly(() => unlinkSync(this.path));
    this.isListening = false;
    if (this.lockFd !== undefined) {
      removeQuietly(() => unlinkSync(this.lock));
      closeSync(this.lockFd);
      this.lockFd = undefined;
    }
    for (const folder of this.folders.splice(0)) removeQuietly(() => rmdirSync(folder));
  }

  private takeLock(): void {
    for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
      const fd = openSync(this.lock, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
      try {
        if (!lockDescriptor(fd))
          throw new TapirError(`another router is running or starting on ${this.path}${owner(fd)}`);
        if (isFileAt(fd, this.lock)) {
          ftruncateSync(fd);
          writeSync(fd, `${process.pid}\n`, 0);
          this.lockFd = fd;
          return;
        }
      } finally {
        if (this.lockFd === undefined) closeSync(fd);
      }
    }
    throw new TapirError(`cannot lock ${this.lock}`);
  }

  private async removeStale(): Promise<void> {
    const there = lstatSync(this.path, { throwIfNoEntry: false });
    if (there === undefined) return;
    if (!there.isSocket()) throw new TapirError(`${this.path} is there already and is not a socket`);
    if (await isAnswered(this.path)) throw new TapirError(`a router answers on ${this.path} already`);
    removeQuietly(() => unlinkSync(this.path));
  }

  private explain(error: SystemError): TapirError {
    if (error.code !== "EACCES" && error.code !== "EPERM") {
      return new TapirError(`socket ${this.path}: ${error.message}`);
    }
    return new TapirError(
      `socket ${this.path}: no privilege (${error.message}): run as root, or choose another path with --socket`,
      ExitCode.PRIVILEGE,
    );
  }
}

/** Makes the folder and those above it; returns what was made, the innermost first. */
function makeFolders(folder: string): string[] {
  const first = mkdirSync(folder, { recursive: true, mode: 0o755 });
  if (first === undefined) return [];
  const made = [folder];
  for (let last = folder; last !== first && last !== dirname(last); last = dirname(last)) made.push(dirname(last));
  return made;
}

/** Locks for the time that the descriptor is open; false when somebody else has it. Node has no flock(2). */
function lockDescriptor(fd: number): boolean {
  const { status, error } = spawnSync("flock", ["-x", "-n", "3"], { stdio: ["ignore", "ignore", "ignore", fd] });
  if ((error as SystemError | undefined)?.code === "ENOENT") {
    throw new TapirError("flock is not installed: apt-get install -y util-linux", ExitCode.PRIVILEGE);
  }
  if (error !== undefined) throw error;
  return status === 0;
}

function isFileAt(fd: number, path: string): boolean {
  const own = fstatSync(fd);
  const there = statSync(path, { throwIfNoEntry: false });
  return there !== undefined && there.ino === own.ino && there.dev === own.dev;
}

function owner(fd: number): string {
  const pid = Number.parseInt(readFileSync(fd, "utf8"), 10);
  return Number.isNaN(pid) ? "" : ` (process ${pid})`;
}

/** Whether anybody accepts connections; false only when the kernel says that nobody does. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: SystemError) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false);
      else reject(error);
    });
  });
}

function removeQuietly(remove: () => void): void {
  try {
    remove();
  } catch {
    // Somebody else has removed it, or a folder holds more than what was made here.
  }
}
