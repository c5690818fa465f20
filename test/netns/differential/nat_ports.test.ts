/** Which port a flow is given, where the choice is narrow, through the kernel and through Tapir. */
import { type HostName, type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential } from "../../support/differential/suite.ts";
import { type Step, step, TcpTalk, text, udpBack, uniqueId } from "../../support/differential/talk.ts";
import { udp } from "../../support/frames.ts";

/** A datagram from a container; `reaches` tells who gets it. */
function ask(hosts: Hosts, from: "c1" | "c2", port: number, to: number, reaches: HostName | ""): Step {
  const destination = reaches === "third" ? hosts.third : hosts.server;
  return step(from, udp({ source: hosts[from], destination, id: uniqueId() }, port, to, text("ask")), reaches);
}

differential("One port for all as the kernel gives it", { masqueradePorts: "2000" }, [
  {
    name: "the first flow has it, and its answers come back",
    steps: (hosts) => [ask(hosts, "c1", 4000, 53, "server"), udpBack(hosts), ask(hosts, "c1", 4000, 53, "server")],
  },
  {
    name: "a flow that would be taken for another is dropped",
    steps: (hosts) => [
      ask(hosts, "c1", 4000, 53, "server"),
      ask(hosts, "c2", 4000, 53, ""),
      ask(hosts, "c1", 4001, 53, ""),
      udpBack(hosts),
    ],
  },
  {
    name: "flows to another port or host share it",
    steps: (hosts) => [
      ask(hosts, "c1", 4000, 53, "server"),
      ask(hosts, "c2", 4000, 54, "server"),
      ask(hosts, "c2", 4000, 53, "third"),
      ask(hosts, "c1", 4001, 55, "server"),
      udpBack(hosts, 55),
      udpBack(hosts, 54, {}, "c2"),
    ],
  },
  {
    name: "a flow that has it already",
    steps: (hosts) => [
      ask(hosts, "c2", 2000, 53, "server"),
      ask(hosts, "c1", 4000, 53, ""),
      udpBack(hosts, 53, {}, "c2"),
    ],
  },
  {
    name: "TCP and UDP have one each",
    steps: (hosts) => [...new TcpTalk(hosts).handshake(), ask(hosts, "c1", 4000, 80, "server"), udpBack(hosts, 80)],
  },
  {
    name: "the port of a connection that was reset can be had again",
    steps: (hosts) => {
      const first = new TcpTalk(hosts);
      const second = new TcpTalk({ ...hosts, c1: hosts.c2 });
      return [
        first.client("S"),
        first.server("RA", { sequence: 0 }),
        { ...second.client("S"), from: "c2" },
        { ...second.server("SA"), reaches: "c2" },
      ];
    },
  },
  {
    name: "a datagram from outside to it belongs to the flow of its sender only",
    steps: (hosts) => [
      ask(hosts, "c1", 4000, 53, "server"),
      step("third", udp({ source: hosts.third, destination: UPLINK, id: uniqueId() }, 53, 2000, text("no")), "third"),
      udpBack(hosts),
    ],
  },
]);

differential("Two ports for all as the kernel gives them", { masqueradePorts: "3000-3001" }, [
  {
    name: "two flows have them, a third is dropped",
    steps: (hosts) => [
      ask(hosts, "c1", 4000, 53, "server"),
      ask(hosts, "c2", 4000, 53, "server"),
      ask(hosts, "c1", 4001, 53, ""),
      udpBack(hosts, 53, {}, "c2"),
    ],
  },
  {
    name: "a flow keeps its own port if it is one of them",
    steps: (hosts) => [ask(hosts, "c1", 3001, 53, "server"), udpBack(hosts)],
  },
]);
