/** The Docker driver over its socket, as dockerd speaks to it, with a router that only checks its configuration. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { type Configuration, checkConfiguration, formatError } from "../../src/control/configuration/configuration.ts";
import { DockerPlugin } from "../../src/control/docker/plugin.ts";
import type { DockerState } from "../../src/control/docker/state.ts";
import { TapirError } from "../../src/control/errors.ts";
import type { LinkEvent } from "../../src/control/events_api.ts";
import type { Cause } from "../../src/control/history.ts";

export const NET = "a".repeat(64);
export const OTHER_NET = "b".repeat(64);
export const WEB = "c".repeat(64);
export const OTHER = "d".repeat(64);
export const WEB_PORT = `ep-${"c".repeat(12)}`;

export const WRITTEN: Configuration = {
  version: 1,
  uplinks: {
    wan: { kind: "packet", device: "up0", address: "203.0.113.1/24", addresses: ["203.0.113.10/24"] },
    lan: { kind: "packet", device: "up1", address: "198.51.100.1/24" },
  },
};

export class FakeRouter {
  readonly portListeners = new Set<(event: LinkEvent) => void>();
  readonly plugin = new DockerPlugin(this);
  configuration = WRITTEN;
  causes: Cause[] = [];
  fails = false;
  /** What a change waits for. */
  held: Promise<void> = Promise.resolve();

  async change(edit: (present: Configuration) => Configuration, cause: Cause): Promise<void> {
    await this.held;
    const next = this.plugin.keep(edit(this.configuration));
    const { errors } = checkConfiguration(next);
    if (errors !== undefined) throw new TapirError(errors.map(formatError).join("\n"));
    if (this.fails) throw new TapirError("no more devices");
    this.configuration = next;
    this.causes.push(cause);
  }

  log(): void {}
}

export interface Answer {
  status: number;
  type: string | undefined;
  body: Record<string, unknown>;
}

/** Where everything of the running test is. */
export let folder: string;
export let router: FakeRouter;

export const plan = () => ({
  socket: join(folder, "tapir.sock"),
  state: join(folder, "state/docker.json"),
  engine: join(folder, "none.sock"),
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "tapir-docker-"));
  router = new FakeRouter();
  await router.plugin.follow(plan());
});

afterEach(() => {
  router.plugin.stop();
  rmSync(folder, { recursive: true });
});

export function send(path: string, text: string, method = "POST"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // No connection is kept: the next router is another one.
    const sent = request({ socketPath: plan().socket, path, method, agent: false }, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers["content-type"],
          body: JSON.parse(body) as Record<string, unknown>,
        }),
      );
    });
    sent.on("error", reject);
    sent.end(text);
  });
}

/** One of the driver's calls, which must be understood. */
export async function call(name: string, body: object): Promise<Record<string, unknown>> {
  const answer = await send(`/NetworkDriver.${name}`, JSON.stringify(body));
  expect(answer.status).toBe(200);
  return answer.body;
}

/** Another router on the same files. */
export async function restartRouter(): Promise<void> {
  router.plugin.stop();
  router = new FakeRouter();
  await router.plugin.follow(plan());
  await router.plugin.restore();
}

export const createNetwork = (
  generic: Record<string, string> = {},
  more: object = {},
  id = NET,
  pool = "10.55.66.0/24",
) =>
  call("CreateNetwork", {
    NetworkID: id,
    Options: {
      "com.docker.network.generic": generic,
      "com.docker.network.enable_ipv6": false,
      ...more,
    },
    IPv4Data: [{ AddressSpace: "LocalDefault", Pool: pool, Gateway: pool.replace(/0\/(\d+)$/, "1/$1") }],
    IPv6Data: null,
  });

export const createEndpoint = (id = WEB, address = "10.55.66.2/24", mac = "", network = NET) =>
  call("CreateEndpoint", {
    NetworkID: network,
    EndpointID: id,
    Options: {},
    Interface: { Address: address, AddressIPv6: "", MacAddress: mac },
  });

export const ref = (id = WEB) => ({ NetworkID: NET, EndpointID: id });
export const binding = (port: number, HostPort: number, more: object = {}) => ({
  Proto: 6,
  IP: "",
  Port: port,
  HostIP: "",
  HostPort,
  HostPortEnd: HostPort,
  ...more,
});
export const publish = (bindings: object[], id = WEB) =>
  call("ProgramExternalConnectivity", { ...ref(id), Options: { "com.docker.network.portmap": bindings } });

export const published = () => router.configuration.nat?.publish ?? [];
export const kept = () => JSON.parse(readFileSync(plan().state, "utf8")) as DockerState;
