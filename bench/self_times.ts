/** Sums of a V8 profile (.cpuprofile, the format of the Chrome DevTools Protocol's Profiler.Profile). */
import { packageRoot } from "../src/io/package_root.ts";

export interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
}

export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** Ids of nodes, one a sample. */
  readonly samples: readonly number[];
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly name: string;
  /** File and line, the file relative to the package. */
  readonly place: string;
  readonly microseconds: number;
  /** Of the time of all samples. */
  readonly share: number;
}

function placeOf({ callFrame: { url, lineNumber } }: ProfileNode): string {
  if (url === "") return "";
  const path = url.replace(/^file:\/\//, "").replace(`${packageRoot()}/`, "");
  // The profile counts lines from 0.
  return `${path}:${lineNumber + 1}`;
}

/** Functions by the time spent in them alone, longest first. Code that was inlined counts as its caller's. */
export function selfTimes(profile: CpuProfile): SelfTime[] {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const sums = new Map<string, { name: string; place: string; microseconds: number }>();
  let total = 0;
  profile.samples.forEach((id, index) => {
    const node = nodes.get(id);
    if (node === undefined) return;
    const microseconds = profile.timeDeltas[index] ?? 0;
    total += microseconds;
    const name = node.callFrame.functionName || "(anonymous)";
    const place = placeOf(node);
    const key = `${name} ${place}`;
    const sum = sums.get(key);
    if (sum === undefined) sums.set(key, { name, place, microseconds });
    else sum.microseconds += microseconds;
  });
  return [...sums.values()]
    .sort((a, b) => b.microseconds - a.microseconds)
    .map((sum) => ({ ...sum, share: total === 0 ? 0 : sum.microseconds / total }));
}
