// The addon's own tests with AddressSanitizer and UndefinedBehaviorSanitizer, and with system calls that can be made to fail
// (native/src/faults.h): builds it anew in a folder that is removed again, and has the tests load that build. The first
// thing that a sanitizer finds fails the test that did it.
//
// npm run test:sanitized        (npm brings node-gyp)
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

function runtime(name) {
  const path = execFileSync("cc", [`-print-file-name=${name}`], { encoding: "utf8" }).trim();
  // Without it the compiler answers with the bare name.
  if (existsSync(path)) return path;
  console.error(`tapir: the compiler has no ${name}: apt-get install -y gcc`);
  process.exit(1);
}

const preload = ["libasan.so", "libubsan.so"].map(runtime).join(" ");
const folder = mkdtempSync(join(tmpdir(), "tapir-sanitized-"));
let status = 1;
try {
  for (const part of ["binding.gyp", "src"]) cpSync(join("native", part), join(folder, part), { recursive: true });
  execFileSync("node-gyp", ["rebuild", "--silent", "-C", folder, "--", "-Dsanitize=true", "-Dfaults=true"], {
    stdio: "inherit",
  });
  const environment = {
    ...process.env,
    TAPIR_ADDON: join(folder, "build/Release/tapir.node"),
    LD_PRELOAD: preload,
    // Node itself keeps what it has allocated until it ends.
    ASAN_OPTIONS: "detect_leaks=0:abort_on_error=1",
    UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
  };
  const tests = spawnSync("vitest", ["run", "test/native"], { stdio: "inherit", env: environment });
  status = tests.status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(status);
