/** What a running router does besides routing and its API: metrics over TCP, flow export, networks for Docker. */
import type { ResolvedPlan } from "./configuration/configuration.ts";
import { DockerPlugin } from "./docker/plugin.ts";
import { FlowExport } from "./ipfix/flow_export.ts";
import { MetricsServer } from "./metrics/metrics_server.ts";
import type { RunningRouter } from "./router.ts";

export class Services {
  readonly flowExport: FlowExport;
  readonly docker: DockerPlugin;
  private readonly metrics: MetricsServer;

  constructor(router: RunningRouter) {
    this.flowExport = new FlowExport(router.flows, router.flowEvents, (message) => router.log("warn", message));
    this.metrics = new MetricsServer(router);
    this.docker = new DockerPlugin(router);
  }

  /** Does from now on what the configuration says. When it throws, the caller goes back to the one before. */
  async follow(resolved: ResolvedPlan): Promise<void> {
    await this.metrics.follow(resolved.services.metrics);
    await this.flowExport.follow(resolved);
    await this.docker.follow(resolved.services.docker);
  }

  /** To be called while the dataplane still runs. */
  async stop(): Promise<void> {
    this.metrics.close();
    this.docker.stop();
    await this.flowExport.stop();
  }
}
