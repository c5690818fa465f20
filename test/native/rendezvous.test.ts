/** Meeting at a path, becoming another program, and burying its predecessor's children. */
import { spawnSync } from "node:child_process";
import { statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { native } from "../../src/io/native.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { onCleanup, temporaryFolder } from "../support/netns.ts";

const ADDON = process.env.TAPIR_ADDON ?? join(packageRoot(), "native/build/Release/tapir.node");
const USER = process.geteuid?.() ?? 0;

function kept(fd: number): number {
  onCleanup(() => native().closeDescriptor(fd));
  return fd;
}

/** Runs lines of JavaScript that have the addon, as a user. */
function inProcess(lines: string, uid = USER): { status: number | null; stdout: string; stderr: string } {
  const text = `const addon = require(${JSON.stringify(ADDON)});\n${lines}`;
  return spawnSync(process.execPath, ["-e", text], { encoding: "utf8", uid, timeout: 30_000 });
}

describe("a rendezvous", () => {
  it("brings two together that pass messages and descriptors", () => {
    const path = join(temporaryFolder(), "place");
    const listener = kept(native().listenAt(path));
    expect(native().acceptFrom(listener, USER)).toBe(null);
    const left = kept(native().connectTo(path));
    const right = kept(native().acceptFrom(listener, USER) as number);
    expect(native().sendMessage(left, Buffer.from("hello"), [listener])).toBe(true);
    const message = native().receiveMessage(right);
    if (message === null || message === "closed") throw new Error(`no message: ${message}`);
    expect(Buffer.from(message.bytes).toString()).toBe("hello");
    for (const fd of message.descriptors) native().closeDescriptor(fd);
    expect(native().acceptFrom(listener, USER)).toBe(null);
  });

  it("is its user's alone", () => {
    const path = join(temporaryFolder(), "place");
    kept(native().listenAt(path));
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("sends other users away and takes the next one", () => {
    const path = join(temporaryFolder(), "place");
    const listener = kept(native().listenAt(path));
    const foreign = kept(native().connectTo(path));
    expect(native().acceptFrom(listener, USER + 1)).toBe(null);
    expect(native().receiveMessage(foreign)).toBe("closed");
    kept(native().connectTo(path));
    expect(kept(native().acceptFrom(listener, USER) as number)).toBeGreaterThan(0);
  });

  it("says why it cannot be: a place that is taken, nobody there, a path that is too long", () => {
    const path = join(temporaryFolder(), "place");
    kept(native().listenAt(path));
    expect(() => native().listenAt(path)).toThrow("EADDRINUSE");
    unlinkSync(path);
    expect(() => native().connectTo(path)).toThrow("ENOENT");
    expect(() => native().listenAt(join("/tmp", "x".repeat(108)))).toThrow("ENAMETOOLONG");
    writeFileSync(path, "");
    expect(() => native().connectTo(path)).toThrow("ECONNREFUSED");
    expect(() => native().acceptFrom(-1, USER)).toThrow("EBADF");
  });
});

describe("becoming another program", () => {
  it("keeps the process, and gives the new one its arguments and environment", () => {
    const { status, stdout } = inProcess(
      `console.log(process.pid); addon.replaceProgram("/bin/sh", ["sh", "-c", 'echo $$ $0 $WORD', "zero"], ["WORD=ü"]);`,
    );
    const [before, after] = stdout.trim().split("\n");
    expect(status).toBe(0);
    expect(after).toBe(`${before} zero ü`);
  });

  it("goes on as it was when there is no such program", () => {
    const { stdout } = inProcess(
      `try { addon.replaceProgram("/nowhere", ["x"], []); } catch (error) { console.log(error.code, error.syscall); }`,
    );
    expect(stdout.trim()).toBe("ENOENT execve");
    expect(() => native().replaceProgram("/bin/true", [1 as never], [])).toThrow("strings");
    expect(() => native().replaceProgram("/bin/true", ["true"], 7 as never)).toThrow("strings");
  });

  it("leaves its children to the new program, which buries them", () => {
    const child = `const addon = require(${JSON.stringify(ADDON)});
      const pid = Number(process.env.CHILD);
      while (!addon.buryChild(pid));
      console.log(require("fs").existsSync("/proc/" + pid), addon.buryChild(pid));`;
    const { stdout } = inProcess(`
      const { pid } = require("child_process").spawn("true", { stdio: "ignore" });
      const environment = Object.entries({ ...process.env, CHILD: pid }).map(([name, value]) => name + "=" + value);
      addon.replaceProgram(process.execPath, ["node", "-e", ${JSON.stringify(child)}], environment);`);
    expect(stdout.trim()).toBe("false true");
  });
});
