/** IPv4 options, through the kernel and through Tapir. */
import { expect } from "vitest";
import { GATEWAY, type Hosts } from "../../support/differential/hosts.ts";
import { type Departure, differential, type Scenario } from "../../support/differential/suite.ts";
import { type Step, step, text, udpBack, uniqueId } from "../../support/differential/talk.ts";
import { echoRequest, udp } from "../../support/frames.ts";

const NOP = 1;
const END = 0;

/** Those that a router has nothing to do with. */
const PLAIN: [string, number[]][] = [
  ["no operation", [NOP, NOP, NOP, END]],
  ["end of list", [END, END, END, END]],
  ["router alert", [148, 4, 0, 0]],
  ["security", [130, 4, 0, 0]],
  ["one that nobody knows", [0x9e, 4, 1, 2]],
];

/** Those that ask the routers for something. */
const RECORDING: [string, number[]][] = [
  ["record route", [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, END]],
  ["timestamp", [68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
];

const SOURCE_ROUTES: [string, number[]][] = [
  ["loose source route", [131, 7, 4, 203, 0, 113, 9, END]],
  ["strict source route", [137, 7, 4, 203, 0, 113, 9, END]],
  ["loose source route that is used up", [131, 7, 8, 203, 0, 113, 9, END]],
];

const MALFORMED: [string, number[]][] = [
  ["one of length 0", [7, 0, 4, 0]],
  ["one of length 1", [7, 1, 4, 0]],
  ["one longer than the header", [7, 40, 4, 0]],
  ["a record of routes whose pointer is too small", [7, 7, 3, 0, 0, 0, 0, END]],
];

/** Through the router, with an answer that has none. */
function through(hosts: Hosts, bytes: number[], reaches: string): Step {
  const fields = { source: hosts.c1, destination: hosts.server, id: uniqueId(), options: Uint8Array.from(bytes) };
  return step("c1", udp(fields, 4000, 53, text("ask")), reaches);
}

function toRouter(hosts: Hosts, bytes: number[], reaches: string): Step {
  const fields = {
    source: hosts.c1,
    destination: GATEWAY,
    id: uniqueId(),
    fragment: 0,
    options: Uint8Array.from(bytes),
  };
  return step("c1", echoRequest(fields, 77), reaches);
}

const passing = (name: string, bytes: number[], departure?: Scenario["departure"]): Scenario => ({
  name: `${name} through the router`,
  steps: (hosts) => [through(hosts, bytes, "server"), udpBack(hosts)],
  ...(departure === undefined ? {} : { departure }),
});

const REPLY = /^1: c1 gets .* icmp 0\/0 /;
const FLOW = /^1: flow icmp /;

/** The reply to an echo; its length is in the flow's counts, too, where it differs. */
const echoed = (reason: string, isLengthEqual: boolean): (() => Departure) => {
  const lines = [REPLY, ...(isLengthEqual ? [] : [FLOW])].map((pattern) => expect.stringMatching(pattern));
  return () => ({ reason, kernel: lines, tapir: lines });
};

differential("IPv4 options as the kernel treats them", {}, [
  ...PLAIN.map(([name, bytes]) => passing(name, bytes)),
  passing("record route that is full", [7, 7, 8, 1, 2, 3, 4, END]),
  ...RECORDING.map(([name, bytes]) =>
    passing(name, bytes, () => ({
      reason: "Tapir passes on requests to record addresses and times without doing so (RFC 7126 4.4, 4.7 allow it)",
      kernel: [expect.stringMatching(/^1: server gets .* ipopts=(070b08cb007101|440c09)/)],
      tapir: [expect.stringMatching(/^1: server gets .* ipopts=(070b0400000000|440c05)/)],
    })),
  ),
  ...PLAIN.map(([name, bytes]) => ({
    name: `${name} in an echo to the router`,
    steps: (hosts: Hosts) => [toRouter(hosts, bytes, "c1")],
    departure: echoed("the kernel's replies have only the options that a reply must repeat, Tapir's have all", false),
  })),
  ...RECORDING.map(([name, bytes]) => ({
    name: `${name} in an echo to the router`,
    steps: (hosts: Hosts) => [toRouter(hosts, bytes, "c1")],
    departure: echoed("Tapir's replies repeat requests to record addresses and times as they came", true),
  })),
  ...SOURCE_ROUTES.flatMap(([name, bytes]): Scenario[] => [
    {
      name: `${name} through the router`,
      steps: (hosts) => [through(hosts, bytes, "")],
    },
    {
      name: `${name} in an echo to the router`,
      steps: (hosts) => [toRouter(hosts, bytes, "")],
    },
  ]),
  ...MALFORMED.flatMap(([name, bytes]): Scenario[] => [
    {
      name: `${name} through the router`,
      steps: (hosts) => [through(hosts, bytes, "c1")],
    },
    {
      name: `${name} in an echo to the router`,
      steps: (hosts) => [toRouter(hosts, bytes, "c1")],
    },
  ]),
]);
