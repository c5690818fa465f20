import { expect, it } from "vitest";
import { isNamespace } from "../../src/control/network_namespace.ts";
import { temporaryFolder } from "../support/temporary.ts";

it("tells a namespace from the file that one was mounted on, and from nothing", () => {
  expect(isNamespace("/proc/self/ns/net")).toBe(true);
  const file = temporaryFolder({ c1: "" }, "c1");
  expect(isNamespace(file)).toBe(false);
  expect(isNamespace(`${file}0`)).toBe(false);
});
