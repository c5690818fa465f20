/** Makes a failing case smaller, as long as it fails in the same way. */
import { attempt } from "./campaign.ts";
import type { Target } from "./target.ts";

/** Attempts before the smallest so far is taken. */
const MOST_ATTEMPTS = 1_500;

export async function minimise(
  target: Target,
  input: unknown,
  message: string,
): Promise<{ input: unknown; message: string }> {
  let smallest = input;
  let said = message;
  for (let left = MOST_ATTEMPTS, isSmaller = true; isSmaller && left > 0; ) {
    isSmaller = false;
    for (const candidate of target.shrink(smallest)) {
      if (left-- <= 0) break;
      const tried = await attempt(target, candidate);
      if (tried.message === undefined || kindOf(tried.message) !== kindOf(message)) continue;
      smallest = candidate;
      said = tried.message;
      isSmaller = true;
      break;
    }
  }
  return { input: smallest, message: said };
}

/** The same failure may speak of other numbers. */
function kindOf(message: string): string {
  return message
    .split("\n")[0]
    .replace(/[\da-f:.]+/gi, "#")
    .slice(0, 60);
}
