#!/usr/bin/env node
/** The executable that a container runtime runs as a CNI plugin. */
import { answerTo } from "./plugin.ts";

let input = "";
for await (const chunk of process.stdin.setEncoding("utf8")) input += chunk;
const { status, output } = await answerTo(process.env, input);
process.stdout.write(output);
process.exitCode = status;
