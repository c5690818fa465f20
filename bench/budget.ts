/**
 * What fits into the time. Each request is for rounds of one unit of work; what matters most gets the rounds that a
 * verdict needs first, then everything one round, then another.
 */

export interface Request {
  readonly name: string;
  /** About what one round takes. */
  readonly seconds: number;
  /** Rounds done already. */
  readonly done: number;
  /** Rounds that a verdict needs. */
  readonly wanted: number;
  /** Rounds after which more say nothing. */
  readonly most: number;
  /** A goal depends on it. */
  readonly isGoal: boolean;
}

/**
 * Further rounds for each request, in their order, that together take at most `seconds`. The goals' requests get what
 * they want in the order of the list; what is left goes round by round, in that order too. `most` is finite.
 */
export function allotRounds(requests: readonly Request[], seconds: number): number[] {
  const further = requests.map(() => 0);
  let left = seconds;
  const raise = (request: Request, index: number, rounds: number): void => {
    const enough = Math.min(rounds, request.most);
    while (request.done + further[index] < enough && request.seconds <= left) {
      left -= request.seconds;
      further[index]++;
    }
  };
  requests.forEach((request, index) => {
    if (request.isGoal) raise(request, index, request.wanted);
  });
  const most = Math.max(0, ...requests.map((request) => request.most));
  for (let rounds = 1; rounds <= most; rounds++) {
    requests.forEach((request, index) => {
      raise(request, index, rounds);
    });
  }
  return further;
}

/** What a request did not get, in words; undefined where it got what it wanted. */
export function shortfall(request: Request): string | undefined {
  const wanted = Math.min(request.wanted, request.most);
  if (request.done >= wanted) return undefined;
  if (request.done === 0) return `${request.name}: skipped, the time was over`;
  return `${request.name}: ${request.done} of ${wanted} rounds, the time was over`;
}
