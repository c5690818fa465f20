/** Errors as a CNI runtime is told them: JSON on stdout, with a code of the specification's or of the plugin's own. */

/** Section 2, "Error", of the specification; from 100 on they are a plugin's own. */
export const Code = {
  INCOMPATIBLE_VERSION: 1,
  UNSUPPORTED_FIELD: 2,
  UNKNOWN_CONTAINER: 3,
  INVALID_ENVIRONMENT: 4,
  IO_FAILURE: 5,
  DECODING_FAILURE: 6,
  INVALID_CONFIGURATION: 7,
  TRY_AGAIN_LATER: 11,
  /** Of STATUS. */
  NOT_AVAILABLE: 50,
  /** The router does not do what it is asked. */
  REFUSED: 100,
  /** CHECK has found that something is not as ADD has left it. */
  CHECK_FAILED: 101,
  /** A delegated plugin is not there, or has failed without saying why. */
  DELEGATE_FAILED: 102,
  /** A fault of the plugin's own. */
  INTERNAL: 999,
} as const;

export class CniError extends Error {
  readonly code: number;
  readonly details: string | undefined;

  constructor(code: number, message: string, details?: string) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** A wrong value is quoted as JSON, and no longer than a line. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length <= 120 ? text : `${text.slice(0, 117)}...`;
}
