/**
 * The commands of `tapir conntrack` on a running router beside conntrack(8) on the kernel's, after the same packets:
 * the same lines on both streams and the same exit codes, but for time left and ids.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { exec, must, ping, type Result, type Running, requireSystem, spawnIn, TAPIR } from "../support/netns.ts";
import { Address, kernelWorld, tapirWorld, type World } from "./worlds.ts";

const canRun = requireSystem(["ping", "iptables", "conntrack"], "conntrack(8) beside tapir conntrack's commands");

function run(world: World, ...words: string[]): Result {
  if (world.tapir === undefined) return exec(world.router, "conntrack", words);
  return world.tapir.tapir("conntrack", ...words);
}

function follow(world: World, ...words: string[]): Running {
  if (world.tapir === undefined) return spawnIn(world.router, "conntrack", ["-E", ...words]);
  return spawnIn(undefined, process.execPath, [TAPIR, "conntrack", "-E", ...words, "--socket", world.tapir.socket]);
}

/** Without what differs between two runs: time left, ids, when, and who it was that deleted a flow. */
function comparable(text: string): string[] {
  return text
    .split("\n")
    .map((line) =>
      line
        .replace(/\b(icmp|udp|tcp)( +\d+) \d+ /, "$1$2 TIME ")
        .replace(/\bid=\d+/g, "id=ID")
        .replace(/^\[\d+\.\d{6}\]\t/, "[WHEN]\t")
        .replace(/ \[USERSPACE\] portid=\d+( +progname=\S+)?/, ""),
    )
    .sort();
}

const outcome = ({ status, stdout, stderr }: Result) => ({
  status,
  stdout: comparable(stdout),
  stderr: stderr.trim(),
});

function datagram(world: World, from: number, to: number): void {
  const script = `require("dgram").createSocket("udp4").bind(${from}, function () {
    this.send("x", ${to}, "${Address.SERVER}", () => this.close()) })`;
  must(world.c1, process.execPath, ["-e", script]);
}

/** What is in the table for all commands: an answered ping, two unanswered datagrams. */
function talk(world: World): void {
  expect(ping(world.c1, Address.SERVER, "-e", "77")).toBe(true);
  datagram(world, 4000, 9);
  datagram(world, 4001, 10);
}

