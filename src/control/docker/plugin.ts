/**
 * The Docker driver as a service of a running router: the socket, the state and its file, and Docker's part of the
 * configuration. The router asks `keep` of each configuration before it comes into force, so that Docker's networks
 * stay whatever a file or a rollback says; Docker's own calls change the state and have the same configuration made
 * again.
 */
import { existsSync } from "node:fs";
import type { Server } from "node:http";
import type { Configuration, DockerPlan } from "../configuration/configuration.ts";
import { TapirError } from "../errors.ts";
import type { LinkEvent } from "../events_api.ts";
import type { Cause } from "../history.ts";
import { SocketPlace } from "../socket.ts";
import { DockerDriver, type DriverHost } from "./driver.ts";
import { containerNames } from "./engine.ts";
import { withDocker } from "./overlay.ts";
import { lookInto, withNames, withPlaces } from "./sandbox.ts";
import { createDockerServer } from "./server.ts";
import { type DockerEndpoint, type DockerState, emptyState, isEmpty, loadState, saveState } from "./state.ts";

/** What is asked of a router. */
export interface DockerRouter {
  readonly configuration: Configuration;
  readonly portListeners: Set<(event: LinkEvent) => void>;
  change(edit: (present: Configuration) => Configuration, cause: Cause, isLenient?: boolean): Promise<void>;
  log(level: "info" | "warn" | "error", message: string): void;
}

interface NamedPort {
  name?: unknown;
}

export class DockerPlugin implements DriverHost {
  state: DockerState = emptyState();
  private readonly router: DockerRouter;
  private readonly driver = new DockerDriver(this);
  private plan: DockerPlan | undefined;
  private listening: { server: Server; place: SocketPlace } | undefined;

  /** Names of ports whose devices have failed. */
  private readonly failed = new Set<string>();
  private readonly watchPort = ({ port, state }: LinkEvent): void => {
    if (state === "failed") this.failed.add(port);
    else this.failed.delete(port);
  };

  constructor(router: DockerRouter) {
    this.router = router;
  }

  get configuration(): Configuration {
    return this.router.configuration;
  }

  /** The configuration with Docker's part as it is now. */
  keep(configuration: Configuration): Configuration {
    return withDocker(configuration, this.state);
  }

  /** Serves where `plan` says from now on. When it throws, it serves where it did before. */
  async follow(plan: DockerPlan | undefined): Promise<void> {
    if (JSON.stringify(plan) === JSON.stringify(this.plan)) return;
    if (plan === undefined && !isEmpty(this.state)) {
      throw new TapirError("docker: Docker has networks here: remove them first (docker network rm)");
    }
    if (plan !== undefined && this.plan === undefined) this.state = startState(plan);
    else if (plan !== undefined) saveState(plan.state, this.state);
    if (plan?.socket !== this.plan?.socket) await this.serve(plan?.socket);
    this.plan = plan;
    if (plan === undefined) this.router.portListeners.delete(this.watchPort);
    else this.router.portListeners.add(this.watchPort);
  }

  /**
   * Makes the devices again that running containers have lost. One that cannot be made is out of service. Docker may be
   * asking for things already.
   */
  restore(): Promise<void> {
    return this.driver.inTurn(async () => {
      if (this.plan === undefined || isEmpty(this.state)) return;
      const { state: next, lost } = withPlaces(this.state, lookInto);
      await this.router.change(
        (present) => {
          this.state = next;
          return present;
        },
        { source: "docker", detail: "restore" },
        true,
      );
      this.write(next);
      if (lost.length === 0) return;
      this.router.log("info", `docker: ${lost.length} devices of running containers have been made again`);
    });
  }

  async change(next: DockerState, detail: string): Promise<void> {
    const former = this.state;
    // Before the router has it: what Docker was told is never forgotten.
    this.write(next);
    try {
      await this.router.change(
        (present) => {
          this.state = next;
          return present;
        },
        { source: "docker", detail },
      );
    } catch (error) {
      this.state = former;
      this.write(former);
      throw error;
    }
  }

  note(next: DockerState): void {
    this.write(next);
    this.state = next;
  }

  isGone({ port, sandbox, place }: DockerEndpoint): boolean {
    if (sandbox === undefined || existsSync(sandbox)) return false;
    // One whose device is in order may have its container's namespace still to come.
    return place === "nobody" || this.failed.has(port);
  }

  /** The rows of ports, with the names of the containers behind them where Docker tells them. */
  async named<T extends NamedPort>(rows: readonly T[]): Promise<(T & { container?: string })[]> {
    await this.learnNames();
    const names = new Map(Object.values(this.state.endpoints).map(({ port, container }) => [port, container]));
    return rows.map((row) => {
      const container = names.get(row.name as string);
      return container === undefined ? row : { ...row, container };
    });
  }

  /** To be called while the devices are still there. */
  stop(): void {
    if (this.plan !== undefined && !isEmpty(this.state)) this.note(withNames(this.state, lookInto));
    this.close();
    this.router.portListeners.delete(this.watchPort);
    this.plan = undefined;
  }

  private async learnNames(): Promise<void> {
    const nameless = Object.values(this.state.endpoints).filter(({ container, sandbox }) => {
      return container === undefined && sandbox !== undefined;
    });
    if (this.plan === undefined) return;
    for (const network of new Set(nameless.map((each) => each.network))) {
      for (const [id, name] of await containerNames(this.plan.engine, network)) {
        const endpoint = this.state.endpoints[id];
        if (endpoint !== undefined) endpoint.container = name;
      }
    }
  }

  private write(state: DockerState): void {
    if (this.plan !== undefined) saveState(this.plan.state, state);
  }

  private async serve(socket: string | undefined): Promise<void> {
    const next = socket === undefined ? undefined : await this.listen(socket);
    this.close();
    this.listening = next;
  }

  private async listen(socket: string): Promise<{ server: Server; place: SocketPlace }> {
    const place = new SocketPlace(socket);
    const server = createDockerServer(this.driver);
    await place.take();
    try {
      await place.listen(server);
    } catch (error) {
      place.release();
      throw error;
    }
    return { server, place };
  }

  private close(): void {
    this.listening?.server.close();
    this.listening?.server.closeAllConnections();
    this.listening?.place.release();
    this.listening = undefined;
  }
}

/**
 * What a router starts with: networks, and the devices that are still there. The others are made once it runs, so that
 * a container that has gone badly does not hold it up.
 */
function startState(plan: DockerPlan): DockerState {
  const { state, lost } = withPlaces(loadState(plan.state), lookInto);
  for (const id of lost) state.endpoints[id].place = "nobody";
  return state;
}

/** A configuration that a router starts with, with what Docker had before. */
export function withDockerAtStart(configuration: Configuration, plan: DockerPlan | undefined): Configuration {
  return plan === undefined ? configuration : withDocker(configuration, startState(plan));
}
