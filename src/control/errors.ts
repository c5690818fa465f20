/** Errors that a user is told in one line, with the exit code that belongs to them. */

export const ExitCode = {
  DONE: 0,
  FAILED: 1,
  USAGE: 2,
  CONFIGURATION: 3,
  NO_ROUTER: 4,
  PRIVILEGE: 5,
  /** An assertion does not hold. */
  ASSERTION: 6,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

export class TapirError extends Error {
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = ExitCode.FAILED) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** There is nothing of the name that was asked for. */
export class UnknownNameError extends TapirError {}

/** The dataplane has ended and is being started again: ask again in a moment. */
export class DataplaneDownError extends TapirError {}

/** An error of the addon or of Node: code is the errno's name. */
export interface SystemError extends Error {
  code?: string;
  syscall?: string;
}
