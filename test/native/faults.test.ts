/**
 * System calls that fail, each with each errno: nothing crashes, hangs or leaks, what fails is told or counted, and what
 * comes afterwards works. Needs a build of the addon that can fail: `npm run test:sanitized` makes it.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { native } from "../../src/io/native.ts";
import { ip, namespace, netnsPath, requireSystem, veth } from "../support/netns.ts";
import { ERRORS, failEachOnce, faults, openDescriptors, withFault } from "./faults.ts";
import { Harness } from "./harness.ts";

const addon = process.env.TAPIR_ADDON ?? "";
const ready = requireSystem([], "system calls that fail") && faults() !== undefined;

/** Calls of libc that ask the kernel for nothing that could fail, or end the process. */
const HARMLESS = new Set(
  "abort,clock_gettime,free,geteuid,getpid,memcpy,memmove,memset,perror,pthread_sigmask,sigemptyset,snprintf,strcmp,strerror,strlen,syscall,umask,usleep".split(
    ",",
  ),
);

const close = (fd: number) => native().closeDescriptor(fd);

/** Does something that opens descriptors, and closes them; what it throws has to be an error of the addon. */
interface Work {
  name: string;
  run(place: { netns: string; device: string }): void;
}

/** What goes through a channel: a descriptor, and a message without one. */
function passMessages(): void {
  const [left, right] = native().socketPair();
  try {
    native().sendMessage(left, Buffer.from("x"), [left]);
    native().sendMessage(left, Buffer.from("y"), []);
    for (const _ of "xy") {
      const received = native().receiveMessage(right);
      if (received !== null && received !== "closed") received.descriptors.forEach(close);
    }
  } finally {
    close(left);
    close(right);
  }
}

/** Listens, connects, and lets in. */
function meet(): void {
  const directory = mkdtempSync(join(tmpdir(), "tapir-"));
  const path = join(directory, "socket");
  const open: number[] = [];
  try {
    const listener = native().listenAt(path);
    open.push(listener);
    open.push(native().connectTo(path));
    const accepted = native().acceptFrom(listener, process.getuid?.() ?? 0);
    if (accepted !== null) open.push(accepted);
  } finally {
    open.forEach(close);
    rmSync(directory, { recursive: true });
  }
}

/** To a socket at an abstract name, which no file remains of. */
function notify(): void {
  try {
    native().notifyService(`@tapir-faults-${process.pid}`, "READY=1");
  } catch (error) {
    // Nobody is there.
    if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED") throw error;
  }
}

const WORKS: Work[] = [
  { name: "a TAP", run: ({ netns }) => close(native().openTap({ ifname: "f%d", netns: netnsPath(netns) }).fd) },
  {
    name: "a packet socket",
    run: ({ netns, device }) => close(native().openPacketSocket({ device, netns: netnsPath(netns) }).fd),
  },
  {
    name: "a netlink socket",
    run: ({ netns }) => close(native().openRouteNetlink({ groups: 1, netns: netnsPath(netns) })),
  },
  { name: "a visit to a namespace", run: ({ netns }) => native().inNamespace(netnsPath(netns), () => {}) },
  {
    name: "shared memory",
    run: () => {
      const { fd } = native().createMemory("tapir-test", 4 << 20);
      try {
        native().mapMemory(fd);
      } finally {
        close(fd);
      }
    },
  },
  { name: "memory", run: () => void native().allocateMemory(4096) },
  { name: "messages", run: passMessages },
  {
    name: "a watch",
    run: () => {
      const [left, right] = native().socketPair();
      try {
        native().watchReadable(right, () => {})();
      } finally {
        close(left);
        close(right);
      }
    },
  },
  { name: "a meeting at a path", run: meet },
  { name: "what is said to the service manager", run: notify },
  { name: "a look for io_uring", run: () => void native().hasRing() },
];

/** Lets each call of `body` fail once with each errno; returns how many did. */
function failAll(calls: readonly string[], body: () => void, check: (call: string) => void): number {
  let failures = 0;
  for (const call of calls) {
    for (const { errno } of ERRORS) {
      const times = failEachOnce(call, errno, () => {
        try {
          body();
        } catch (error) {
          if (!isOwnError(error)) throw error;
        }
      });
      check(call);
      failures += times;
      // The body does not make this call.
      if (times === 0) break;
    }
  }
  return failures;
}

