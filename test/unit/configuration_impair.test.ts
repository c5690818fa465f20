/** The configuration's `impair`: what it comes to for the dataplane, what is wrong with it, and how commands edit it. */
import { describe, expect, it } from "vitest";
import {
  type Configuration,
  formatError,
  parseConfiguration,
  resolvePlan,
} from "../../src/control/configuration/configuration.ts";
import { describeImpairment, editImpair } from "../../src/control/impair.ts";

const file = (port: string, network = "", uplink = ""): string => `version: 1
networks:
  lab: { subnet: 10.55.66.0/24, ${network} ports: { c1: { netns: c1, ${port} }, c2: { netns: c2 } } }
uplinks: { wan: { kind: tap, device: up0, address: 203.0.113.1/24, ${uplink} } }
`;

function configurationOf(text: string): Configuration {
  const { configuration, errors } = parseConfiguration(text, "r.yaml");
  expect(errors?.map(formatError)).toBeUndefined();
  return configuration as Configuration;
}

/** What each port has, in the words of the command. */
function impairmentsOf(configuration: Configuration): Record<string, string> {
  const rows = resolvePlan(configuration).plan.ports.flatMap(({ name, impairIn, impairOut }) => [
    ...(impairIn === undefined ? [] : [[`${name} in`, describeImpairment(impairIn)]]),
    ...(impairOut === undefined ? [] : [[`${name} out`, describeImpairment(impairOut)]]),
  ]);
  return Object.fromEntries(rows) as Record<string, string>;
}

const problemsOf = (impair: string): string[] =>
  (parseConfiguration(file(`impair: ${impair}`), "r.yaml").errors ?? []).map(({ path, message }) => {
    return `${path.replace("networks.lab.ports.c1.impair", "")}: ${message}`;
  });

describe("impair", () => {
  it.each([
    ["{ delay: 20ms, jitter: 300us, distribution: normal }", "delay 20ms jitter 300us distribution normal limit 1000"],
    ["{ delay: 1.5s, reorder: 25%, gap: 5, limit: 10 }", "delay 1500ms reorder 25% gap 5 limit 10"],
    ["{ loss: 0.1%, lossCorrelation: 25% }", "loss 0.1% loss-correlation 25% limit 1000"],
    ["{ rate: 10mbit, overhead: 24 }", "rate 10mbit overhead 24 limit 1000"],
    ["{ rate: 1.5gbit }", "rate 1.5gbit limit 1000"],
    ["{ rate: 100kbps }", "rate 800kbit limit 1000"],
    ["{ rate: 8kibit }", "rate 8.192kbit limit 1000"],
    ["{ duplicate: 1%, corrupt: 100% }", "duplicate 1% corrupt 100% limit 1000"],
  ])("is what netem would do: %s", (impair, expected) => {
    expect(impairmentsOf(configurationOf(file(`impair: ${impair}`)))).toEqual({ "c1 out": expected });
  });

  it("of a network is each port's that has none of its own; nothing is nothing", () => {
    const network = "impair: { delay: 5ms, direction: both },";
    expect(impairmentsOf(configurationOf(file("impair: { loss: 0% }", network, "impair: { loss: 1% }")))).toEqual({
      "c2 in": "delay 5ms limit 1000",
      "c2 out": "delay 5ms limit 1000",
      "wan out": "loss 1% limit 1000",
    });
  });

  it("may differ by direction", () => {
    const both = "impair: [ { rate: 1mbit, direction: in }, { rate: 16mbit } ]";
    expect(impairmentsOf(configurationOf(file(both)))).toEqual({
      "c1 in": "rate 1mbit limit 1000",
      "c1 out": "rate 16mbit limit 1000",
    });
  });

  it("gives each port and direction chance of its own from one seed, the same each time", () => {
    const seeds = () => {
      const text = file("", "impair: { loss: 1%, seed: 7, direction: both },");
      return resolvePlan(configurationOf(text)).plan.ports.flatMap(({ impairIn, impairOut }) => [
        ...(impairIn === undefined ? [] : [impairIn.seed]),
        ...(impairOut === undefined ? [] : [impairOut.seed]),
      ]);
    };
    expect(new Set(seeds()).size).toBe(4);
    expect(seeds()).toEqual(seeds());
  });

  it.each([
    ["{}", ': nothing is impaired: one of "delay", "loss", "duplicate", "corrupt", "rate" is needed'],
    [
      "{ delay: 20 }",
      ".delay: expected a time like 20ms, 1.5s or 300us, not 20 (a text that looks like a number needs quotes)",
    ],
    ["{ delay: -1ms }", '.delay: expected a time like 20ms, 1.5s or 300us, not "-1ms"'],
    ["{ delay: 99999999999999999999s }", ".delay: 99999999999999999999s is more than 600s"],
    ["{ loss: 101% }", ".loss: 101% is more than 100%"],
    [
      "{ loss: 0.1 }",
      ".loss: expected a percentage like 1% or 0.1%, not 0.1 (a text that looks like a number needs quotes)",
    ],
    ["{ rate: 10Mbit }", '.rate: expected a rate like 10mbit or 500kbit, not "10Mbit"'],
    ["{ rate: 0mbit }", ".rate: 0mbit is not from 1kbit to 1tbit"],
    ["{ rate: 5000tbit }", ".rate: 5000tbit is not from 1kbit to 1tbit"],
    ["{ loss: 1%, limit: 0 }", ".limit: expected an integer from 1 to 4096, not 0"],
    ["{ loss: 1%, seed: 1e30 }", ".seed: expected an integer from 0 to 4294967295, not 1e+30"],
    ["{ loss: 1%, lose: 2% }", '.lose: unknown key "lose"; did you mean "loss"?'],
    ["{ loss: 1%, jitter: 1ms }", '.jitter: "jitter" needs a "delay"'],
    ["{ loss: 1%, reorder: 1% }", '.reorder: "reorder" needs a "delay"'],
    ["{ delay: 1ms, gap: 5 }", '.gap: "gap" needs a "reorder"'],
    ["{ delay: 1ms, overhead: 5 }", '.overhead: "overhead" needs a "rate"'],
    ["[ { loss: 1% }, { delay: 1ms, direction: both } ]", '[1]: direction "out" is impaired twice'],
  ])("says what is wrong: %s", (impair, problem) => {
    expect(problemsOf(impair)).toEqual([problem]);
  });
});

