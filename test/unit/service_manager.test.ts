/** What a service manager is told, and when the watchdog goes hungry. */
import { describe, expect, it } from "vitest";
import { ServiceManager } from "../../src/control/service_manager.ts";

const PATH = "/run/notify";

function manager(environment: NodeJS.ProcessEnv): {
  told: string[];
  service: ServiceManager;
  heard: () => Promise<void>;
} {
  const told: string[] = [];
  let hear = (): void => {};
  const notify = (path: string, text: string): void => {
    expect(path).toBe(PATH);
    told.push(text);
    hear();
  };
  const service = new ServiceManager(environment, notify, 42);
  return { told, service, heard: () => new Promise((resolve) => (hear = resolve)) };
}

describe("a service manager", () => {
  it("is told the states of a router's life", () => {
    const { told, service } = manager({ NOTIFY_SOCKET: PATH });
    service.ready("2 ports");
    service.reloading();
    service.ready("3 ports");
    service.stopping();
    expect(told[0]).toBe("READY=1\nSTATUS=2 ports");
    expect(told[1]).toMatch(/^RELOADING=1\nMONOTONIC_USEC=\d+$/);
    expect(told.slice(2)).toEqual(["READY=1\nSTATUS=3 ports", "STOPPING=1\nSTATUS=ending"]);
  });

  it("is told nothing where there is none", () => {
    const { told, service } = manager({ WATCHDOG_USEC: "1000" });
    service.ready("2 ports");
    service.watch(() => Promise.reject(new Error("asked")));
    service.stopping();
    expect(told).toEqual([]);
  });

  it("that has failed is no trouble for the router", () => {
    const service = new ServiceManager({ NOTIFY_SOCKET: PATH }, () => {
      throw new Error("ECONNREFUSED");
    });
    expect(() => service.ready("2 ports")).not.toThrow();
  });

  it("has its watchdog fed again and again, until the router ends", async () => {
    const { told, service, heard } = manager({ NOTIFY_SOCKET: PATH, WATCHDOG_USEC: "3000", WATCHDOG_PID: "42" });
    service.watch(() => Promise.resolve());
    for (let feeds = 0; feeds < 3; feeds++) await heard();
    expect(new Set(told)).toEqual(new Set(["WATCHDOG=1"]));
    service.stopping();
    expect(told.at(-1)).toMatch(/^STOPPING=1/);
  });

  it("feeds no watchdog of another process", () => {
    const { told, service } = manager({ NOTIFY_SOCKET: PATH, WATCHDOG_USEC: "3000", WATCHDOG_PID: "41" });
    service.watch(() => Promise.reject(new Error("asked")));
    expect(told).toEqual([]);
  });

  it("is told nothing while the dataplane does not answer, and fed once it does", async () => {
    const { told, service, heard } = manager({ NOTIFY_SOCKET: PATH, WATCHDOG_USEC: "3000" });
    let asked = 0;
    let answer = (): void => {};
    service.watch(() => {
      asked++;
      return asked === 1 ? Promise.reject(new Error("no answer")) : new Promise<void>((resolve) => (answer = resolve));
    });
    while (asked < 2) await new Promise((resolve) => setImmediate(resolve));
    // One question at a time: the second waits for its answer, however long.
    for (let turns = 0; turns < 1000; turns++) await new Promise((resolve) => setImmediate(resolve));
    expect([asked, told.length]).toEqual([2, 0]);
    const fed = heard();
    answer();
    await fed;
    expect(told).toEqual(["WATCHDOG=1"]);
    service.stopping();
  });
});
