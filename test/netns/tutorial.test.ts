/**
 * The tutorial, typed word for word: every command of `docs/tutorial.md` runs as a reader would run it, and prints what
 * the page shows, but for what differs from run to run (`normalise.ts`). With TAPIR_UPDATE_TUTORIAL=1 the page's outputs
 * are replaced by those of the run.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import { requireSystem } from "../support/netns.ts";
import { Normaliser } from "../support/tutorial/normalise.ts";
import { parsePage, type Step, withOutputs } from "../support/tutorial/page.ts";
import { Reader } from "../support/tutorial/reader.ts";

const PAGE = join(packageRoot(), "docs/tutorial.md");
const NEEDS = ["ping", "tcpdump", "sysctl", "unshare", "nsenter", "script", "bash"];

const text = readFileSync(PAGE, "utf8");
const sections = parsePage(text);
const IS_UPDATE = process.env.TAPIR_UPDATE_TUTORIAL === "1";
/** Silence after which a command whose output is not known yet is taken to have printed all: tcpdump takes its time. */
const SETTLE_MS = 1500;
const TERMINALS = Math.max(...sections.flatMap(({ blocks }) => blocks.map(({ terminal }) => terminal)));
const shown = new Normaliser();
const printed = new Normaliser();

/** Commands with their outputs, as the page has them. */
const transcript = (outputs: Iterable<[Step, string]>): string =>
  [...outputs].map(([{ command }, output]) => `# ${command}\n${output}`).join("\n");

describe.skipIf(!requireSystem(NEEDS, "the tutorial, word for word"))("the tutorial, word for word", () => {
  let reader: Reader;
  const outputs = new Map<Step, string>();

  beforeAll(async () => {
    reader = await Reader.create(TERMINALS, IS_UPDATE ? SETTLE_MS : 0);
  });

  it.each(sections)("$title", async (section) => {
    const typed = await reader.read(section);
    for (const [step, output] of typed) outputs.set(step, output);
    shown.beginSection();
    printed.beginSection();
    const steps = section.blocks.flatMap((block) => block.steps);
    const wanted = shown.normalise(transcript(steps.map((step) => [step, step.output])));
    const found = printed.normalise(transcript(typed));
    if (IS_UPDATE) writeFileSync(PAGE, withOutputs(text, outputs));
    else expect(found).toBe(wanted);
  });
});
