/** `tapir run`: a router from its configuration file until a signal ends it. */
import type { RuleLog } from "../dataplane/messages.ts";
import { createApi } from "./api.ts";
import { keepCniPorts, withoutEndedCniPorts } from "./cni.ts";
import { resolvePlan } from "./configuration/configuration.ts";
import { withDockerAtStart } from "./docker/plugin.ts";
import { createLog, type Log, type LogOptions } from "./log.ts";
import { CONFINED, confinementOf, keepWhatControlNeeds, lacksOf } from "./privilege.ts";
import { readConfiguration } from "./read_configuration.ts";
import { RunningRouter } from "./router.ts";
import { ServiceManager } from "./service_manager.ts";
import { SocketPlace } from "./socket.ts";
import { DataplanePlace } from "./takeover/dataplane_place.ts";
import { refuseOtherLimits, takeFile } from "./takeover/take_file.ts";
import { isUpgraded, Upgrade } from "./takeover/upgrade.ts";

export interface RunOptions extends LogOptions {
  /** Whether the dataplane goes on should this process end by a crash. Default: true. */
  outlive?: boolean;
}

/**
 * Runs until SIGTERM or SIGINT. Removes all that it has made. A dataplane that
 * has been left on the socket is taken over: it goes on as it was, and is then changed to what the file says, unless the
 * program has been replaced while it ran.
 */
export async function run(file: string, socket: string | undefined, options: RunOptions = {}): Promise<void> {
  const written = withoutEndedCniPorts(readConfiguration(file));
  const { socket: ownSocket, services } = resolvePlan(written);
  const configuration = withDockerAtStart(written, services.docker);
  const log = createLog(options);
  const service = new ServiceManager(process.env);
  const place = new SocketPlace(socket ?? ownSocket);
  let finish = (): void => {};
  const ended = new Promise<void>((resolve) => {
    finish = resolve;
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, finish);
  keepWhatControlNeeds();
  const goesOn = isUpgraded();
  await place.take();
  const dataplane = new DataplanePlace();
  let router: RunningRouter | undefined;
  // Before the start: a SIGHUP that comes while the devices are made must not end the process.
  const reload = (): void => {
    if (router === undefined) return;
    const present = router;
    service.reloading();
    reread(file, present, log).finally(() => service.ready(statusOf(present, place)));
  };
  try {
    process.on("SIGHUP", reload);
    if (options.outlive !== false) await dataplane.take(place.path, (message) => log.warn(message));
    const { orphan } = dataplane;
    if (orphan !== undefined) refuseOtherLimits(orphan, configuration);
    const events = {
      log: (level: "info" | "warn" | "error", message: string) => log[level](message),
      ruleLog: (entry: RuleLog) => log.rule(entry),
    };
    router = await RunningRouter.start(orphan?.estate.configuration ?? configuration, events, dataplane);
    if (orphan !== undefined && !goesOn) await takeFile(router, configuration, file);
    router.upgrade = new Upgrade(router);
    const server = createApi(router);
    await place.listen(server);
    await router.services.docker.restore();
    tellConfinement(router, log);
    log.info(`ready: ${statusOf(router, place)}`);
    service.ready(statusOf(router, place));
    service.watch(() => (router as RunningRouter).show("stats"));
    const { captures } = router;
    await ended.finally(async () => {
      await captures.close();
      server.close();
      server.closeAllConnections();
    });
  } finally {
    service.stopping();
    process.off("SIGHUP", reload);
    await router?.stop();
    dataplane.release();
    place.release();
  }
}

/** SIGHUP: reads the file again; what is wrong with it is logged, and the old configuration stays in force. */
function reread(file: string, router: RunningRouter, log: Log): Promise<void> {
  return router
    .change((present) => keepCniPorts(present, readConfiguration(file)), { source: "sighup", detail: file })
    .then(
      () => log.info(`ready: ${file} has been read again`),
      (error: Error) => log.error(`${error.message}; the former configuration stays in force`),
    );
}

const statusOf = (router: RunningRouter, place: SocketPlace): string =>
  `${router.resolved.plan.ports.length} ports, socket ${place.path}`;

/** Says what the dataplane may do, as the kernel sees it. */
function tellConfinement({ dataplanePid }: RunningRouter, log: Log): void {
  const confinement = dataplanePid === undefined ? undefined : confinementOf(dataplanePid);
  if (confinement === undefined) return;
  const lacks = lacksOf(confinement);
  if (lacks.length === 0) log.info(`the dataplane is confined: ${CONFINED}`);
  else log.warn(`the dataplane is not confined as it could be: ${lacks.join(", ")}`);
}
