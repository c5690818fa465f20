/** The CNI plugin in this process, with a router of cardboard behind its socket and an IPAM plugin that is a script. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { answerTo } from "../../src/cni/plugin.ts";

interface Reply {
  status: number;
  body: object;
}

export const PORT = "cni-port";
export const ATTACHED = {
  name: PORT,
  network: "lab",
  address: "10.55.66.7",
  gateway: "10.55.66.1",
  ifname: "eth0",
  prefixLength: 24,
  mac: "02:00:00:00:00:07",
  mtu: 1400,
};

/** Of this process, so that it is there. */
export const NETNS = "/proc/self/ns/net";

export interface Said {
  status: number;
  said: Record<string, unknown>;
}

export class CniWorld {
  readonly folder = mkdtempSync(join(tmpdir(), "tapir-cni-"));
  readonly socket = join(this.folder, "tapir.sock");
  /** What was asked, as `POST /v1/ports`; and the bodies of those that had one. */
  asked: string[] = [];
  bodies: Record<string, unknown>[] = [];
  replies: Record<string, Reply> = {};
  private server: Server | undefined;

  async listen(): Promise<void> {
    this.server = createServer((request, response) => {
      let text = "";
      request.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      request.on("end", () => {
        const asked = `${request.method} ${request.url}`;
        this.asked.push(asked);
        if (text !== "") this.bodies.push(JSON.parse(text));
        const { status, body } = this.replies[asked] ?? { status: 404, body: { error: "nothing is called so" } };
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      });
    });
    await new Promise<void>((resolve) => this.server?.listen(this.socket, resolve));
    this.replies = {
      "POST /v1/ports": { status: 200, body: ATTACHED },
      "GET /v1/names": { status: 200, body: {} },
    };
  }

  close(): void {
    this.server?.close();
    this.server?.closeAllConnections();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** An IPAM plugin `fake` that says this to ADD; each call is a line in a file. */
  ipam(answer: object, status = 0): void {
    const script = `#!/bin/sh
cat > ${this.folder}/ipam-input
echo $CNI_COMMAND $CNI_CONTAINERID >> ${this.folder}/ipam-calls
test $CNI_COMMAND = ADD || exit 0
echo '${JSON.stringify(answer)}'
exit ${status}
`;
    writeFileSync(join(this.folder, "fake"), script);
    chmodSync(join(this.folder, "fake"), 0o755);
  }

  get ipamCalls(): string[] {
    try {
      return readFileSync(join(this.folder, "ipam-calls"), "utf8").trim().split("\n");
    } catch {
      return [];
    }
  }

  /** Without a default route nobody looks into the namespace, which takes privileges. */
  configuration(more: object = {}): object {
    const { socket } = this;
    return { cniVersion: "1.1.0", name: "lab", type: "tapir", socket, defaultRoute: false, ...more };
  }

  variables(command: string): Record<string, string> {
    return {
      CNI_COMMAND: command,
      CNI_CONTAINERID: "c0ffee",
      CNI_NETNS: NETNS,
      CNI_IFNAME: "eth0",
      CNI_PATH: `/nowhere:${this.folder}`,
      PATH: process.env.PATH ?? "",
    };
  }

  async call(command: string, more: object = {}, variables: Record<string, string> = {}): Promise<Said> {
    const all = { ...this.variables(command), ...variables };
    return this.run(all, JSON.stringify(this.configuration(more)));
  }

  async run(variables: Record<string, string>, input: string): Promise<Said> {
    const { status, output } = await answerTo(variables, input);
    return { status, said: output === "" ? {} : JSON.parse(output) };
  }
}
