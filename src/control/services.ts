/** What a running router does besides routing and its API: metrics over TCP, flow export, networks for Docker, DHCP and DNS. */
import { native } from "../io/native.ts";
import { detach } from "./attach.ts";
import { watchAttached } from "./attached_ends.ts";
import type { ResolvedPlan } from "./configuration/configuration.ts";
import { DockerPlugin } from "./docker/plugin.ts";
import { FlowExport } from "./ipfix/flow_export.ts";
import { MetricsServer } from "./metrics/metrics_server.ts";
import { NetworkServices } from "./network_services.ts";
import type { RunningRouter } from "./router.ts";

export class Services {
  readonly flowExport: FlowExport;
  readonly docker: DockerPlugin;
  readonly network: NetworkServices;
  private readonly metrics: MetricsServer;

  constructor(router: RunningRouter) {
    this.flowExport = new FlowExport(router.flows, router.flowEvents, (message) => router.log("warn", message));
    this.metrics = new MetricsServer(router);
    this.docker = new DockerPlugin(router);
    this.network = new NetworkServices(router, () => native().monotonicMilliseconds());
    watchAttached(router, (name) => detach(router, name));
  }

  /** Does from now on what the configuration says. When it throws, the caller goes back to the one before. */
  async follow(resolved: ResolvedPlan): Promise<void> {
    await this.metrics.follow(resolved.services.metrics);
    await this.flowExport.follow(resolved);
    await this.docker.follow(resolved.services.docker);
    // Last: it lets go of leases that the configuration has no place for.
    await this.network.follow(resolved.networkServices);
  }

  /** To be called while the dataplane still runs. */
  async stop(): Promise<void> {
    this.metrics.close();
    this.docker.stop();
    this.network.stop();
    await this.flowExport.stop();
  }
}
