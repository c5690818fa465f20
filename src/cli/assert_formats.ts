/** Results of assertions as other programs read them: the Test Anything Protocol (version 14), and JUnit's XML. */
import type { Result } from "../control/experiments/assert.ts";

export function formatTap(results: readonly Result[]): string {
  const lines = results.flatMap(({ name, line, column, passed, found, expected }, index) => {
    const head = `${passed ? "ok" : "not ok"} ${index + 1} - ${escapeTap(name)}`;
    if (passed) return [head];
    const block = { at: `${line}:${column}`, expected, found };
    const said = Object.entries(block).map(([key, value]) => `  ${key}: ${JSON.stringify(value)}`);
    return [head, "  ---", ...said, "  ..."];
  });
  return ["TAP version 14", `1..${results.length}`, ...lines].join("\n");
}

/** A hash begins a directive. */
function escapeTap(text: string): string {
  return text.replace(/[\\#]/g, "\\$&").replace(/\s+/g, " ");
}

export function formatJunit(file: string, results: readonly Result[]): string {
  const failures = results.filter(({ passed }) => !passed).length;
  const cases = results.map(({ kind, name, line, passed, found, expected }) => {
    const head = `<testcase classname="${kind}" name="${escapeXml(name)}" file="${escapeXml(file)}" line="${line}"`;
    if (passed) return `  ${head}/>`;
    return `  ${head}>\n    <failure message="${escapeXml(`expected ${expected}; ${found}`)}"/>\n  </testcase>`;
  });
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuite name="${escapeXml(file)}" tests="${results.length}" failures="${failures}">`,
    ...cases,
    "</testsuite>",
  ].join("\n");
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Characters that XML 1.0 has no words for become a question mark. */
function escapeXml(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones.
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character]).replace(/[\u0000-\u001f\ufffe\uffff]/g, "?");
}
