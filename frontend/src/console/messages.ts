// Text frames of the protocol webxen.console.v1, in both directions. Pure.

export type Word =
  | { type: 'hello'; offset: number; end: number; writer: string; mine: boolean; viewers: number }
  | { type: 'gap'; from: number; to: number }
  | { type: 'state'; state: string; reason: string }
  | { type: 'writer'; user: string; mine: boolean; viewers: number };

const SHAPES: Record<Word['type'], Record<string, 'number' | 'string' | 'boolean'>> = {
  hello: { offset: 'number', end: 'number', writer: 'string', mine: 'boolean', viewers: 'number' },
  gap: { from: 'number', to: 'number' },
  state: { state: 'string', reason: 'string' },
  writer: { user: 'string', mine: 'boolean', viewers: 'number' },
};

/** Parses a server message; null for unknown ones, which a later server may send. */
export function readWord(untrusted: string): Word | null {
  let value: unknown;
  try {
    value = JSON.parse(untrusted);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const said = value as Record<string, unknown>;
  const shape = SHAPES[said['type'] as Word['type']];
  if (shape === undefined) return null;
  const fits = Object.entries(shape).every(([name, kind]) => typeof said[name] === kind);
  return fits ? (said as Word) : null;
}

export const ack = (offset: number): string => JSON.stringify({ type: 'ack', offset });
export const take = (): string => JSON.stringify({ type: 'take' });
export const release = (): string => JSON.stringify({ type: 'release' });

/** The server accepts frames of up to 8 KiB; half of that keeps a margin. */
const FRAME_BYTES = 4096;

export function* frames(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
    yield bytes.subarray(at, at + FRAME_BYTES);
  }
}

/** xterm reports "binary" input as a string of characters below 256. */
export function fromBinary(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0) & 255);
}
