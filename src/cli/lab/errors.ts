/** An end of the lab that the user is told in one line, with the exit code that belongs to it. */
export class LabError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Exit code for a missing privilege or kernel feature. */
export const MISSING_FEATURE = 5;
