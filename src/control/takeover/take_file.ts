/** A configuration file for a dataplane that was taken over: what of it is in the way, and changing to it. */
import { keepCniPorts } from "../cni.ts";
import { type Configuration, resolvePlan } from "../configuration/configuration.ts";
import { TapirError } from "../errors.ts";
import type { RunningRouter } from "../router.ts";
import type { Orphan } from "./orphan.ts";

/** The tables have the size that they were made with. @throws TapirError before anything has been touched. */
export function refuseOtherLimits(orphan: Orphan, configuration: Configuration): void {
  const { limits } = orphan.resolve();
  const wanted = resolvePlan(configuration).limits;
  const names = (Object.keys(wanted) as (keyof typeof wanted)[]).filter((name) => wanted[name] !== limits[name]);
  if (names.length === 0) return;
  const other = names.map((name) => `limits.${name} is ${wanted[name]}, there it is ${limits[name]}`).join("; ");
  throw new TapirError(
    `a dataplane that was left without its control process forwards on as process ${orphan.pid}, and has other tables: ` +
      `${other} (keep its limits, or kill ${orphan.pid} to begin without its flows)`,
  );
}

/**
 * Changes the router to what the file says. A device that cannot be made is out of service; where the file cannot be
 * taken at all, what was in force before stays, as it does when a running router reads its file again.
 */
export async function takeFile(router: RunningRouter, configuration: Configuration, file: string): Promise<void> {
  try {
    await router.change((present) => keepCniPorts(present, configuration), { source: "takeover", detail: file }, true);
  } catch (error) {
    router.log("error", `${file}: ${(error as Error).message}; the former configuration stays in force`);
  }
}
