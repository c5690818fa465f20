/** tapir top against a router that runs: in batches, and on a terminal of 80x24 that changes its size. */
import { describe, expect, it } from "vitest";
import type { TopView } from "../../src/cli/top/model.ts";
import { exec, must, namespace, ping, requireSystem, startRouter, TAPIR } from "../support/netns.ts";

const canRun = requireSystem(["ping", "python3"], "tapir top");

/**
 * Runs a command on a terminal of its own (pty(7)), 80x24: waits for each text in turn, then does what belongs to it:
 * presses keys, changes the size, or kills a process. Prints the exit code, what has come, and whether the terminal is as
 * it was before.
 */
const PTY = `
import fcntl, json, os, pty, select, signal, struct, sys, termios
steps, command = json.loads(sys.argv[1]), sys.argv[2:]
master, slave = pty.openpty()
def resize(rows, columns): fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
resize(24, 80)
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.setsid(); fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2): os.dup2(slave, fd)
    os.close(master); os.execvp(command[0], command)
seen, at, pieces = "", 0, []
for step in steps:
    while step["until"] not in seen[at:]:
        if not select.select([master], [], [], 20)[0]: print("TIMEOUT waiting for " + step["until"] + repr(seen[-3000:])); os.kill(pid, 9); sys.exit(1)
        seen += os.read(master, 65536).decode("utf8", "replace")
    pieces.append(seen[at:]); at = len(seen)
    if "keys" in step: os.write(master, step["keys"].encode())
    if "size" in step: resize(*step["size"])
    if "kill" in step: os.kill(step["kill"], signal.SIGTERM)
    if "signal" in step: os.kill(pid, step["signal"])
while True:
    ended, status = os.waitpid(pid, os.WNOHANG)
    while select.select([master], [], [], 0.02)[0]: seen += os.read(master, 65536).decode("utf8", "replace")
    if ended: break
print(json.dumps({"code": os.waitstatus_to_exitcode(status), "seen": seen, "pieces": pieces, "restored": termios.tcgetattr(slave) == before}))
`;

interface Step {
  until: string;
  keys?: string;
  size?: [rows: number, columns: number];
  kill?: number;
  signal?: number;
}

interface Ended {
  code: number;
  seen: string;
  /** What had come at each step, since the one before. */
  pieces: string[];
  restored: boolean;
}

function onTerminal(steps: Step[], words: string[]): Ended {
  const command = [process.execPath, TAPIR, ...words];
  return JSON.parse(must(undefined, "python3", ["-c", PTY, JSON.stringify(steps), ...command])) as Ended;
}

const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const BEGIN = "\x1b[?2026h";
const END = "\x1b[?2026l";

/** The lines of the last whole frame that was drawn. */
function lastFrame(text: string): string[] {
  const frames = text.split(BEGIN).flatMap((part) => (part.includes(END) ? part.split(END)[0] : []));
  // Each line is put into its row (CSI row;1H), and the rest of that cleared (CSI K).
  const parts = (frames.at(-1) ?? "").split("\x1b[").filter((part) => part.includes(";1H"));
  return parts.map((part) => part.slice(part.indexOf("H") + 1));
}

const configuration = (netns: string): string => `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: ${netns}, address: 10.55.66.2, defaultRoute: true } } } }
`;

describe.skipIf(!canRun)("tapir top", () => {
  it("prints views for scripts", async () => {
    const c1 = namespace("c");
    const router = await startRouter(configuration(c1));
    expect(ping(c1, "10.55.66.1")).toBe(true);
    const lines = router.mustTapir("top", "-b", "-n", "2", "-d", "0.3", "-j").trim().split("\n");
    const views = lines.map((line) => JSON.parse(line) as TopView);
    expect(views.map(({ ports }) => ports.map(({ name }) => name))).toEqual([["c1"], ["c1"]]);
    expect(views[0].seconds).toBeGreaterThan(0.2);
    const text = router.mustTapir("top", "--once", "-d", "0.1");
    expect(text).toMatch(/^tapir \S+, up 0:\d\d:\d\d, cpu: dataplane \d+ %, control \d+ %\n/);
    expect(text).toMatch(/\nPORT +INTERFACE .*\nc1 +lab /);
    // Neither a terminal nor -b: as with -b.
    expect(router.tapir("top", "-n", "1", "-d", "0.1").stdout).toMatch(/^tapir /);
    for (const words of [
      ["-d", "0"],
      ["-n", "x"],
      ["--flows", "101"],
      ["--sort", "size"],
    ]) {
      expect(router.tapir("top", ...words)).toMatchObject({ status: 2, stdout: "" });
    }
    expect(exec(undefined, process.execPath, [TAPIR, "top", "--once", "--socket", "/none"]).status).toBe(4);
  });

  it("lives on a terminal: keys, another size, and everything as it was in the end", async () => {
    const router = await startRouter(configuration(namespace("c")));
    const words = ["top", "-d", "0.2", "--socket", router.socket];
    const { code, seen, pieces, restored } = onTerminal(
      [
        { until: "every 0.2 s", keys: "s" },
        { until: "sort (bytes)", keys: "p" },
        { until: "paused", size: [12, 60] },
        { until: "paused", keys: "p" },
        { until: "every 0.2 s", keys: "q" },
      ],
      words,
    );
    expect([code, restored]).toEqual([0, true]);
    expect(seen.startsWith(ENTER)).toBe(true);
    expect(seen.endsWith(LEAVE)).toBe(true);
    for (const [piece, rows, columns] of [
      [pieces[0], 24, 80],
      [pieces[3], 12, 60],
    ] as const) {
      const frame = lastFrame(piece);
      expect(frame).toHaveLength(rows);
      for (const line of frame) expect(line.length).toBeLessThanOrEqual(columns);
      expect(frame[0]).toMatch(/^tapir /);
    }
  });

  it("gives the terminal back when it is ended by a signal, and when the router ends", async () => {
    const router = await startRouter(configuration(namespace("c")));
    const words = ["top", "-d", "0.2", "--socket", router.socket];
    const ended = onTerminal([{ until: "every 0.2 s", signal: 15 }], words);
    expect([ended.code, ended.restored]).toEqual([0, true]);
    expect(ended.seen.endsWith(LEAVE)).toBe(true);
    const left = onTerminal([{ until: "every 0.2 s", kill: router.child.pid as number }], words);
    expect([left.code, left.restored]).toEqual([4, true]);
    expect(left.seen.split(LEAVE)[1]).toMatch(/^tapir: .*\r\n$/);
  });
});
