/** `tapir rule`: rules of policy routing, in the words of `ip rule`. */
import type { Command } from "commander";
import type { RuleOperation, RuleRow } from "../control/routing/schemas.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { type CommonOptions, talking } from "./talking.ts";
import { unsupported, Words, wrong } from "./words.ts";

export function addRule(program: Command): void {
  const command = talking(program, "rule", "which routing table is asked for which packets, in the words of ip-rule(8)")
    .argument("[words...]", "show, add, del or flush")
    .allowUnknownOption();
  addHelp(
    command,
    [
      ["tapir rule show", "the rules in the order in which they are asked"],
      ["tapir rule add from 10.55.66.0/25 lookup 100 priority 100", "by source"],
      ["tapir rule add fwmark 0x1/0xff lookup 100", "by the mark that PREROUTING has set"],
      ["tapir rule add iif lab to 192.0.2.0/24 prohibit", "refused with ICMP prohibited"],
      ["tapir rule del priority 100", "take one away"],
    ],
    {
      notes: `Selectors that are known: not, from, to, fwmark, iif, priority (pref, order). Actions: lookup (table), blackhole,
unreachable, prohibit. Others are refused by name. The router's own addresses come before all rules.`,
    },
  );
  command.action(async (words: string[], { socket, json }: CommonOptions) => {
    await rule(words, socketPath(socket), json === true);
  });
}

async function rule(words: readonly string[], socket: string, asJson: boolean): Promise<void> {
  const [verb = "show", ...rest] = words;
  if (["show", "list", "ls", "lst"].includes(verb)) {
    if (rest.length > 0) throw unsupported(rest[0]);
    const rows = await ask<RuleRow[]>(socket, "GET", "/v1/routing/rules");
    const lines = rows.map((row) => formatRule(row));
    process.stdout.write(asJson ? `${JSON.stringify(rows.map(ruleJson))}\n` : `${lines.join("\n")}\n`);
    return;
  }
  const op = { add: "add", del: "del", delete: "del", flush: "flush" }[verb];
  if (op === undefined) throw wrong(`command "${verb}" is unknown, try "tapir rule --help"`);
  await ask(socket, "POST", "/v1/routing/rules", readRule(op as RuleOperation["op"], rest));
}

const SYNONYMS: Record<string, keyof RuleOperation> = {
  from: "from",
  to: "to",
  fwmark: "fwmark",
  iif: "iif",
  dev: "iif",
  lookup: "table",
  table: "table",
};
const TYPES = ["blackhole", "unreachable", "prohibit"];

/** The words after the verb. */
export function readRule(op: RuleOperation["op"], list: readonly string[]): RuleOperation {
  const words = new Words(list);
  const operation: RuleOperation = { op };
  while (!words.isEmpty) {
    const word = words.next();
    if (word === "not") operation.not = true;
    else if (["priority", "pref", "preference", "order"].includes(word)) operation.priority = words.number(word);
    else if (Object.hasOwn(SYNONYMS, word)) Object.assign(operation, { [SYNONYMS[word]]: words.next(word) });
    else if (TYPES.includes(word)) operation.type = word as NonNullable<RuleOperation["type"]>;
    else if (word !== "type" && word !== "unicast") throw unsupported(word);
  }
  if (op === "del" && Object.keys(operation).length === 1) throw wrong('"rule del" requires arguments');
  return operation;
}

function formatRule({ priority, not, from, to, fwmark, fwmask, iif, table, action }: RuleRow): string {
  const words = [
    not === true ? "not" : "",
    `from ${from}`,
    to === undefined ? "" : `to ${to}`,
    fwmark === undefined ? "" : `fwmark ${fwmark}${fwmask === undefined ? "" : `/${fwmask}`}`,
    iif === undefined ? "" : `iif ${iif}`,
    table === undefined ? `${action}` : `lookup ${table}`,
  ];
  return `${priority}:\t${words.filter((word) => word !== "").join(" ")}`;
}

function ruleJson({ priority, not, from, to, fwmark, fwmask, iif, table, action }: RuleRow): object {
  const [src, srclen] = from.split("/");
  const [dst, dstlen] = (to ?? "").split("/");
  return {
    priority,
    ...(not === true ? { not: null } : {}),
    src,
    ...(srclen === undefined ? {} : { srclen: Number(srclen) }),
    ...(dst === "" ? {} : { dst }),
    ...(dstlen === undefined ? {} : { dstlen: Number(dstlen) }),
    ...(fwmark === undefined ? {} : { fwmark }),
    ...(fwmask === undefined ? {} : { fwmask }),
    ...(iif === undefined ? {} : { iif }),
    ...(table === undefined ? { action } : { table }),
  };
}
