/** The rows of `tapir show nat`, from the configuration to the table. */
import { expect, it } from "vitest";
import { parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import type { Configuration } from "../../src/control/configuration/schema.ts";
import type { RunningRouter } from "../../src/control/router.ts";
import { showNat } from "../../src/control/show.ts";

const TEXT = `
version: 1
networks: { lab: { subnet: 10.55.66.0/24 } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }
nat:
  profile: bcp
  masquerade: [ { from: 10.55.66.0/24, out: wan, fullyRandom: true } ]
  snat:
    - { from: 10.55.66.2, out: wan, to: 203.0.113.10-203.0.113.12, ports: 2000-3000 }
    - { from: 10.55.66.3, out: wan, to: 203.0.113.13, ports: 4000 }
  publish:
    - { proto: tcp, on: wan, port: 8080, to: "10.55.66.3:80" }
    - { proto: both, on: wan, port: 5000-5009, to: "10.55.66.3:6000" }
    - { proto: udp, on: wan, port: 53, to: 10.55.66.2 }
`;

it("NAT rules are shown in the order in which they are asked", async () => {
  const { configuration, errors } = parseConfiguration(TEXT, "f");
  expect(errors).toBeUndefined();
  // Only the plan is read: nothing of a router has to run.
  const router = { resolved: resolvePlan(configuration as Configuration) } as RunningRouter;
  const source = { profile: "bcp", proto: null, out: "wan", fullyRandom: false };
  const published = { kind: "publish", profile: "bcp", out: "wan", ports: null, fullyRandom: false };
  const range = { ...published, from: "203.0.113.1:5000-5009", to: "10.55.66.3:6000-6009" };
  expect(await showNat(router)).toEqual([
    { ...source, kind: "snat", from: "10.55.66.2/32", to: "203.0.113.10-203.0.113.12", ports: "2000-3000" },
    { ...source, kind: "snat", from: "10.55.66.3/32", to: "203.0.113.13", ports: "4000" },
    { ...source, kind: "masquerade", from: "10.55.66.0/24", to: "203.0.113.1", ports: null, fullyRandom: true },
    { ...published, proto: "tcp", from: "203.0.113.1:8080", to: "10.55.66.3:80" },
    { ...range, proto: "tcp" },
    { ...range, proto: "udp" },
    { ...published, proto: "udp", from: "203.0.113.1:53", to: "10.55.66.2" },
  ]);
});
