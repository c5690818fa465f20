/** `tapir attach` and `tapir detach`: a container comes to a network of the running router, and goes. */
import { type Command, InvalidArgumentError } from "commander";
import type { Attached } from "../control/attach.ts";
import { ExitCode, TapirError } from "../control/errors.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { type CommonOptions, talking } from "./talking.ts";

interface AttachOptions extends CommonOptions {
  netns?: string;
  pid?: number;
  name?: string;
  ifname?: string;
  address?: string;
  defaultRoute: boolean;
}

export function describeAttached({ name, ifname, address, gateway, network }: Attached): string {
  return `${name}: ${ifname} ${address}, gateway ${gateway}, on ${network}`;
}

/** What the router has said, and the same for people. */
export interface Done {
  said: object;
  words: string;
}

export async function detachPort(socket: string, name: string): Promise<Done> {
  const said = await ask<{ network: string }>(socket, "DELETE", `/v1/ports/${encodeURIComponent(name)}`);
  return { said, words: `${name}: detached from ${said.network}` };
}

function readPid(text: string): number {
  if (!/^[1-9][0-9]{0,9}$/.test(text)) throw new InvalidArgumentError("a process id is a number from 1 on.");
  return Number(text);
}

export function addAttach(program: Command): void {
  const attach = talking(program, "attach", "attach a container to a network of the running router")
    .argument("<network>", "the network")
    .option("--netns <name>", "the container's namespace, by its name in /run/netns")
    .option("--pid <number>", "the container's namespace, by a process in it", readPid)
    .option("--name <name>", "name of the port (default: the namespace's)")
    .option("--ifname <name>", "name of the device in the container", "eth0")
    .option("--address <address>", "its address (default: the first free one)")
    .option("--no-default-route", "do not give it a default route over the gateway")
    .action(async (network: string, options: AttachOptions) => {
      const { socket, json, ...wish } = options;
      if ((wish.netns === undefined) === (wish.pid === undefined)) {
        throw new TapirError("attach: either --netns or --pid is needed", ExitCode.USAGE);
      }
      const attached = await ask<Attached>(socketPath(socket), "POST", "/v1/ports", { network, ...wish });
      process.stdout.write(`${json === true ? JSON.stringify(attached) : describeAttached(attached)}\n`);
    });
  addHelp(
    attach,
    [
      ["tapir attach lab --netns c3", "the namespace c3 gets an eth0 with the first free address"],
      [
        "tapir attach lab --pid 4242 --name db --address 10.55.66.9",
        "the namespace of a process, with an address of choice",
      ],
      [`tapir attach lab --pid "$(docker inspect -f '{{.State.Pid}}' db)"`, "a container of docker run --network none"],
    ],
    {
      notes:
        "With --pid, the port goes by itself when the process and its namespace are no more. With --netns it stays, out " +
        "of service, and works again with the next change after the namespace has come back.",
    },
  );
  const detach = talking(program, "detach", "detach a container")
    .argument("<name>", "name of its port")
    .action(async (name: string, { socket, json }: CommonOptions) => {
      const { said, words } = await detachPort(socketPath(socket), name);
      process.stdout.write(`${json === true ? JSON.stringify(said) : words}\n`);
    });
  addHelp(detach, [["tapir detach c3", "its device is removed"]]);
}
