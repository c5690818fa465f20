/** Rows as aligned columns: numbers, and columns that `right` names, to the right, the rest to the left. */
export function formatTable(
  rows: readonly object[],
  columns: readonly string[],
  right: readonly string[] = [],
): string {
  const cells = rows.map((row) => columns.map((column) => cell((row as Record<string, unknown>)[column])));
  const headings = columns.map((column) => column.replace(/([A-Z])/g, " $1").toUpperCase());
  const widths = columns.map((_, index) => Math.max(headings[index].length, ...cells.map((row) => row[index].length)));
  const isRight = columns.map((column) => {
    const isNumeric = rows.every((row) => typeof (row as Record<string, unknown>)[column] === "number");
    return (isNumeric && rows.length > 0) || right.includes(column);
  });
  const line = (texts: string[]): string =>
    texts
      .map((text, index) => (isRight[index] ? text.padStart(widths[index]) : text.padEnd(widths[index])))
      .join("  ")
      .trimEnd();
  return [headings, ...cells].map(line).join("\n");
}

function cell(value: unknown): string {
  return value === null || value === undefined ? "-" : String(value);
}
