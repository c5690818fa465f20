/**
 * The router's API as the soak uses it: whole answers, and streams that are dropped in the middle. Each has a connection of its
 * own: none is kept, which would count as a descriptor of the router.
 */
import { request } from "node:http";

const PATIENCE_MS = 60_000;

export class Api {
  private readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  /** @throws Error with what the router says is wrong. */
  ask<T>(method: string, path: string, body?: object): Promise<T> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { "content-type": "application/json" };
      const asked = request(
        { socketPath: this.socketPath, method, path, headers, timeout: PATIENCE_MS, agent: false },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            if (response.statusCode === 200) resolve(JSON.parse(text) as T);
            else reject(new Error(`${method} ${path}: ${response.statusCode} ${text.trim()}`));
          });
        },
      );
      asked.on("timeout", () => asked.destroy(new Error(`${method} ${path}: no answer`)));
      asked.on("error", reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Reads a stream for a while and goes away in the middle; returns the bytes that have come. */
  listen(path: string, milliseconds: number): Promise<number> {
    return new Promise((resolve, reject) => {
      let bytes = 0;
      const asked = request({ socketPath: this.socketPath, path, agent: false }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`${path}: ${response.statusCode}`));
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
        });
        response.on("error", () => {});
      });
      let isOver = false;
      asked.on("error", (error) => {
        if (!isOver) reject(error);
      });
      asked.on("close", () => resolve(bytes));
      setTimeout(() => {
        isOver = true;
        asked.destroy();
      }, milliseconds);
      asked.end();
    });
  }
}
