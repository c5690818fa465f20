/**
 * The end of containers that were attached by a process: their ports go with them. A process never comes back, and its
 * number will be somebody else's; the port of a namespace's name stays, out of service, because the name may come back.
 */
import { networkOfPort } from "./attach.ts";
import type { PortConfiguration } from "./configuration/configuration.ts";
import { isRunning } from "./container_process.ts";
import { UnknownNameError } from "./errors.ts";
import type { LinkEvent } from "./events_api.ts";
import type { RunningRouter } from "./router.ts";

type Host = Pick<RunningRouter, "portListeners" | "configuration" | "log">;

/** Has `detach` called for each port that is left without its process. */
export function watchAttached(router: Host, detach: (name: string) => Promise<unknown>): void {
  router.portListeners.add(({ port: name, state }: LinkEvent) => {
    if (state !== "failed" || !hasEnded(networkOfPort(router.configuration, name)?.[1].ports?.[name])) return;
    detach(name).catch((error: Error) => {
      // Whoever ended the container has detached it, too.
      if (!(error instanceof UnknownNameError)) router.log("error", error.message);
    });
  });
}

function hasEnded({ pid, started }: Pick<PortConfiguration, "pid" | "started"> = {}): boolean {
  return pid !== undefined && started !== undefined && !isRunning({ pid, started });
}
