/** Writes what is published of the schemas (`npm run schema`): configuration and API. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../io/package_root.ts";
import { ROUTES } from "../api_routes.ts";
import { assertionsSchemaText } from "../experiments/schema_assertions.ts";
import { openApiText } from "../openapi.ts";
import { schemaText, withKeyTables } from "./reference.ts";

const root = packageRoot();
const documentation = join(root, "docs/configuration.md");
mkdirSync(join(root, "schema"), { recursive: true });
writeFileSync(join(root, "schema/tapir.schema.json"), schemaText());
writeFileSync(join(root, "schema/assertions.schema.json"), assertionsSchemaText());
writeFileSync(join(root, "schema/openapi.json"), openApiText(ROUTES));
writeFileSync(documentation, withKeyTables(readFileSync(documentation, "utf8")));
