import { describe, expect, it } from "vitest";
import { Alarms } from "../../src/dataplane/alarms.ts";
import { udp } from "../support/frames.ts";
import { defaultPlan, TestRouter } from "../support/router.ts";

describe("alarms", () => {
  it("say what was counted, at most once in ten seconds", () => {
    const r = new TestRouter(defaultPlan(), { flows: 4 });
    r.introduce();
    const said: string[] = [];
    const alarms = new Alarms(r.router, (message) => said.push(message));
    const flood = (from: number): void => {
      for (let port = from; port < from + 10; port++) {
        r.fromC1(udp({ source: "10.55.66.2", destination: "203.0.113.2" }, port, 53));
      }
      r.advance(1000);
      alarms.run();
    };
    flood(4000);
    expect(said).toEqual(["flow table full (4 flows): 6 unassured flows ended early"]);
    flood(5000);
    expect(said).toHaveLength(1);
    r.advance(9000);
    alarms.run();
    expect(said[1]).toBe("flow table full (4 flows): 10 unassured flows ended early");
    r.advance(20_000);
    alarms.run();
    expect(said).toHaveLength(2);
  });
});
