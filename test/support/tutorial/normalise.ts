/**
 * What of a command's output may differ from run to run, and how: numbers that only measure time are masked; ids and
 * addresses that are chosen anew become names in the order of their first appearance, so that the same id in two places
 * of the page has to be the same id in two places of a run.
 */

/** What a kind of value is called, and over how much of the page its names hold. */
interface Named {
  pattern: RegExp;
  kind: string;
  scope: "page" | "section";
}

/** Times, and counts that depend on them. */
const MASKS: readonly [RegExp, string][] = [
  // ping
  [/\btime=[\d.]+ ms/g, "time=… ms"],
  [/\btime \d+ms/g, "time …ms"],
  [/^rtt min\/avg\/max\/mdev = .*$/gm, "rtt …"],
  // bash's number of a job's process
  [/^(\[\d+\]) \d+$/gm, "$1 …"],
  // Seconds since the bridge has heard of a station
  [/^(\S+ +[0-9a-f:]{17} +\S+) +\d+$/gm, "$1 …"],
  // conntrack: seconds that the flow has left; TCP may acknowledge two segments with one
  [/^(icmp +1|udp +17|tcp +6) \d+ /gm, "$1 … "],
  [/(?<=^tcp .*)packets=\d+ bytes=\d+/gm, "packets=… bytes=…"],
];

const NAMED: readonly Named[] = [
  { pattern: /(?<=\bid )\d+(?=, offset)/g, kind: "ip", scope: "section" },
  { pattern: /(?<=\bid )\d+(?=, seq)|(?<=\bid=)\d+/g, kind: "echo", scope: "page" },
  // Ports that the kernel chooses: net.ipv4.ip_local_port_range
  { pattern: /(?<=\b[sd]port=)(?:3[2-9]|[45]\d|60)\d{3}\b/g, kind: "port", scope: "page" },
  { pattern: /\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b/g, kind: "mac", scope: "page" },
];

const BROADCAST = "ff:ff:ff:ff:ff:ff";

export class Normaliser {
  private readonly page = new Map<string, string>();
  private section = new Map<string, string>();

  /** To be called where a section begins. */
  beginSection(): void {
    this.section = new Map();
  }

  normalise(text: string): string {
    let result = text;
    for (const [pattern, replacement] of MASKS) result = result.replace(pattern, replacement);
    for (const { pattern, kind, scope } of NAMED) {
      result = result.replace(pattern, (value) => this.nameOf(kind, value, scope));
    }
    return result;
  }

  private nameOf(kind: string, value: string, scope: Named["scope"]): string {
    if (value === BROADCAST) return value;
    const names = scope === "page" ? this.page : this.section;
    const key = `${kind} ${value}`;
    const known = names.get(key);
    if (known !== undefined) return known;
    const count = [...names.keys()].filter((each) => each.startsWith(`${kind} `)).length;
    const name = `${kind}-${count + 1}`;
    names.set(key, name);
    return name;
  }
}