/** Follows events, and returns once it surely does: pings until one is told of. */
async function listen(world: World, ...words: string[]): Promise<Running> {
  const running = follow(world, ...words);
  const told = running.until(/./);
  let isTold = false;
  told.then(
    () => {
      isTold = true;
    },
    () => {},
  );
  while (!isTold) {
    run(world, "-F");
    ping(world.c1, Address.SERVER);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await told;
  return running;
}

const LISTINGS = [
  "-L",
  "-L conntrack",
  "-L -o extended",
  "-L -o extended,id",
  "-L -o timestamp",
  "-L -p icmp",
  "-L -p 17",
  "-L -p 99",
  "-L -s 10.55.66.0/24 -p udp",
  "-L --orig-src 10.55.66.2 --orig-dst 203.0.113.2",
  "-L --src 10.55.66.3",
  "-L --dst 203.0.113.0/30",
  "-L -r 203.0.113.2 -q 203.0.113.1",
  "-L --reply-dst 203.0.113.2",
  "-L -p udp --sport 4000",
  "-L -p udp --orig-port-src 4001",
  "-L -p udp --dport 10",
  "-L -p udp --orig-port-dst 11",
  "-L -p udp --reply-port-src 9",
  "-L -p udp --reply-port-dst 4001",
  "-L -p tcp --state ESTABLISHED",
  "-L -u UNREPLIED",
  "-L -u SEEN_REPLY",
  "-L --status ASSURED",
  "-L -m 0 -p icmp",
  "-L -m 1",
  "-L -m 0/0xff",
  "-L -n",
  "-L -n 203.0.113.1",
  "-L -n 203.0.113.7",
  "-L -p icmp --icmp-type 8 --icmp-code 0",
  "-L -p icmp --icmp-type 13",
  "-L -f ipv4",
  "-L -f ipv6",
];

describe.skipIf(!canRun)("the commands of tapir conntrack", () => {
  let theirs: World;
  let ours: World;

  beforeAll(async () => {
    theirs = await kernelWorld();
    must(theirs.router, "sh", ["-c", "echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct"]);
    // The kernel's router talks for itself too.
    must(theirs.router, "iptables", ["-w", "-t", "raw", "-A", "OUTPUT", "-p", "igmp", "-j", "DROP"]);
    run(theirs, "-F");
    ours = await tapirWorld();
  });

  function both(...words: string[]): { theirs: object; ours: object } {
    return { theirs: outcome(run(theirs, ...words)), ours: outcome(run(ours, ...words)) };
  }

  function refill(): void {
    for (const world of [theirs, ours]) {
      run(world, "-F");
      talk(world);
    }
  }

  it("-L prints the flows of each filter as conntrack(8) does", { timeout: 120_000 }, () => {
    for (const [index, command] of LISTINGS.entries()) {
      // Before the flows expire.
      if (index % 8 === 0) refill();
      const { theirs: expected, ours: got } = both(...command.split(" "));
      expect([command, got]).toEqual([command, expected]);
    }
  });

  it.each(["-D -p udp --dport 11", "-D -p udp --dport 9", "-D -p icmp -o extended,id", "-D -s 10.55.66.0/24", "-F"])(
    "%s does and prints what conntrack(8) does",
    (command) => {
      refill();
      const { theirs: expected, ours: got } = both(...command.split(" "));
      expect(got).toEqual(expected);
      const { theirs: left, ours: own } = both("-C");
      expect(own).toEqual(left);
    },
  );

  it.each([
    "-L --cats",
    "-L -p cats",
    "-L -p tcp --state CATS",
    "-L --state ESTABLISHED",
    "-L --sport 1",
    "-L -s cats",
    "-L -s 10.55.66.0/33",
    "-L -u CATS",
    "-L -f cats",
    "-L -o cats",
    "-L -C",
    "-L cats",
    "-L -e NEW",
    "-C -p tcp",
    "-F -p tcp",
    "-S -p tcp",
    "-E -e CATS",
  ])("%s is refused in one line with exit code 2, as by conntrack(8)", (command) => {
    const words = command.split(" ");
    expect(run(theirs, ...words).status).toBe(2);
    const { status, stdout, stderr } = run(ours, ...words);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^tapir: [^\n]+\n$/);
  });

  it("-D ends the connection for good: its next packet opens another flow", () => {
    refill();
    expect(run(ours, "-D", "-p", "udp", "--sport", "4000").status).toBe(0);
    datagram(ours, 4000, 9);
    expect(run(ours, "-L", "-p", "udp", "--sport", "4000").stdout).toMatch(/packets=1 .*\[UNREPLIED\].*sport=9/);
  });

  it("-S prints conntrack's counters, those that there are", () => {
    expect(run(ours, "-S").stdout).toMatch(
      /^cpu=0 {3}\tinvalid=\d+ insert=[1-9]\d* insert_failed=0 drop=0 early_drop=0 error=0 search_restart=0 clash_resolve=0 chaintoolong=0 \n$/,
    );
    expect(run(ours, "-S", "-j").stdout).toMatch(/^\{"invalid":\d+,"insert":/);
  });

  it("-E tells of the same events", async () => {
    const listing = async (world: World) => {
      const running = await listen(world, "-o", "timestamp,extended,id");
      const before = running.stdout().length;
      run(world, "-F");
      talk(world);
      run(world, "-D", "-p", "icmp");
      run(world, "-F");
      // One table is emptied from its beginning, the other from wherever its hash says.
      await Promise.all([4000, 4001].map((port) => running.until(new RegExp(`DESTROY.* udp .*sport=${port}`))));
      expect(await running.stop("SIGINT")).toBe(0);
      expect(running.stderr()).toMatch(/^conntrack v1\.4\.7 \(conntrack-tools\): \d+ flow events have been shown\.\n$/);
      // Of pings there may be more from before: each kind of line counts once.
      return [...new Set(comparable(running.stdout().slice(before)))];
    };
    const expected = await listing(theirs);
    // A ping begins, is answered and ends; two datagrams begin and end; and the empty line after the last.
    expect(expected).toHaveLength(3 + 4 + 1);
    expect(await listing(ours)).toEqual(expected);
  });

  it("-E filters by kind and flow, and prints JSON", async () => {
    const running = await listen(ours, "-e", "DESTROY", "-j");
    refill();
    run(ours, "-D", "-p", "udp");
    await running.until(/"protocol":"udp"/);
    await running.stop("SIGINT");
    const events = running
      .stdout()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string });
    expect(new Set(events.map(({ event }) => event))).toEqual(new Set(["DESTROY"]));
  });

  it("-E ends quietly with its reader, and with an error when the router ends", async () => {
    const world = await tapirWorld();
    const socket = (world.tapir as NonNullable<World["tapir"]>).socket;
    const command = `"${process.execPath}" "${TAPIR}" conntrack -E --socket ${socket}`;
    const head = spawnIn(undefined, "bash", ["-c", `set -o pipefail; ${command} | head -1`]);
    const other = follow(world);
    const isOver = Promise.all([head.ended, other.until(/NEW/)]);
    let over = false;
    void isOver.then(() => {
      over = true;
    });
    while (!over) {
      run(world, "-F");
      ping(world.c1, Address.SERVER);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect([await head.ended, head.stderr()]).toEqual([0, ""]);
    await world.tapir?.stop();
    expect(await other.ended).toBe(4);
    expect(other.stderr()).toBe("tapir: the router has ended\n");
  });
});
