/** `tapir iptables-save`. */
import type { Command as Program } from "commander";
import { readTable } from "../filter/iptables/command_options.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { read } from "./iptables.ts";

interface Options {
  socket?: string;
  table?: string;
  counters?: boolean;
}

export function addSave(program: Program): void {
  const command = program
    .command("iptables-save")
    .description("print the rules of the running router as iptables-save does")
    .option("--socket <path>", "the router's socket (default: $TAPIR_SOCKET or /run/tapir/tapir.sock)")
    .option("-t, --table <table>", "filter or nat; both unless said")
    .option("-c, --counters", "with packets and bytes")
    .action(async ({ socket, table, counters }: Options) => {
      const query = new URLSearchParams();
      if (table !== undefined)
        query.set(
          "table",
          read("iptables-save", () => readTable(table)),
        );
      if (counters === true) query.set("counters", "yes");
      const { text } = await ask<{ text: string }>(socketPath(socket), "GET", `/v1/iptables/save?${query}`);
      process.stdout.write(text);
    });
  addHelp(command, [
    ["tapir iptables-save > rules", "keep the rules"],
    ["tapir iptables-save -c -t nat", "one table, with what its rules have met"],
  ]);
}
