/** The kernel's iptables in a namespace of its own: many commands in one go. */
import { exec, must, namespace } from "../netns.ts";
import type { Answer } from "./tables.ts";

const MARK = "\u0001";

export class KernelTables {
  private readonly netns = namespace("k");
  private readonly program: string;

  /** `program`: `iptables` or `iptables-legacy`. */
  constructor(program: string) {
    this.program = program;
    // Both tables are there from now on: iptables-save writes no others.
    for (const table of ["filter", "nat"]) must(this.netns, program, ["-t", table, "-L", "-n"]);
  }

  /** Runs lines of words as a shell does; output is what came on stdout, or where it failed on stderr. */
  runAll(lines: readonly string[]): Answer[] {
    const commands = lines.map((line) => `${this.program} ${line} 2>/tmp/error; s=$?`);
    const script = commands
      .map((each) => `${each}; printf '${MARK}%s' "$s"; cat /tmp/error; printf '${MARK}'`)
      .join("\n");
    // Errors go to a /tmp of its own.
    const inside = `mount -t tmpfs tmpfs /tmp\n${script}`;
    const { stdout } = exec(this.netns, "unshare", ["--mount", "sh", "-c", inside], { timeoutMs: 120_000 });
    const parts = stdout.split(MARK);
    return lines.map((_, index) => {
      const [output, rest] = parts.slice(index * 2);
      const isDone = rest.startsWith("0");
      return { isDone, output: isDone ? output : rest };
    });
  }

  run(line: string): Answer {
    return this.runAll([line])[0];
  }

  restore(text: string, ...options: string[]): Answer {
    const { status, stdout, stderr } = exec(this.netns, `${this.program}-restore`, options, { input: text });
    return { isDone: status === 0, output: status === 0 ? stdout : stderr };
  }

  /** Without comments. */
  save(...options: string[]): string {
    const tables = ["filter", "nat"].map((table) =>
      must(this.netns, `${this.program}-save`, [...options, "-t", table]),
    );
    return tables.join("").replace(/^#.*\n/gm, "");
  }
}
