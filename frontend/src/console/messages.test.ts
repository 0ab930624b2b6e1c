import { describe, expect, it } from 'vitest';
import { ack, frames, fromBinary, readWord } from './messages';

describe('readWord', () => {
  it('reads what the server says', () => {
    const hello = { type: 'hello', offset: 3, end: 9, writer: 'alice', mine: true, viewers: 2 };
    expect(readWord(JSON.stringify(hello))).toEqual(hello);
    expect(readWord('{"type":"gap","from":1,"to":2}')).toEqual({ type: 'gap', from: 1, to: 2 });
  });

  it.each(['', 'null', '7', '[]', '{}', '{"type":"later"}', '{"type":"gap","from":"1","to":2}'])(
    'ignores %s',
    (untrusted) => expect(readWord(untrusted)).toBeNull(),
  );
});

describe('frames', () => {
  it('cuts a paste into pieces the server takes, and loses nothing', () => {
    const paste = Uint8Array.from({ length: 10_000 }, (_, index) => index % 251);
    const pieces = [...frames(paste)];
    expect(pieces.every((piece) => piece.length <= 4096)).toBe(true);
    expect(pieces.flatMap((piece) => [...piece])).toEqual([...paste]);
  });
});

it('binary input keeps its bytes', () => {
  expect([...fromBinary('\x1b[M\xff')]).toEqual([27, 91, 77, 255]);
});

it('acknowledges an offset', () => {
  expect(JSON.parse(ack(7))).toEqual({ type: 'ack', offset: 7 });
});
