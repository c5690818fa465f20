/** Attaching and detaching over HTTP. */
import type { ApiRoute } from "./api_route.ts";
import { AttachedSchema, AttachSchema, DetachedSchema } from "./api_schemas.ts";
import { type AttachRequest, attach, detach } from "./attach.ts";

export const ATTACH_ROUTES: readonly ApiRoute[] = [
  {
    method: "POST",
    path: "/v1/ports",
    summary: "Attaches a container to a network.",
    body: AttachSchema,
    answer: AttachedSchema,
    handle: (router, { body }) => attach(router, body as AttachRequest),
  },
  {
    method: "DELETE",
    path: "/v1/ports/{name}",
    summary: "Detaches a container.",
    answer: DetachedSchema,
    handle: (router, { params }) => detach(router, params.name),
  },
];
