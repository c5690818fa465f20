/**
 * The program that an expression becomes, and the machine that runs it over a packet: the instructions of the BSD packet
 * filter (McCanne and Jacobson, USENIX 1993; net/bpf.h), with an accumulator A, an index register X and sixteen words to
 * keep intermediate results in. It is plain data and travels as JSON.
 *
 * An instruction is four words: code, constant, and where to go on when a comparison holds and when not (counted from the
 * program's start). Jumps go forward only, so a program of n instructions ends within n steps. A load beyond the packet's
 * end ends it, and the packet is not selected: also not by `not`.
 */
export const INSTRUCTION_WORDS = 4;
/** Intermediate results. */
export const MEMORY_WORDS = 16;

/** Codes; arithmetic and comparisons take the constant, or X where the bit X is set. */
export const Code = {
  LOAD_WORD: 0x20,
  LOAD_HALF: 0x28,
  LOAD_BYTE: 0x30,
  /** At X plus the constant. */
  INDEX_WORD: 0x40,
  INDEX_HALF: 0x48,
  INDEX_BYTE: 0x50,
  LOAD_CONSTANT: 0x00,
  LOAD_MEMORY: 0x60,
  LOAD_LENGTH: 0x80,
  /** X becomes the length of the IPv4 header that begins at the constant. */
  HEADER_LENGTH: 0xb1,
  STORE: 0x02,
  ADD: 0x04,
  SUBTRACT: 0x14,
  MULTIPLY: 0x24,
  DIVIDE: 0x34,
  OR: 0x44,
  AND: 0x54,
  SHIFT_LEFT: 0x64,
  SHIFT_RIGHT: 0x74,
  NEGATE: 0x84,
  MODULO: 0x94,
  XOR: 0xa4,
  EQUAL: 0x15,
  GREATER: 0x25,
  GREATER_EQUAL: 0x35,
  /** A and the operand have a bit in common. */
  ANY_BIT: 0x45,
  RETURN: 0x06,
  A_TO_X: 0x07,
  X_TO_A: 0x87,
  /** Set in a code of arithmetic or comparison: the operand is X. */
  X: 0x08,
} as const;

export type Program = Int32Array;

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { ADD, AND, ANY_BIT, A_TO_X, DIVIDE, EQUAL, GREATER, GREATER_EQUAL, HEADER_LENGTH, INDEX_BYTE, INDEX_HALF } =
  Code;
const { INDEX_WORD, LOAD_BYTE, LOAD_CONSTANT, LOAD_HALF, LOAD_LENGTH, LOAD_MEMORY, LOAD_WORD, MODULO, MULTIPLY } = Code;
const { NEGATE, OR, RETURN, SHIFT_LEFT, SHIFT_RIGHT, STORE, SUBTRACT, X: USES_X, XOR, X_TO_A } = Code;

const scratch = new Int32Array(MEMORY_WORDS);

/**
 * Whether the program selects the packet of `length` bytes at `at`. `wireLength` is how long it was before it was cut.
 * Neither allocates nor throws, whatever the bytes are.
 */
export function selects(program: Program, memory: DataView, at: number, length: number, wireLength = length): boolean {
  let a = 0;
  let x = 0;
  for (let next = 0; ; next += INSTRUCTION_WORDS) {
    const code = program[next];
    const k = program[next + 1];
    switch (code) {
      case LOAD_WORD:
        if (k + 4 > length) return false;
        a = memory.getInt32(at + k);
        break;
      case LOAD_HALF:
        if (k + 2 > length) return false;
        a = memory.getUint16(at + k);
        break;
      case LOAD_BYTE:
        if (k + 1 > length) return false;
        a = memory.getUint8(at + k);
        break;
      case INDEX_WORD:
        if (x < 0 || x > length - k - 4) return false;
        a = memory.getInt32(at + x + k);
        break;
      case INDEX_HALF:
        if (x < 0 || x > length - k - 2) return false;
        a = memory.getUint16(at + x + k);
        break;
      case INDEX_BYTE:
        if (x < 0 || x > length - k - 1) return false;
        a = memory.getUint8(at + x + k);
        break;
      case LOAD_CONSTANT:
        a = k;
        break;
      case LOAD_MEMORY:
        a = scratch[k];
        break;
      case LOAD_LENGTH:
        a = wireLength;
        break;
      case HEADER_LENGTH:
        if (k + 1 > length) return false;
        x = (memory.getUint8(at + k) & 0xf) << 2;
        break;
      case STORE:
        scratch[k] = a;
        break;
      case A_TO_X:
        x = a;
        break;
      case X_TO_A:
        a = x;
        break;
      case NEGATE:
        a = -a | 0;
        break;
      case RETURN:
        return k !== 0;
      default: {
        const operand = (code & USES_X) === 0 ? k : x;
        if ((code & 7) === 5) {
          next = program[next + (compare(code & ~USES_X, a, operand) ? 2 : 3)] - INSTRUCTION_WORDS;
        } else {
          if (operand === 0 && ((code & ~USES_X) === DIVIDE || (code & ~USES_X) === MODULO)) return false;
          a = calculate(code & ~USES_X, a, operand);
        }
      }
    }
  }
}

function compare(code: number, a: number, b: number): boolean {
  switch (code) {
    case EQUAL:
      return a === b;
    case GREATER:
      return a >>> 0 > b >>> 0;
    case GREATER_EQUAL:
      return a >>> 0 >= b >>> 0;
    case ANY_BIT:
      return (a & b) !== 0;
    default:
      return false;
  }
}

/** 32-bit unsigned arithmetic; a shift by 32 or more leaves nothing. */
function calculate(code: number, a: number, b: number): number {
  switch (code) {
    case ADD:
      return (a + b) | 0;
    case SUBTRACT:
      return (a - b) | 0;
    case MULTIPLY:
      return Math.imul(a, b);
    case DIVIDE:
      return ((a >>> 0) / (b >>> 0)) | 0;
    case MODULO:
      return ((a >>> 0) % (b >>> 0)) | 0;
    case AND:
      return a & b;
    case OR:
      return a | b;
    case XOR:
      return a ^ b;
    case SHIFT_LEFT:
      return b >>> 0 > 31 ? 0 : a << b;
    case SHIFT_RIGHT:
      return b >>> 0 > 31 ? 0 : a >>> b;
    default:
      return 0;
  }
}
