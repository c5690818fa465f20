/** DEL and GC: what an attachment has goes; what is gone already is no error. STATUS: whether ADD could be served. */
import { readAttachment, type Variables } from "./environment.ts";
import { CniError, Code, quote } from "./errors.ts";
import { delegate } from "./ipam.ts";
import { isMap, type Network } from "./network.ts";
import { Router } from "./router.ts";
import { portName } from "./wish.ts";

/** The port first: its address is given to nobody else while it is there. */
export async function del(network: Network, variables: Variables): Promise<void> {
  const attachment = readAttachment(variables);
  await new Router(network.socket).detach(portName(network.name, attachment));
  await delegate("DEL", network, variables);
}

/** Detaches all ports of the network that are not among the valid attachments; goes on after an error, and says it. */
export async function collect(network: Network, variables: Variables): Promise<void> {
  const valid = readValid(network.validAttachments);
  const router = new Router(network.socket);
  const errors: Error[] = [];
  const attempt = (work: Promise<unknown>) => work.catch((error: Error) => void errors.push(error));
  if (await router.isThere()) {
    for (const { name, device, cni } of await router.ports()) {
      if (cni?.network !== network.name || valid.has(`${cni.container} ${device}`)) continue;
      await attempt(router.detach(name));
    }
  }
  await attempt(delegate("GC", network, variables));
  const [first, ...more] = errors;
  if (first === undefined) return;
  if (more.length === 0 || !(first instanceof CniError)) throw first;
  throw new CniError(first.code, first.message, more.map(({ message }) => message).join("\n"));
}

/** Without the list, nothing is known to be stale. */
function readValid(list: unknown): Set<string> {
  const key = "cni.dev/valid-attachments";
  if (!Array.isArray(list))
    throw new CniError(Code.INVALID_CONFIGURATION, `${key}: expected a list, not ${quote(list)}`);
  return new Set(
    list.map((each: unknown) => {
      const { containerID, ifname } = isMap(each) ? each : {};
      if (typeof containerID === "string" && typeof ifname === "string") return `${containerID} ${ifname}`;
      const expected = 'maps with "containerID" and "ifname"';
      throw new CniError(Code.INVALID_CONFIGURATION, `${key}: expected ${expected}, not ${quote(each)}`);
    }),
  );
}

export async function status(network: Network, variables: Variables): Promise<void> {
  try {
    const { networks = {} } = await new Router(network.socket).configuration();
    if (!Object.hasOwn(networks, network.network)) {
      throw new CniError(Code.NOT_AVAILABLE, `the router has no network ${quote(network.network)}`);
    }
  } catch (error) {
    throw error instanceof CniError ? new CniError(Code.NOT_AVAILABLE, error.message, error.details) : error;
  }
  await delegate("STATUS", network, variables);
}
