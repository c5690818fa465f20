/** Everything that `/metrics` says, gathered from a running router. The dataplane is asked three short questions. */
import type { RulesResult, StatsResult } from "../../dataplane/messages.ts";
import { type RuleSet, TABLE_NAMES } from "../../filter/rule_set.ts";
import { ownVersion } from "../../io/package_root.ts";
import { tablesOf } from "../health.ts";
import type { ExportCounters } from "../ipfix/flow_export.ts";
import type { ServiceCounts } from "../network_services.ts";
import type { RunningRouter } from "../router.ts";
import type { Family } from "./exposition.ts";
import {
  buildFamilies,
  burstFamilies,
  counterFamilies,
  exportFamilies,
  flowFamilies,
  type PortMetrics,
  portFamilies,
  processFamilies,
  type RuleMetrics,
  ruleFamilies,
  serviceFamilies,
  stopFamilies,
  tableFamilies,
} from "./families.ts";
import { countFlows } from "./flow_census.ts";
import { usageOf } from "./processes.ts";

/** What is asked of a `RunningRouter`. */
export type MetricsSource = Pick<
  RunningRouter,
  "resolved" | "counters" | "flows" | "dataplanePid" | "ports" | "show"
> & {
  services: { flowExport: { counters: ExportCounters }; network: { counts: ServiceCounts } };
};

export async function collectMetrics(router: MetricsSource): Promise<Family[]> {
  const { resolved, counters, flows, dataplanePid } = router;
  const { counters: stats } = (await router.show("stats")) as StatsResult;
  const ports = (await router.ports()) as PortMetrics[];
  const rules = (await router.show("rules")) as RulesResult;
  return [
    ...buildFamilies(ownVersion()),
    ...portFamilies(ports),
    ...stopFamilies(counters),
    ...counterFamilies(counters, stats.natExhausted),
    ...burstFamilies(counters),
    ...flowFamilies(await countFlows(flows.header, flows.words)),
    ...tableFamilies(tablesOf(resolved.limits, stats)),
    ...ruleFamilies(rulesOf(resolved.plan.rules, rules)),
    ...exportFamilies(router.services.flowExport.counters),
    ...serviceFamilies(router.services.network.counts),
    ...processFamilies({
      control: usageOf(process.pid),
      dataplane: dataplanePid === undefined ? undefined : usageOf(dataplanePid),
    }),
  ];
}

/** Rules with what they have met; a set that is being changed may have one more than the other. */
export function rulesOf(rules: RuleSet, counted: RulesResult): RuleMetrics[] {
  return TABLE_NAMES.flatMap((table) =>
    counted[table].flatMap(({ name: chain, packets, bytes }) => {
      const known = rules[table].chains.find((each) => each.name === chain)?.rules ?? [];
      return packets.map((count, index) => ({
        table,
        chain,
        rule: index === packets.length - 1 ? "policy" : String(index + 1),
        name: known[index]?.name ?? "",
        packets: count,
        bytes: bytes[index],
      }));
    }),
  );
}
