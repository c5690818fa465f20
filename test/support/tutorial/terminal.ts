/** Terminals in a world of their own, as the reader of the tutorial has them: interactive shells on pseudo-terminals. */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Running, spawnIn, TAPIR, temporaryFolder } from "../netns.ts";

/** What a shell prints when it waits for the next command; no output has it. */
const PROMPT = "\u0001next\u0002";
const CTRL_C = "\u0003";
const PATIENCE_MS = 20_000;

/** A fresh /run, and processes that end with the test whatever becomes of their terminals. */
export interface World {
  folder: string;
  terminal(): Promise<Terminal>;
}

export async function createWorld(): Promise<World> {
  const folder = temporaryFolder();
  const bin = temporaryFolder();
  writeFileSync(join(bin, "tapir"), `#!/bin/sh\nexec ${process.execPath} ${TAPIR} "$@"\n`, { mode: 0o755 });
  const isolate = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"];
  const script = "mount -t tmpfs tmpfs /run\necho up\nexec cat";
  const holder = spawnIn(undefined, "unshare", [...isolate, "sh", "-ec", script]);
  await holder.until(/^up$/m);
  const pid = holder.child.pid;
  const init = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
  const enter = ["-t", init, "--mount", "--pid", "script", "-qfc", "bash --norc --noprofile --noediting", "/dev/null"];
  return {
    folder,
    terminal: async () => {
      const env = {
        PATH: `${bin}:${dirname(process.execPath)}:${process.env.PATH}:/usr/sbin:/sbin`,
        HOME: folder,
        LC_ALL: "C",
        TERM: "dumb",
        PS1: PROMPT,
        PS2: "",
      };
      const shell = spawnIn(undefined, "nsenter", enter, { cwd: folder, env });
      const terminal = new Terminal(shell);
      await terminal.begin();
      return terminal;
    },
  };
}

export class Terminal {
  private readonly shell: Running;
  /** How much of the output has been taken. */
  private taken = 0;

  constructor(shell: Running) {
    this.shell = shell;
  }

  async begin(): Promise<void> {
    this.type("stty -echo; unset HISTFILE; echo be''gun");
    await this.shell.until(/begun\r?\n[\s\S]*next/, PATIENCE_MS);
    this.taken = this.shell.stdout().length;
  }

  type(command: string): void {
    this.shell.child.stdin?.write(`${command}\n`);
  }

  interrupt(): void {
    this.shell.child.stdin?.write(CTRL_C);
  }

  /** What has been printed since the last `take`, without prompts. */
  private fresh(): string {
    return this.shell.stdout().slice(this.taken).replaceAll("\r", "");
  }

  /**
   * Waits until `isEnough` likes the lines that have been printed since the last call, and takes them. What is not
   * enough when time is up is returned all the same: the comparison says what is wrong with it. With `settleMs` it then
   * waits until nothing has been printed for so long.
   */
  async take(isEnough: (lines: number, isAtPrompt: boolean) => boolean, settleMs = 0): Promise<string> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!isEnough(this.fresh().split("\n").length - 1, this.fresh().includes(PROMPT)) && Date.now() < deadline) {
      await this.somethingNew(deadline - Date.now());
    }
    while (settleMs > 0 && (await this.somethingNew(settleMs))) {
      // There may be more.
    }
    const raw = this.fresh();
    this.taken = this.shell.stdout().length;
    return raw
      .replaceAll(PROMPT, "")
      .replace(/\n$/, "")
      .replace(/[ \t]+$/gm, "");
  }

  /** Whether something was printed in time. */
  private async somethingNew(timeoutMs: number): Promise<boolean> {
    const seen = this.shell.stdout().length;
    const more = new RegExp(`^[\\s\\S]{${seen}}[\\s\\S]`);
    try {
      await this.shell.until(more, Math.max(1, timeoutMs));
      return true;
    } catch (error) {
      if (!(error as Error).message.includes("was silent")) throw error;
      return false;
    }
  }
}
