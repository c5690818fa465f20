/**
 * pasta, as an ordinary user: it makes its own user and network namespace with a TAP, and joins the connections of the
 * container to sockets of its own.
 */
import { readFileSync } from "node:fs";
import { familyOf } from "../priority.ts";
import { pause, Started } from "../processes.ts";
import { CONTAINER, CONTAINER_DEVICE, GATEWAY, hasCommand, resolveNextHop, UPLINK, type World } from "../topology.ts";
import { type Engine, pinned, type Running, type StartOptions } from "./engine.ts";

/** nobody */
const USER = 65534;

/** Where /dev/net/tun is for root only, the user sees another node in its place; nothing outside changes. */
const WITH_TUN = `set -e
folder=$(mktemp -d)
mount -t tmpfs none "$folder"
mknod -m 666 "$folder/tun" c 10 200
mount --bind "$folder/tun" /dev/net/tun
umount -l "$folder"
rmdir "$folder"
exec "$@"`;

// Ends with pasta, whatever becomes of it.
const GUEST = ["setpriv", "--pdeathsig", "KILL", "sleep", "600"];
const GUEST_NAME = "sleep";

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}

/** The process in pasta's namespace, once it is there. */
async function findGuest(program: Started): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const guest = familyOf(program.pid).find((pid) => commandOf(pid) === GUEST_NAME);
    if (guest !== undefined) return guest;
    await pause(30);
  }
  throw new Error(`pasta did not start its command: ${program.lastLines()}`);
}

async function start(world: World, options: StartOptions): Promise<Running> {
  world.connectHost("up0");
  const user = ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--clear-groups"];
  const place = ["-a", CONTAINER, "-n", "24", "-g", GATEWAY, "-I", CONTAINER_DEVICE, "-m", "1500"];
  const pasta = ["pasta", "-f", "-4", "--config-net", ...place, "--", ...GUEST];
  const command = ["unshare", "-m", "sh", "-c", WITH_TUN, "sh", ...user, ...pasta];
  const program = new Started("nsenter", [`--net=${world.router.path}`, ...pinned(options.cpu, command)]);
  const guest = await findGuest(program);
  const container = { name: `pasta ${guest}`, path: `/proc/${guest}/ns/net` };
  return {
    container,
    address: CONTAINER,
    nextHop: resolveNextHop(container),
    seenAs: UPLINK,
    sinkCpu: 0,
    pids: [program.pid],
    stop: async () => {
      // It ends with its command, which is the first process of a PID namespace and ignores SIGTERM.
      process.kill(guest, "SIGKILL");
      await program.stop();
    },
  };
}

export const pasta: Engine = {
  name: "pasta",
  title: "pasta as an ordinary user, MTU 1500",
  isFarOff: true,
  unavailable: () => {
    const absent = ["pasta", "setpriv", "unshare"].filter((command) => !hasCommand(command));
    return absent.length === 0 ? null : `no ${absent.join(", ")} (Debian: passt, util-linux)`;
  },
  start,
};
