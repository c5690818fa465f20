/** Who may have the router's socket, and what is left of it. */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { SocketPlace } from "../../src/control/socket.ts";
import { packageRoot } from "../../src/io/package_root.ts";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "tapir-socket-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function listening(place: SocketPlace): Promise<Server> {
  const server = createServer((connection) => connection.destroy());
  await place.take();
  await place.listen(server);
  onTestFinished(() => {
    server.close();
    place.release();
  });
  return server;
}

/** Leaves behind what a router leaves that is killed with SIGKILL. */
function killedRouter(path: string): Promise<void> {
  const script = `
    const { SocketPlace } = await import(${JSON.stringify(join(packageRoot(), "dist/src/control/socket.js"))});
    const { createServer } = await import("node:net");
    const place = new SocketPlace(${JSON.stringify(path)});
    await place.take();
    await place.listen(createServer());
    process.kill(process.pid, "SIGKILL");`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" });
  return new Promise((resolve, reject) => {
    child.once("exit", (_, signal) => (signal === "SIGKILL" ? resolve() : reject(new Error("it did not start"))));
  });
}

describe("the router's socket", () => {
  it("is for its owner alone, and changes nobody's umask", async () => {
    const path = join(folder(), "t.sock");
    const before = process.umask();
    await listening(new SocketPlace(path));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(process.umask()).toBe(before);
  });

  it("has that mode from the moment on in which it is there", async () => {
    const path = join(folder(), "t.sock");
    const place = new SocketPlace(path);
    await place.take();
    const server = createServer();
    const { listen } = server;
    let mode = 0;
    server.listen = (...words: unknown[]) => {
      Reflect.apply(listen, server, words);
      mode = statSync(path).mode & 0o777;
      return server;
    };
    await place.listen(server);
    expect(mode).toBe(0o600);
    server.close();
    place.release();
  });

  it("follows no link, and replaces none: neither of the socket nor of its lock", async () => {
    for (const name of ["t.sock", "t.sock.lock"]) {
      const inside = folder();
      for (const target of [join(inside, "victim"), join(inside, "absent")]) {
        writeFileSync(join(inside, "victim"), "untouched");
        symlinkSync(target, join(inside, name));
        await expect(new SocketPlace(join(inside, "t.sock")).take()).rejects.toThrow(/not a socket|ELOOP/);
        expect(readlinkSync(join(inside, name))).toBe(target);
        expect(readFileSync(join(inside, "victim"), "utf8")).toBe("untouched");
        expect(existsSync(join(inside, "absent"))).toBe(false);
        rmSync(join(inside, name));
      }
    }
  });

  it("brings the folders it needs, and takes those away again that it made", async () => {
    const above = folder();
    const place = new SocketPlace(join(above, "a/b/t.sock"));
    const server = await listening(place);
    expect(statSync(join(above, "a/b")).mode & 0o777 & ~process.umask()).toBe(0o755 & ~process.umask());
    server.close();
    place.release();
    expect(readdirSync(above)).toEqual([]);

    mkdirSync(join(above, "mine"));
    const inside = new SocketPlace(join(above, "mine/t.sock"));
    (await listening(inside)).close();
    inside.release();
    expect(readdirSync(above)).toEqual(["mine"]);
    expect(readdirSync(join(above, "mine"))).toEqual([]);
  });

  it("belongs to one router at a time, however many start at once", async () => {
    const path = join(folder(), "t.sock");
    const places = Array.from({ length: 8 }, () => new SocketPlace(path));
    const taken = await Promise.allSettled(places.map((place) => place.take()));
    expect(taken.filter(({ status }) => status === "fulfilled").length).toBe(1);
    for (const result of taken) {
      if (result.status === "rejected") {
        expect(result.reason.message).toBe(`another router is running or starting on ${path} (process ${process.pid})`);
      }
    }
    // Those that lost took nothing away from the one that won.
    await expect(new SocketPlace(path).take()).rejects.toThrow(/another router/);
    for (const place of places) place.release();
    const next = new SocketPlace(path);
    await next.take();
    next.release();
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it("is not taken from one that answers without a lock", async () => {
    const path = join(folder(), "t.sock");
    const server = createServer((connection) => connection.destroy());
    await new Promise<void>((resolve) => server.listen(path, resolve));
    onTestFinished(() => void server.close());
    await expect(new SocketPlace(path).take()).rejects.toThrow(`a router answers on ${path} already`);
    expect(statSync(path).isSocket()).toBe(true);
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it("is taken over from a router that was killed", async () => {
    const path = join(folder(), "t.sock");
    await killedRouter(path);
    expect(existsSync(path)).toBe(true);
    expect(existsSync(`${path}.lock`)).toBe(true);
    await listening(new SocketPlace(path));
  });

  it("never costs anybody a file", async () => {
    const path = join(folder(), "notes.txt");
    writeFileSync(path, "mine");
    await expect(new SocketPlace(path).take()).rejects.toThrow(`${path} is there already and is not a socket`);
    expect(statSync(path).size).toBe(4);
    expect(existsSync(`${path}.lock`)).toBe(false);
  });
});
