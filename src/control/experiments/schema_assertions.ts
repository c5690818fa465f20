/** The shape of assertion files (`schema/assertions.schema.json`): what a configuration has to let pass, and scenarios. */
import { type Static, Type } from "typebox";
import { CLOSED, integer } from "../configuration/schema_parts.ts";

const VERDICTS = ["allow", "deny", "reject"] as const;
const MOST_ASSERTIONS = 10_000;
const MOST_STEPS = 10_000;

const ExpectedMap = Type.Object(
  {
    allow: Type.Boolean({ title: "true or false", description: "Whether it gets there, and its answer back." }),
    via: Type.Optional(
      Type.String({ title: "the name of a port or network", description: "Port or network through which it leaves." }),
    ),
    source: Type.Optional(
      Type.String({ title: "an IPv4 address", description: "Source address that it arrives with." }),
    ),
    to: Type.Optional(
      Type.String({
        title: "an IPv4 address, or one with a port",
        description: "Destination that it arrives at, with a port where there is one: 10.55.66.3:80.",
      }),
    ),
    reason: Type.Optional(
      Type.String({
        title: "the name of a reason to stop",
        description: "Why it stops, as `tapir show drops` names it: forward-drop, no-route.",
      }),
    ),
  },
  { ...CLOSED, title: "a map { allow, via, source, to, reason }" },
);

const Expected = Type.Union([Type.Enum([...VERDICTS]), ExpectedMap], {
  title: "allow, deny, reject or a map { allow, via, source, to, reason }",
});

const Assertion = Type.Record(Type.String(), Expected, {
  minProperties: 1,
  maxProperties: 1,
  title: "one assertion like c1 -> c2 tcp/5432: allow",
});

const Step = Type.Object(
  {
    send: Type.Optional(
      Type.String({
        title: "a port and a packet",
        description: "A host sends a packet: `c1 udp 10.55.66.2:4000 > 203.0.113.2:53`. What came before is forgotten.",
      }),
    ),
    expect: Type.Optional(
      Type.String({
        title: "a port and a packet, or nothing",
        description:
          "The next packet that has come out of the port, compared in what the text says; `nothing`: none has come out of any port.",
      }),
    ),
    drop: Type.Optional(
      Type.String({
        title: "the name of a reason to stop",
        description: "A packet has stopped for this reason, as `tapir show drops` names it.",
      }),
    ),
    advance: Type.Optional(
      Type.String({
        pattern: "^[0-9]+(\\.[0-9]+)?(us|ms|s|m|h|d)$",
        title: "a time like 30s, 100ms or 5m",
        description: "Time passes.",
      }),
    ),
    apply: Type.Optional(
      Type.String({ title: "the path of a configuration", description: "Another configuration takes effect." }),
    ),
  },
  { ...CLOSED, minProperties: 1, maxProperties: 1, title: "one step: send, expect, drop, advance or apply" },
);

const Scenario = Type.Object(
  {
    name: Type.String({ title: "a text", description: "What it shows." }),
    seed: Type.Optional(integer(0, 4_294_967_295, { default: 1, description: "Of all chance." })),
    steps: Type.Array(Step, { minItems: 1, maxItems: MOST_STEPS, title: `a list of 1 to ${MOST_STEPS} steps` }),
  },
  { ...CLOSED, title: "a map { name, steps }" },
);

export const AssertionsSchema = Type.Object(
  {
    version: Type.Literal(1, { title: "1", description: "Version of this format." }),
    configuration: Type.Optional(
      Type.String({
        title: "the path of a configuration",
        description: "What is tested, from this file's folder. `-f` takes its place.",
      }),
    ),
    assertions: Type.Optional(
      Type.Array(Assertion, {
        maxItems: MOST_ASSERTIONS,
        title: "a list of assertions",
        description: "Each by itself.",
      }),
    ),
    scenarios: Type.Optional(
      Type.Array(Scenario, { maxItems: MOST_ASSERTIONS, title: "a list of scenarios", description: "Each by itself." }),
    ),
  },
  { ...CLOSED, title: "a map", description: "What a configuration of a Tapir router has to do." },
);

export type AssertionFile = Static<typeof AssertionsSchema>;
export type ExpectedConfiguration = Static<typeof Expected>;
export type StepConfiguration = Static<typeof Step>;

/** The JSON Schema as its file has it. */
export function assertionsSchemaText(): string {
  const published = {
    $schema: "http://json-schema.org/draft-07/schema#",
    ...AssertionsSchema,
    title: "Assertions about a configuration of a Tapir router, version 1",
  };
  return `${JSON.stringify(published, null, 2)}\n`;
}
