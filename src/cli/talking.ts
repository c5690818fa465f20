/** What the commands that talk to a router have in common. */
import type { Command } from "commander";

export interface CommonOptions {
  socket?: string;
  json?: boolean;
}

/** A command that talks to a router. */
export function talking(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .option("--socket <path>", "the router's socket (default: $TAPIR_SOCKET or /run/tapir/tapir.sock)")
    .option("-j, --json", "print JSON");
}
