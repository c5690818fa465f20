import { describe, expect, it } from "vitest";
import { LogSink } from "../../src/control/log_sink.ts";

/** Something to write to that can be full, or take a part only. */
function place() {
  const at = { text: "", isFull: false, most: Number.MAX_SAFE_INTEGER };
  const put = (bytes: Uint8Array): number => {
    if (at.isFull) throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    const taken = bytes.subarray(0, at.most);
    at.text += Buffer.from(taken).toString();
    return taken.length;
  };
  return { at, sink: new LogSink((lines) => `${lines} lost\n`, put) };
}

describe("where the log goes", () => {
  it("loses lines while it is full, and says how many once it is not", () => {
    const { at, sink } = place();
    sink.write("one\n");
    at.isFull = true;
    for (const line of ["two\n", "three\n"]) sink.write(line);
    at.isFull = false;
    sink.write("four\n");
    sink.write("five\n");
    expect(at.text).toBe("one\n2 lost\nfour\nfive\n");
  });

  it("gets whole lines although it takes a part at a time", () => {
    const { at, sink } = place();
    at.most = 3;
    sink.write("a longer line\n");
    expect(at.text).toBe("a longer line\n");
  });
});
