/**
 * Files that are there whole or not at all, whenever the machine stops: written beside their place, brought to the disk,
 * renamed into it, and the directory brought to the disk after that (rename(2), fsync(2)). Others cannot read them.
 */
import { constants } from "node:fs";
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";

const MODE = 0o600;
/** A file that was left by a writer that was killed is written over; a link in its place is not followed. */
const FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

/** Where a file is until it is whole. */
export const unfinished = (path: string): string => `${path}.tmp`;

/** Writes a file by `body`; when that throws, what was there before is there still, and nothing else. */
export async function writeDurably<T>(path: string, body: (file: FileHandle) => Promise<T>): Promise<T> {
  const temporary = unfinished(path);
  const file = await open(temporary, FLAGS, MODE);
  try {
    let result: T;
    try {
      // Left by somebody else, it may have another mode.
      await file.chmod(MODE);
      result = await body(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
    return result;
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Writes all of `bytes`, at `position` or after what was written last. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number | null = null): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const from = position === null ? null : position + at;
    at += (await file.write(bytes, at, bytes.length - at, from)).bytesWritten;
  }
}
