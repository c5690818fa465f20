/** What program runs, and having it become another one. */
import { type Static, Type } from "typebox";
import { type ApiRoute, text } from "./api_route.ts";
import { TapirError } from "./errors.ts";
import type { RunningRouter } from "./router.ts";
import type { Upgrade } from "./takeover/upgrade.ts";

const RunningSchema = Type.Object({
  version: Type.String(),
  pid: Type.Integer(),
  dataplanePid: Type.Union([Type.Integer(), Type.Null()]),
  startedAt: Type.String({ description: "ISO 8601. Of the program, not of the process." }),
  failure: Type.Union([Type.String(), Type.Null()], { description: "Why the last upgrade has not come about." }),
});
export type RunningAnswer = Static<typeof RunningSchema>;

export const UPGRADE_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/upgrade",
    summary: "What program runs, and what came of the last upgrade.",
    answer: RunningSchema,
    handle: async (router) => upgradeOf(router).running,
  },
  {
    method: "POST",
    path: "/v1/upgrade",
    summary: "Tries another program, answers with what runs now, and becomes it; the dataplane forwards on meanwhile.",
    query: { program: text("Absolute path of the program; without it, the present one, as it is on disk now.") },
    answer: RunningSchema,
    stream: async (router, request, response) => {
      const upgrade = upgradeOf(router);
      const program = new URL(request.url ?? "/", "http://router").searchParams.get("program") ?? undefined;
      await upgrade.tryProgram(program);
      response.writeHead(200, { "content-type": "application/json" });
      response.end(`${JSON.stringify(upgrade.running)}\n`, () => void upgrade.become(program));
    },
  },
];

function upgradeOf({ upgrade }: RunningRouter): Upgrade {
  if (upgrade === undefined) throw new TapirError("this router was not started by tapir run: it cannot be upgraded");
  return upgrade;
}
