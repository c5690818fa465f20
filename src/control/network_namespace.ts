import { statfsSync } from "node:fs";

/** NSFS_MAGIC (linux/magic.h). */
const NSFS = 0x6e736673;

/**
 * Whether a namespace is at the path. The file that one was mounted on is not one: `ip netns del` takes the mount away
 * first and the file next, and the kernel may tell of the namespace's end in between.
 */
export function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS;
  } catch {
    return false;
  }
}
