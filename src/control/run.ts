/** `tapir run`: a router from its configuration file until a signal ends it. */
import { execFileSync } from "node:child_process";
import { createApi } from "./api.ts";
import { resolvePlan } from "./configuration/configuration.ts";
import { TapirError } from "./errors.ts";
import { createLog, type Log, type LogOptions } from "./log.ts";
import { readConfiguration } from "./read_configuration.ts";
import { RunningRouter } from "./router.ts";
import { SocketPlace } from "./socket.ts";

/** Runs until SIGTERM or SIGINT, or until the dataplane dies (then it throws). Removes all that it has made. */
export async function run(file: string, socket: string | undefined, logging: LogOptions = {}): Promise<void> {
  const configuration = readConfiguration(file);
  const log = createLog(logging);
  const place = new SocketPlace(socket ?? resolvePlan(configuration).socket);
  let finish = (): void => {};
  let giveUp = (_error: Error): void => {};
  const ended = new Promise<void>((resolve, reject) => {
    finish = resolve;
    giveUp = reject;
  });
  // It may be rejected while nobody waits for it yet.
  ended.catch(() => {});
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, finish);
  await place.take();
  let router: RunningRouter | undefined;
  // Before the start: a SIGHUP that comes while the devices are made must not end the process.
  const reload = (): void => {
    if (router !== undefined) reread(file, router, log);
  };
  try {
    process.on("SIGHUP", reload);
    router = await RunningRouter.start(configuration, {
      log: (level, message) => log[level](message),
      ruleLog: (entry) => log.rule(entry),
      died: (reason) => giveUp(new TapirError(`the dataplane has ended by itself (${reason})`)),
    });
    const server = createApi(router);
    await place.listen(server);
    log.info(`ready: ${router.resolved.plan.ports.length} ports, socket ${place.path}`);
    notifyReady();
    const { captures } = router;
    await ended.finally(async () => {
      await captures.close();
      server.close();
      server.closeAllConnections();
    });
  } finally {
    process.off("SIGHUP", reload);
    await router?.stop();
    place.release();
  }
}

/** SIGHUP: reads the file again; what is wrong with it is logged, and the old configuration stays in force. */
function reread(file: string, router: RunningRouter, log: Log): void {
  router
    .change(() => readConfiguration(file), { source: "sighup", detail: file })
    .then(
      () => log.info(`ready: ${file} has been read again`),
      (error: Error) => log.error(`${error.message}; the former configuration stays in force`),
    );
}

/** Tells systemd, where it is asked for (sd_notify(3)). Node has no datagram unix sockets: systemd's tool sends it. */
function notifyReady(): void {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  try {
    execFileSync("systemd-notify", ["--ready", `--pid=${process.pid}`], { stdio: "ignore" });
  } catch {
    // A service manager without systemd's tools cannot be told.
  }
}
