// What the build needs, checked before it begins: one line says what is missing and how to get it.
import { execFileSync } from "node:child_process";

function fail(message) {
  console.error(`tapir: ${message}`);
  process.exit(1);
}

function runs(command, ...words) {
  try {
    execFileSync(command, words, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

if (process.platform !== "linux") fail(`it runs on Linux only, not on ${process.platform}`);

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Node.js 20.19 or newer is needed, this is ${process.versions.node}: see https://nodejs.org`);
}

const missing = Object.entries({
  python3: ["python3", "--version"],
  make: ["make", "--version"],
  gcc: ["cc", "--version"],
  "g++": ["c++", "--version"],
}).filter(([, words]) => !runs(...words));
if (missing.length > 0) {
  const names = missing.map(([name]) => name);
  fail(`the addon cannot be built without ${names.join(", ")}: apt-get install -y ${names.join(" ")}`);
}
