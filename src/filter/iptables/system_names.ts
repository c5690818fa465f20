/** Names of protocols and ports as the machine has them, in /etc/protocols and /etc/services. */
import { readFileSync } from "node:fs";

export interface SystemNames {
  protocolNumber(name: string): number | undefined;
  protocolName(number: number): string | undefined;
  /** `protocol` by its name; undefined: any. */
  portNumber(name: string, protocol?: string): number | undefined;
  portName(port: number, protocol: string): string | undefined;
}

/** Those that iptables knows without asking; the first name of a number is the one that it prints. */
const OWN_PROTOCOLS: readonly (readonly [string, number])[] = [
  ["tcp", 6],
  ["sctp", 132],
  ["udp", 17],
  ["udplite", 136],
  ["icmp", 1],
  ["ipv6-icmp", 58],
  ["icmpv6", 58],
  ["esp", 50],
  ["ah", 51],
  ["ipv6-mh", 135],
  ["mh", 135],
  ["all", 0],
];

class FileNames implements SystemNames {
  private readonly protocolNumbers = new Map<string, number>();
  private readonly protocolNames = new Map<number, string>();
  /** By `name/protocol` and `port/protocol`. */
  private readonly portNumbers = new Map<string, number>();
  private readonly portNames = new Map<string, string>();

  constructor(protocols: string, services: string) {
    for (const [name, number] of OWN_PROTOCOLS) this.addProtocol(name, number);
    for (const [name, number, ...aliases] of entriesOf(protocols)) {
      for (const each of [name, ...aliases]) this.addProtocol(each, Number(number));
    }
    for (const [name, place = "", ...aliases] of entriesOf(services)) {
      const [port, protocol] = place.split("/");
      if (!this.portNames.has(place)) this.portNames.set(place, name);
      for (const each of [name, ...aliases]) {
        for (const key of [`${each}/${protocol}`, `${each}/`]) {
          if (!this.portNumbers.has(key)) this.portNumbers.set(key, Number(port));
        }
      }
    }
  }

  private addProtocol(name: string, number: number): void {
    if (!(number >= 0 && number <= 255)) return;
    if (!this.protocolNumbers.has(name)) this.protocolNumbers.set(name, number);
    if (!this.protocolNames.has(number)) this.protocolNames.set(number, name);
  }

  protocolNumber(name: string): number | undefined {
    return this.protocolNumbers.get(name) ?? this.protocolNumbers.get(name.toLowerCase());
  }

  protocolName(number: number): string | undefined {
    return this.protocolNames.get(number);
  }

  portNumber(name: string, protocol = ""): number | undefined {
    return this.portNumbers.get(`${name}/${protocol}`);
  }

  portName(port: number, protocol: string): string | undefined {
    return this.portNames.get(`${port}/${protocol}`);
  }
}

/** Words of the lines, without what follows a `#`. */
function entriesOf(text: string): string[][] {
  const lines = text.split("\n").map((line) => line.replace(/#.*/, "").trim());
  return lines.filter((line) => line !== "").map((line) => line.split(/\s+/));
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A machine may do without: then numbers are all there is.
    return "";
  }
}

let names: SystemNames | undefined;

/** Read once, when first asked for. */
export function systemNames(): SystemNames {
  names ??= new FileNames(read("/etc/protocols"), read("/etc/services"));
  return names;
}
