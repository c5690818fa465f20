/** What the router knows of devices while it cannot ask for them. */
import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LinkWatch } from "../../src/control/uplinks/link_watch.ts";
import { native } from "../../src/io/native.ts";

/** An own namespace by its path: asked, not subscribed to. */
const PATH = "/proc/self/ns/net";

function refused(code: string): never {
  throw Object.assign(new Error(`openRouteNetlink: ${code}`), { code });
}

describe.skipIf(!existsSync("/proc/self/ns/net") || process.getuid?.() !== 0)("devices that are followed", () => {
  let told: string[];
  let failures: string[];
  let watch: LinkWatch;

  beforeEach(() => {
    told = [];
    failures = [];
    watch = new LinkWatch(
      (_, ifname) => told.push(ifname),
      (why) => failures.push(why),
      () => {},
    );
  });

  afterEach(() => {
    watch.close();
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  it.each(["EMFILE", "ENOMEM", "ENOBUFS"])("are not taken for gone when a namespace cannot be asked (%s)", (code) => {
    watch.setNamespaces([PATH]);
    expect(watch.get(PATH, "lo")?.isThere).toBe(true);
    const asked = vi.spyOn(native(), "openRouteNetlink").mockImplementation(() => refused(code));
    told.length = 0;
    watch.refresh();
    expect(asked).toHaveBeenCalled();
    expect(watch.get(PATH, "lo")?.isThere).toBe(true);
    expect(told).toEqual([]);
  });

  it("are gone with their namespace", () => {
    watch.setNamespaces(["/run/netns/there-is-none-of-this-name"]);
    expect(watch.get("/run/netns/there-is-none-of-this-name", "lo")?.isThere).toBe(false);
  });

  it("are followed later when the socket cannot be had at first, and again when it fails", () => {
    vi.useFakeTimers();
    const open = native().openRouteNetlink;
    const opening = vi.spyOn(native(), "openRouteNetlink").mockImplementation(() => refused("EMFILE"));
    watch.setNamespaces([undefined]);
    expect(watch.get(undefined, "lo")).toBe(undefined);
    expect(failures).toHaveLength(1);
    opening.mockImplementation((options) => open(options));
    vi.advanceTimersByTime(1000);
    watch.refresh();
    expect(watch.get(undefined, "lo")?.isThere).toBe(true);
    const reading = vi.spyOn(native(), "receiveMessage").mockImplementation(() => refused("EIO"));
    watch.refresh();
    expect(failures).toHaveLength(2);
    expect(watch.get(undefined, "lo")?.isThere).toBe(true);
    reading.mockRestore();
    opening.mockClear();
    vi.advanceTimersByTime(1000);
    expect(opening).toHaveBeenCalledTimes(1);
    expect(failures).toHaveLength(2);
  });
});
