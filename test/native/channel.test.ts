import { execFileSync } from "node:child_process";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { native } from "../../src/io/native.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { onCleanup } from "../support/netns.ts";

function pair(): [number, number] {
  const fds = native().socketPair();
  for (const fd of fds) {
    onCleanup(() => {
      try {
        native().closeDescriptor(fd);
      } catch {
        // Closed by the test.
      }
    });
  }
  return fds;
}

function received(fd: number): { bytes: Uint8Array; descriptors: number[] } {
  const message = native().receiveMessage(fd);
  if (message === null || message === "closed") throw new Error(`no message: ${message}`);
  return message;
}

describe("channel", () => {
  it("keeps messages apart and in order", () => {
    const [left, right] = pair();
    expect(native().receiveMessage(right)).toBe(null);
    expect(native().sendMessage(left, Buffer.from("first"), [])).toBe(true);
    expect(native().sendMessage(left, Buffer.from("second"), [])).toBe(true);
    expect(Buffer.from(received(right).bytes).toString()).toBe("first");
    expect(Buffer.from(received(right).bytes).toString()).toBe("second");
    expect(native().receiveMessage(right)).toBe(null);
  });

  it("carries several messages of 64 KiB without a reader, and says when it would block", () => {
    const [left, right] = pair();
    const bytes = Uint8Array.from({ length: 65536 }, (_, i) => i * 31);
    let sent = 0;
    while (sent < 1000 && native().sendMessage(left, bytes, [])) sent++;
    expect(sent).toBeGreaterThanOrEqual(4);
    expect(sent).toBeLessThan(1000);
    for (let i = 0; i < sent; i++) expect(Buffer.compare(received(right).bytes, bytes)).toBe(0);
    expect(native().receiveMessage(right)).toBe(null);
    expect(native().sendMessage(left, bytes, [])).toBe(true);
  });

  it("refuses a message of another size", () => {
    const [left] = pair();
    for (const size of [0, 65537]) {
      expect(() => native().sendMessage(left, new Uint8Array(size), [])).toThrow("1 to 65536 bytes");
    }
    expect(() => native().sendMessage(left, new Uint8Array(1), new Array(65).fill(left))).toThrow("64 descriptors");
    expect(() => native().sendMessage(left, new Uint8Array(1), [-1])).toThrow("EBADF");
  });

  it("passes descriptors, close-on-exec and the receiver's own", () => {
    const [left, right] = pair();
    const file = openSync(join(packageRoot(), "package.json"), "r");
    const sent = fstatSync(file);
    native().sendMessage(left, Buffer.from("x"), new Array(64).fill(file));
    closeSync(file);
    const { descriptors } = received(right);
    expect(descriptors).toHaveLength(64);
    expect(new Set(descriptors).size).toBe(64);
    for (const fd of descriptors) {
      expect(fstatSync(fd).ino).toBe(sent.ino);
      expect(isCloseOnExec(fd)).toBe(true);
      closeSync(fd);
    }
  });

  it("says of a message that its descriptors were cut off, where there may be no more of them", () => {
    const program = `
      const addon = require(${JSON.stringify(join(packageRoot(), "native/build/Release/tapir.node"))});
      const { openSync } = require("node:fs");
      const [left, right] = addon.socketPair();
      addon.sendMessage(left, Buffer.from("text"), [left, left]);
      addon.sendMessage(left, Buffer.from("more"), []);
      try { for (;;) openSync("/dev/null", "r"); } catch {}
      const first = addon.receiveMessage(right), second = addon.receiveMessage(right);
      console.log(JSON.stringify([first, second].map((each) => [Buffer.from(each.bytes).toString(), each.descriptors, each.isCut])));`;
    const said = execFileSync("sh", ["-c", 'ulimit -n 64 && exec "$0" -e "$1"', process.execPath, program], {
      encoding: "utf8",
    });
    expect(JSON.parse(said)).toEqual([
      ["text", [], true],
      ["more", [], false],
    ]);
  });

  it("says when the peer is gone, after what it has sent", () => {
    const [left, right] = pair();
    native().sendMessage(left, Buffer.from("last"), []);
    native().closeDescriptor(left);
    expect(Buffer.from(received(right).bytes).toString()).toBe("last");
    expect(native().receiveMessage(right)).toBe("closed");
    expect(() => native().sendMessage(right, Buffer.from("x"), [])).toThrow("EPIPE");
  });

  it("calls back when there is something to read, until it is stopped", async () => {
    const [left, right] = pair();
    const heard: string[] = [];
    await new Promise<void>((resolve) => {
      const stop = native().watchReadable(right, () => {
        heard.push(Buffer.from(received(right).bytes).toString());
        if (heard.length === 1) native().sendMessage(left, Buffer.from("two"), []);
        else {
          stop();
          stop();
          resolve();
        }
      });
      native().sendMessage(left, Buffer.from("one"), []);
    });
    expect(heard).toEqual(["one", "two"]);
    // Stopped: what comes now stays for whoever reads it.
    native().sendMessage(left, Buffer.from("three"), []);
    await new Promise((resolve) => setImmediate(resolve));
    expect(Buffer.from(received(right).bytes).toString()).toBe("three");
  });

  it("can watch in a thread that ends without stopping", async () => {
    const addon = join(packageRoot(), "native/build/Release/tapir.node");
    const worker = new Worker(
      `const addon = require(${JSON.stringify(addon)});
       const [left, right] = addon.socketPair();
       addon.watchReadable(right, () => process.exit(7));
       addon.sendMessage(left, Buffer.from("x"), []);`,
      { eval: true },
    );
    expect(await new Promise((resolve) => worker.once("exit", resolve))).toBe(7);
  });
});

/** The `flags` of /proc/self/fdinfo are octal; O_CLOEXEC is 02000000. */
function isCloseOnExec(fd: number): boolean {
  const info = openSync(`/proc/self/fdinfo/${fd}`, "r");
  const buffer = Buffer.alloc(256);
  const text = buffer.toString("latin1", 0, readSync(info, buffer));
  closeSync(info);
  return (Number.parseInt(/flags:\s*(\d+)/.exec(text)?.[1] ?? "0", 8) & 0o2000000) !== 0;
}
