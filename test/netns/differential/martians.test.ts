/** Addresses that no packet should have, through the kernel and through Tapir. */
import { expect } from "vitest";
import { GATEWAY, type HostName, type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential, kernelAlone, type Scenario } from "../../support/differential/suite.ts";
import { step, text, uniqueId } from "../../support/differential/talk.ts";
import { udp } from "../../support/frames.ts";

type Addresses = (hosts: Hosts) => [source: string, destination: string];

/** A datagram that reaches nobody in either world. */
const sends = (name: string, from: HostName, addresses: Addresses): Scenario => ({
  name,
  steps: (hosts) => {
    const [source, destination] = addresses(hosts);
    return [step(from, udp({ source, destination, id: uniqueId() }, 4000, 53, text("ask")), "")];
  },
});

/** A datagram that the kernel forwards or answers. */
const passes = (name: string, from: HostName, addresses: Addresses): Scenario => ({
  name,
  steps: (hosts) => {
    const [source, destination] = addresses(hosts);
    return [step(from, udp({ source, destination, id: uniqueId() }, 4000, 53, text("ask")), "server")];
  },
  departure: (hosts) =>
    kernelAlone(
      "0/8 and class E are martians (RFC 1812 5.3.7); the kernel stops 0.0.0.0 only",
      expect.stringMatching(/^1: server gets /),
      ...(mentions(hosts, addresses(hosts)) ? [expect.stringMatching(/^1: flow udp /)] : []),
    ),
});

/** Only flows with an address of the scenario's are listed. */
function mentions(hosts: Hosts, addresses: string[]): boolean {
  return addresses.some((address) => Object.values(hosts).includes(address));
}

const STOPPED = ["0.0.0.0", "127.0.0.1", "224.0.0.5", "255.255.255.255", GATEWAY, UPLINK];
const PASSED = ["0.1.2.3", "240.0.0.1"];

differential("Martians as the kernel treats them", {}, [
  ...STOPPED.flatMap((source) => [
    sends(`source ${source} from inside`, "c1", ({ server }) => [source, server]),
    sends(`source ${source} from outside to the uplink`, "server", () => [source, UPLINK]),
    sends(`source ${source} from outside inwards`, "server", ({ c1 }) => [source, c1]),
  ]),
  ...PASSED.flatMap((source) => [
    passes(`source ${source} from inside`, "c1", ({ server }) => [source, server]),
    passes(`source ${source} from outside to the uplink`, "server", () => [source, UPLINK]),
    sends(`source ${source} from outside inwards`, "server", ({ c1 }) => [source, c1]),
  ]),
  ...["0.0.0.0", "127.0.0.1", "224.0.0.5", "239.1.2.3"].map((destination) =>
    sends(`destination ${destination}`, "c1", ({ c1 }) => [c1, destination]),
  ),
  passes("destination 240.0.0.1", "c1", ({ c1 }) => [c1, "240.0.0.1"]),
  {
    name: "destination 169.254.1.1",
    steps: ({ c1 }) => [
      step("c1", udp({ source: c1, destination: "169.254.1.1", id: uniqueId() }, 4000, 53, text("ask")), "server"),
    ],
  },
  {
    name: "a source that is not of the network",
    steps: ({ server }) => [
      step("c1", udp({ source: "192.0.2.9", destination: server, id: uniqueId() }, 4000, 53, text("ask")), "server"),
    ],
  },
  {
    name: "an inside source from outside",
    steps: ({ c1, server }) => [
      step("server", udp({ source: c1, destination: server, id: uniqueId() }, 4000, 53, text("ask"))),
    ],
  },
]);