describe("editing an impairment", () => {
  const edited = (
    text: string,
    ...edits: Parameters<typeof editImpair> extends [unknown, ...infer Rest] ? Rest[] : never
  ) => edits.reduce((configuration, edit) => editImpair(configuration, ...edit), configurationOf(text));

  it("replaces a direction and leaves the other", () => {
    const start = file("impair: { delay: 5ms, direction: both }");
    expect(impairmentsOf(edited(start, ["c1", ["in"], { direction: "in", loss: "1%" }]))).toEqual({
      "c1 in": "loss 1% limit 1000",
      "c1 out": "delay 5ms limit 1000",
    });
    expect(impairmentsOf(edited(start, ["c1", ["in"]]))).toEqual({ "c1 out": "delay 5ms limit 1000" });
    expect(edited(start, ["c1", ["in", "out"]]).networks?.lab.ports?.c1).toEqual({ netns: "c1" });
  });

  it("takes a port out of what its network says, and leaves the network's other ports", () => {
    const start = file("", "impair: { delay: 5ms },");
    expect(impairmentsOf(edited(start, ["c1", ["in", "out"]]))).toEqual({ "c2 out": "delay 5ms limit 1000" });
    expect(impairmentsOf(edited(start, ["lab", ["in", "out"]]))).toEqual({});
  });

  it("knows networks, ports and uplinks by name", () => {
    expect(impairmentsOf(edited(file(""), ["wan", ["out"], { rate: "1mbit" }]))).toEqual({
      "wan out": "rate 1mbit limit 1000",
    });
    expect(() => edited(file(""), ["wam", ["out"]])).toThrow(
      'impair: no port, network or uplink is called wam; did you mean "wan"?',
    );
    expect(() => edited(file(""), ["constructor", ["out"]])).toThrow("is called constructor");
  });
});
