/**
 * What containers are called: the one thing that Docker does not tell a driver. dockerd is asked on its own socket,
 * when somebody wants to know; where it does not answer, nobody learns a name.
 */
import { get } from "node:http";

const TIMEOUT_MS = 1000;
const ANSWER_LIMIT_BYTES = 4 << 20;

interface NetworkAnswer {
  Containers?: Record<string, { Name?: unknown; EndpointID?: unknown }>;
}

/** Names of a network's containers by the ids of their endpoints. */
export async function containerNames(socket: string, network: string): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  try {
    const { Containers } = JSON.parse(await ask(socket, `/networks/${network}`)) as NetworkAnswer;
    for (const { Name, EndpointID } of Object.values(Containers ?? {})) {
      if (typeof Name === "string" && typeof EndpointID === "string") names.set(EndpointID, Name);
    }
  } catch {
    // No dockerd there, or not one that speaks so.
  }
  return names;
}

function ask(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path, timeout: TIMEOUT_MS }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > ANSWER_LIMIT_BYTES) request.destroy(new Error("too long"));
      });
      response.on("end", () => resolve(text));
      response.on("error", reject);
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject);
  });
}
