/** What the lab needs of the machine, checked before anything is made. */
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ExitCode, TapirError } from "../../control/errors.ts";

const TUN = "/dev/net/tun";

const COMMANDS: readonly { name: string; package: string }[] = [
  { name: "ip", package: "iproute2" },
  { name: "ping", package: "iputils-ping" },
];

export function hasCommand(name: string, path = process.env.PATH ?? ""): boolean {
  return path.split(":").some((folder) => folder !== "" && existsSync(join(folder, name)));
}

/** One line for each program that is not there, with the cure. */
export function missingCommands(path?: string): string[] {
  return COMMANDS.filter(({ name }) => !hasCommand(name, path)).map(
    (command) => `${command.name} is not installed: apt-get install -y ${command.package}`,
  );
}

/** Bits of capabilities(7). */
const Capability = { NET_ADMIN: 12, NET_RAW: 13, SYS_ADMIN: 21 } as const;

/** Whether this process may make namespaces and devices, by the text of /proc/self/status. */
export function isPrivileged(status = readFileSync("/proc/self/status", "latin1")): boolean {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  return Object.values(Capability).every((bit) => ((effective >> BigInt(bit)) & 1n) === 1n);
}

/** Opens the TUN/TAP device to see whether it can be opened; throws what to do about it if not. */
export function checkTun(path = TUN): void {
  try {
    closeSync(openSync(path, "r+"));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const cure =
      code === "ENOENT" || code === "ENODEV"
        ? "load the kernel's TUN/TAP driver: modprobe tun"
        : `run the lab as root, or let users open it: chmod 0666 ${TUN}`;
    throw new TapirError(`cannot open ${path} (${code}): ${cure}`, ExitCode.PRIVILEGE);
  }
}
