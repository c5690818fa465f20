/** What `tapir doctor -f` says of uplinks that share the host's address, and of tables that dead ones have left. */
import { type Finding, missing, ok, problem, warning } from "./finding.ts";

export interface PortRange {
  first: number;
  last: number;
}

export interface RawFacts {
  name: string;
  device: string;
  isThere: boolean;
  isUp: boolean;
  address: string;
  /** Whether the device carries the address. */
  isCarried: boolean;
  ports: PortRange;
}

export interface RawMachine {
  raws: readonly RawFacts[];
  /** Why the package `raw-socket` does not load, and why nft(8) cannot be used; absent where they can. */
  packageError?: string;
  nftError?: string;
  /** net.ipv4.ip_local_port_range, and what ip_local_reserved_ports takes out of it. */
  localPorts: PortRange;
  reservedPorts: readonly PortRange[];
  /** Tables of Tapir's whose router runs no more. */
  leftTables: readonly string[];
}

export function checkRaw(machine: RawMachine): Finding[] {
  const left = machine.leftTables.map((name) => {
    const found = `the nftables table ${name} is left from a router that runs no more`;
    return problem("nftables", found, `remove it with \`nft delete table ip ${name}\``);
  });
  if (machine.raws.length === 0) return left;
  return [...checkTools(machine), ...machine.raws.flatMap((raw) => checkRawUplink(raw, machine)), ...left];
}

function checkTools({ packageError, nftError }: RawMachine): Finding[] {
  return [
    packageError === undefined
      ? ok("raw-socket", "loads")
      : missing("raw-socket", `does not load (${packageError})`, "build it with `npm rebuild raw-socket`"),
    nftError === undefined
      ? ok("nft", "works here")
      : missing("nft", nftError, "apt-get install -y nftables, and run as root or with CAP_NET_ADMIN"),
  ];
}

function checkRawUplink(
  { name, device, isThere, isUp, address, isCarried, ports }: RawFacts,
  machine: RawMachine,
): Finding[] {
  const check = `uplink ${name}`;
  if (!isThere) {
    const cure = "run the doctor and the router in the namespace that has it, or correct `device`";
    return [problem(check, `there is no device called ${device} here`, cure)];
  }
  const findings: Finding[] = [];
  if (!isCarried) {
    const cure = "correct `address`, or take `kind: packet`, which has an address of its own";
    findings.push(problem(check, `${device} does not carry ${address}, which it is to share`, cure));
  }
  if (!isUp) findings.push(problem(check, `${device} is down`, `set it up with \`ip link set ${device} up\``));
  if (collides(ports, machine)) {
    const range = `${ports.first}-${ports.last}`;
    const found = `the host gives ports of ${range} to its own connections as well`;
    findings.push(
      warning(check, found, `sysctl -w net.ipv4.ip_local_reserved_ports=${range}, or choose other \`ports\``),
    );
  }
  return findings.length > 0 ? findings : [ok(check, `shares ${address} of ${device}`)];
}

/** Whether a port of the range may be an ephemeral one of the host's. */
export function collides(
  ports: PortRange,
  { localPorts, reservedPorts }: Pick<RawMachine, "localPorts" | "reservedPorts">,
): boolean {
  const last = Math.min(ports.last, localPorts.last);
  let port = Math.max(ports.first, localPorts.first);
  while (port <= last) {
    const over = reservedPorts.find((each) => each.first <= port && port <= each.last);
    if (over === undefined) return true;
    port = over.last + 1;
  }
  return false;
}

/** `1000,40000-49999`, as ip_local_reserved_ports is written. */
export function readPortList(text: string): PortRange[] {
  return [...text.matchAll(/(\d+)(?:-(\d+))?/g)].map(([, first, last = first]) => ({
    first: Number(first),
    last: Number(last),
  }));
}
