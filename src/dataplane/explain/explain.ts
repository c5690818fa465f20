/** `explain`: a rehearsal, ready to be sent to who asked. */
import { printFrame } from "../../packet/print.ts";
import type { Router } from "../router.ts";
import { fitNumbers } from "./fit_numbers.ts";
import { type Performed, rehearse } from "./rehearse.ts";
import type { Explanation, SentFrame, Walk } from "./steps.ts";
import { portName } from "./texts.ts";

/**
 * What the router would do with a frame (base64) that comes in by a port. With `fitsNumbers`, a segment of a known TCP
 * connection gets numbers that its sender could use now. @throws RangeError
 */
export function explain(router: Router, port: number, frame: string, fitsNumbers: boolean): Explanation {
  const bytes = Uint8Array.from(Buffer.from(frame, "base64"));
  if (fitsNumbers) fitNumbers(router, bytes);
  const { walk, performed } = rehearse(router, port, bytes);
  const sent = performed.map((each) => describe(router, each));
  tellSent(walk, sent);
  return { ...walk, sent };
}

/** A step for each frame that leaves. What the router itself says has its step already: there the ports are told. */
function tellSent({ steps }: Walk, sent: readonly SentFrame[]): void {
  const asked = steps.filter(({ stage }) => stage === "answer" || stage === "question");
  for (const step of asked) {
    const ports = sent.filter(({ own, frame }) => own && frame === step.text).map(({ port }) => port);
    step.text = ports.length === 0 ? `not sent: ${step.text}` : `${ports.join(", ")}: ${step.text}`;
  }
  for (const { own, port, frame, hex } of sent) {
    if (!own)
      steps.push({
        stage: "out",
        text: `${port}: ${macText(hex.slice(12, 24))} > ${macText(hex.slice(0, 12))}, ${frame}`,
      });
  }
}

function macText(hex: string): string {
  return hex.replace(/..(?=.)/g, "$&:");
}

function describe(router: Router, { port, own, bytes, vnetHeader }: Performed): SentFrame {
  return {
    port: portName(router, port),
    own,
    frame: printFrame(new DataView(bytes.buffer, bytes.byteOffset), 0, bytes.length),
    hex: Buffer.from(bytes).toString("hex"),
    vnetHeader: Buffer.from(vnetHeader).toString("hex"),
  };
}
