/** iptables' words, typed into Tapir and into the kernel's own iptables: what they print, byte for byte. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { REFUSED, RULES } from "../../support/iptables/corpus.ts";
import { DOCKER } from "../../support/iptables/docker.ts";
import { KernelTables } from "../../support/iptables/kernel.ts";
import { ruleSetTexts } from "../../support/iptables/random_rules.ts";
import { type Answer, MemoryTables } from "../../support/iptables/tables.ts";
import { requireSystem } from "../../support/netns.ts";

const canRun = requireSystem(["iptables", "iptables-legacy", "unshare"], "iptables' words beside the kernel's");

/** The table of a line, and what follows it. */
function split(rule: string): { table: string; rest: string } {
  const nat = "-t nat ";
  return rule.startsWith(nat) ? { table: "nat", rest: rule.slice(nat.length) } : { table: "filter", rest: rule };
}

describe.skipIf(!canRun)("iptables", () => {
  let kernel: KernelTables;
  let ours: MemoryTables;

  beforeEach(() => {
    kernel = new KernelTables("iptables");
    ours = new MemoryTables();
  });

  /** Runs the lines on both sides; the same succeed, and the same is printed. */
  function expectAlike(lines: readonly string[]): void {
    const theirs = kernel.runAll(lines);
    const found = lines.map((line) => ours.run(line));
    // Why a line is refused, each side says in its own words.
    const said = ({ isDone, output }: Answer): string => (isDone ? output : "refused");
    const transcript = (answers: readonly Answer[]): string =>
      answers.map((answer, index) => `# ${lines[index]}\n${said(answer)}`).join("\n");
    expect(transcript(found)).toBe(transcript(theirs));
  }

  it("shows each rule in the same words", () => {
    const adding = RULES.map((rule) => {
      const { table, rest } = split(rule);
      return `-t ${table} -A ${rest}`;
    });
    const shown = ["-S", "-S -v", "-L", "-L -n", "-L -v", "-L -n -v -x --line-numbers", "-L -n --line-numbers"];
    const tables = ["filter", "nat"].flatMap((table) => shown.map((words) => `-t ${table} ${words}`));
    expectAlike(["-N user", "-t nat -N user", ...adding, ...tables]);
    expect(ours.save(true)).toBe(kernel.save("-c"));
  }, 60_000);

  it("refuses the same", () => {
    const setting = ["-N u2", "-N u1", "-A u2 -j u1", "-A FORWARD -j u2"];
    expectAlike(setting);
    const theirs = kernel.runAll(REFUSED);
    const before = ours.save();
    expect(REFUSED.filter((_, index) => theirs[index].isDone)).toEqual([]);
    expect(REFUSED.filter((line) => ours.run(line).isDone)).toEqual([]);
    expect(ours.save()).toBe(before);
  }, 60_000);

  it("changes chains and rules by the same commands, and keeps the counters of the others", () => {
    const start = [
      "*filter\n:INPUT ACCEPT [5:6]\n:FORWARD DROP [7000000:800000000]\n:u - [0:0]",
      "[99999:100000] -A FORWARD -p tcp -j ACCEPT",
      "[9999999:9999499] -A FORWARD -p tcp -j ACCEPT",
      "[99999999:1000000000000] -A FORWARD -s 10.55.66.2 -j u",
      "[9999500:9007199254740991] -A FORWARD -j LOG\nCOMMIT\n",
    ].join("\n");
    expect(ours.restore(start, { counters: true }).isDone).toBe(true);
    expect(kernel.restore(start, "-c").isDone).toBe(true);
    const seen = ["-S -v", "-L -v -n"];
    const changes = [
      "-L FORWARD 2 -n -v",
      "-S FORWARD 3",
      "-I FORWARD -p tcp -j ACCEPT",
      "-D FORWARD -p tcp -j ACCEPT",
      "-D FORWARD 1",
      "-I FORWARD 2 -c 3 4 -p udp -s 10.0.0.1,10.0.0.2 -j u",
      "-R FORWARD 3 -p udp -j DROP",
      "-C FORWARD -p udp -j DROP",
      "-C FORWARD -p udp -j ACCEPT",
      "-N zz",
      "-N aa",
      "-A aa -j zz",
      "-X zz",
      "-E zz mm",
      "-F aa",
      "-X mm",
      "-P INPUT DROP",
      "-P FORWARD ACCEPT",
      "-Z FORWARD 1",
      "-E u renamed",
      "-Z FORWARD",
      "-A FORWARD -j renamed",
      "-D FORWARD -s 10.0.0.1,10.0.0.2 -p udp -j renamed",
      "-F FORWARD",
      "-X",
      "-F",
      "-w -n -L",
      "-w 5 -S",
    ];
    expectAlike(changes.flatMap((line) => [line, ...seen]));
    expect(ours.save(true)).toBe(kernel.save("-c"));
  }, 60_000);

  it("restores what either has saved, of random rules", () => {
    const check = (text: string): void => {
      const [own, told] = [ours.restore(text, { counters: true }), kernel.restore(text, "-c")];
      expect([own.isDone, told.isDone], `${own.output} ${told.output}`).toEqual([true, true]);
      const saved = ours.save(true);
      expect(saved).toBe(kernel.save("-c"));
      for (const words of ["-L -n -v -x", "-t nat -L -v"]) expect(ours.run(words)).toEqual(kernel.run(words));
      expect(ours.restore(saved, { counters: true })).toEqual({ isDone: true, output: "" });
      expect(ours.save(true)).toBe(saved);
    };
    const seed = Number(process.env.TAPIR_SEED ?? 5);
    fc.assert(fc.property(ruleSetTexts, check), { numRuns: 25, seed, endOnFailure: true });
  }, 120_000);

  it("takes what Docker writes", () => {
    expect(ours.restore(DOCKER)).toEqual({ isDone: true, output: "" });
    expect(kernel.restore(DOCKER).isDone).toBe(true);
    expect(ours.save()).toBe(kernel.save());
    expect(ours.restore(DOCKER, { noflush: true })).toEqual({ isDone: true, output: "" });
    expect(kernel.restore(DOCKER, "-n").isDone).toBe(true);
    expect(ours.save()).toBe(kernel.save());
  });

  it("says the same as the older iptables-legacy", () => {
    const legacy = new KernelTables("iptables-legacy");
    expect(legacy.restore(DOCKER).isDone).toBe(true);
    expect(ours.restore(DOCKER).isDone).toBe(true);
    const lines = ["-S", "-L -n -v --line-numbers", "-t nat -S", "-t nat -L -n -v"];
    expect(lines.map((line) => ours.run(line))).toEqual(legacy.runAll(lines));
    expect(ours.save()).toBe(legacy.save());
  });
});