function isOwnError(error: unknown): boolean {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  return /^E[A-Z0-9]+$/.test(code ?? "") && (syscall !== undefined || message !== "");
}

describe.skipIf(!ready)("system calls that fail", () => {
  const calls = ready ? (faults()?.faultCalls() ?? []) : [];
  const place = { netns: "", device: "d0" };

  beforeAll(() => {
    place.netns = namespace();
    veth({ netns: place.netns, ifname: "d0" }, { netns: place.netns, ifname: "d1" });
  });

  it("are all that the addon makes", () => {
    const symbols = execFileSync("nm", ["-D", "--undefined-only", addon], { encoding: "utf8" });
    const imported = [...symbols.matchAll(/ U ([a-z]\w*?)(64)?(@\S+)?$/gm)].map(([, name]) => name);
    const own = imported.filter((name) => !/^(napi|uv)_/.test(name) && !HARMLESS.has(name));
    expect(own.length).toBeGreaterThan(20);
    expect(own.filter((name) => !calls.includes(name))).toEqual([]);
  });

  it("do not keep the first TAP of a process from being made afterwards", () => {
    // The namespace that TAPs are born in is made with the first one.
    const hits = ["unshare", "open"].map((call) => {
      return withFault(call, ERRORS[0].errno, call === "unshare" ? 0 : 4, 1, () => {
        expect(() => WORKS[0].run(place)).toThrow("EINTR");
      });
    });
    WORKS[0].run(place);
    expect(hits).toEqual([1, 1]);
  });

  it.each(WORKS)("are told of by $name, which leaves nothing behind", ({ run }) => {
    run(place);
    const before = openDescriptors();
    const failures = failAll(
      calls,
      () => run(place),
      (call) => expect(openDescriptors(), call).toEqual(before),
    );
    run(place);
    expect(failures).toBeGreaterThan(0);
    expect(ip(place.netns, "-br link").match(/^f\d/gm)).toBe(null);
  });

  it("are told of by an engine that is made, and leave the next one what it needs", () => {
    const { memory } = new Harness({ slotCount: 16 });
    const { fd } = native().openPacketSocket({ device: place.device, netns: netnsPath(place.netns) });
    const [control, other] = native().socketPair();
    const work = () => {
      const engine = native().createEngine(memory);
      try {
        engine.addPort(0, fd, 1);
        engine.watchControl(control);
        engine.useRing(true);
        engine.removePort(0);
      } finally {
        engine.close();
      }
    };
    work();
    const before = openDescriptors();
    const failures = failAll(calls, work, (call) => expect(openDescriptors(), call).toEqual(before));
    work();
    expect(failures).toBeGreaterThan(0);
    for (const each of [fd, control, other]) close(each);
  });

  it("make a message wait for its turn where they pass, and are no reason to think that a descriptor is still open", () => {
    const [left, right] = native().socketPair();
    for (const { name, errno } of ERRORS) {
      withFault("sendmsg", errno, 0, 1, () => {
        const send = () => native().sendMessage(left, Buffer.from("x"), []);
        if (["EIO", "ENETDOWN", "EMFILE"].includes(name)) expect(send).toThrow(name);
        else expect(send()).toBe(false);
      });
    }
    withFault("recvmsg", constants.errno.ENOMEM, 0, 1, () => expect(native().receiveMessage(right)).toBe(null));
    withFault("close", constants.errno.EIO, 0, 2, () => [left, right].forEach(close));
    expect(() => close(left)).toThrow("EBADF");
  });

  it("end a process that cannot go back to its own namespace, before it does anything in the other", () => {
    const program = `
      const addon = require(${JSON.stringify(addon)});
      addon.setFault("setns", 12, 1, 1_000_000);
      addon.inNamespace("/proc/self/ns/net", () => {});
      console.log("went on");`;
    const { signal, stdout, stderr } = spawnSync(process.execPath, ["-e", program], { encoding: "utf8" });
    expect(signal).toBe("SIGABRT");
    expect(stdout).toBe("");
    expect(stderr).toContain("cannot return to the network namespace");
  });
});
