/** `tapir iptables-restore`. */
import type { Command as Program } from "commander";
import { readTable } from "../filter/iptables/command_options.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { PATIENCE_MS, read, readInput } from "./iptables.ts";

interface Options {
  socket?: string;
  table?: string;
  counters?: boolean;
  noflush?: boolean;
  test?: boolean;
}

export function addRestore(program: Program): void {
  const command = program
    .command("iptables-restore")
    .description("give the running router rules that iptables-save has written: all of them or none")
    .argument("[file]", "the rules; standard input unless said")
    .option("--socket <path>", "the router's socket (default: $TAPIR_SOCKET or /run/tapir/tapir.sock)")
    .option("-n, --noflush", "add to the rules that there are")
    .option("-c, --counters", "take the counters as well")
    .option("-t, --test", "only say whether the rules are right")
    .option("-T, --table <table>", "only this table of the text")
    .option("-v, --verbose", "accepted for the sake of scripts")
    .option("-w, --wait [seconds]", "accepted for the sake of scripts: changes wait for each other anyway")
    .action(async (file: string | undefined, { socket, table, counters, noflush, test }: Options) => {
      const name = table === undefined ? undefined : read("iptables-restore", () => readTable(table));
      const text = readInput("iptables-restore", file);
      const request = {
        text,
        ...(counters === true ? { counters } : {}),
        ...(noflush === true ? { noflush } : {}),
        ...(test === true ? { test } : {}),
        ...(name === undefined ? {} : { table: name }),
      };
      await ask(socketPath(socket), "POST", "/v1/iptables/restore", request, PATIENCE_MS);
    });
  addHelp(command, [
    ["tapir iptables-restore < rules", "these rules and no others"],
    ["tapir iptables-restore -n more-rules", "these as well"],
    ["tapir iptables-restore --test rules", "what is wrong with them, if anything"],
  ]);
}
