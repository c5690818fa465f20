/** Rules over HTTP, in iptables' words. */
import { Type } from "typebox";
import { readTable } from "../filter/iptables/command_options.ts";
import type { TableName } from "../filter/rule_set.ts";
import { type ApiRoute, text } from "./api_route.ts";
import { describeRules, errorOf, restoreRules, runIptables, saveRules } from "./iptables.ts";

/** Bytes of a request with rules: some ten thousand of them. */
const RULES_LIMIT_BYTES = 8 << 20;

const count = () => Type.Integer({ minimum: 0 });
const ChainSchema = Type.Object({
  name: Type.String(),
  policy: Type.Optional(Type.String({ description: "Of a built-in chain." })),
  references: Type.Optional(Type.Integer({ description: "Of another chain: rules that lead to it." })),
  packets: Type.Optional(Type.Integer({ description: "What has met the policy." })),
  bytes: Type.Optional(count()),
  rules: Type.Array(Type.Object({ rule: Type.String(), packets: count(), bytes: count() })),
});

interface RestoreRequest {
  text: string;
  noflush?: boolean;
  counters?: boolean;
  test?: boolean;
  table?: TableName;
}

export const IPTABLES_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/iptables",
    summary: "The tables filter and nat with their chains, rules and counters.",
    answer: Type.Object({ filter: Type.Array(ChainSchema), nat: Type.Array(ChainSchema) }),
    handle: (router) => describeRules(router),
  },
  {
    method: "POST",
    path: "/v1/iptables",
    summary: "Runs a command of iptables.",
    body: Type.Object(
      { words: Type.Array(Type.String(), { description: "What follows `iptables`, word for word." }) },
      { additionalProperties: false },
    ),
    answer: Type.Object({ output: Type.String() }),
    handle: async (router, { body }) => ({ output: await runIptables(router, (body as { words: string[] }).words) }),
  },
  {
    method: "GET",
    path: "/v1/iptables/save",
    summary: "The rules as iptables-save writes them.",
    query: { table: text("filter or nat; both unless said."), counters: text("There, with any value: with counters.") },
    answer: Type.Object({ text: Type.String() }),
    handle: async (router, { query }) => {
      const table = query.get("table");
      return { text: await saveRules(router, table === null ? undefined : tableOf(table), query.has("counters")) };
    },
  },
  {
    method: "POST",
    path: "/v1/iptables/restore",
    summary: "Takes rules as iptables-restore does: all or nothing.",
    body: Type.Object(
      {
        text: Type.String({ description: "As iptables-save writes it." }),
        noflush: Type.Optional(Type.Boolean({ description: "Add to the rules that there are." })),
        counters: Type.Optional(Type.Boolean({ description: "Take the counters of the text." })),
        test: Type.Optional(Type.Boolean({ description: "Only say whether the text is right." })),
        table: Type.Optional(Type.Enum(["filter", "nat"], { description: "Only this table of the text." })),
      },
      { additionalProperties: false },
    ),
    bodyLimitBytes: RULES_LIMIT_BYTES,
    answer: Type.Object({}),
    handle: async (router, { body }) => {
      const { text: rules, test, ...options } = body as RestoreRequest;
      await restoreRules(router, rules, options, test === true);
      return {};
    },
  },
];

function tableOf(name: string): TableName {
  try {
    return readTable(name);
  } catch (error) {
    throw errorOf("iptables-save", error);
  }
}
