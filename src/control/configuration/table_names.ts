/** Routing tables by number or name, as iproute2 has them. */
import { TableId } from "../../routing/policy.ts";
import { type Path, quote, type Report } from "./errors.ts";
import { suggestion } from "./nearest.ts";
import { LARGEST_TABLE } from "./schema_routing.ts";

const LOCAL = 255;
const BUILT_IN: Record<string, number> = { default: TableId.DEFAULT, main: TableId.MAIN, local: LOCAL };

export class TableNames {
  private readonly numbers = new Map<string, number>(Object.entries(BUILT_IN));
  private readonly names = new Map<number, string>(Object.entries(BUILT_IN).map(([name, number]) => [number, name]));

  /** `own`: names of the configuration. */
  constructor(own: Readonly<Record<string, number>> = {}, report?: Report) {
    for (const [name, number] of Object.entries(own)) {
      const other = this.names.get(number);
      const path = ["routing", "tables", name];
      if (this.numbers.has(name)) report?.(path, `the table ${quote(name)} is ${this.numbers.get(name)}`, "key");
      else if (other !== undefined) report?.(path, `table ${number} is called ${quote(other)} already`);
      else if (/^\d/.test(name)) report?.(path, `${quote(name)} begins like a number`, "key");
      this.numbers.set(name, number);
      this.names.set(number, name);
    }
  }

  /** The table's name, or its number as text. */
  nameOf(number: number): string {
    return this.names.get(number) ?? String(number);
  }

  /** The number of a table that routes can be put into; reports one that is none. */
  read(table: string | number, path: Path, report: Report): number | undefined {
    const number = typeof table === "number" || /^\d+$/.test(table) ? Number(table) : this.numbers.get(table);
    if (number === undefined) {
      report(path, `no routing table is called ${quote(table)}${suggestion(String(table), this.numbers.keys())}`);
      return undefined;
    }
    if (number === LOCAL) report(path, "the table local holds the router's own addresses and cannot be changed");
    else if (number < 1 || number > LARGEST_TABLE) report(path, `a table's number is 1 to ${LARGEST_TABLE}`);
    else return number;
    return undefined;
  }
}
