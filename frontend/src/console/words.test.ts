import { describe, expect, it } from 'vitest';
import { statusLine, wordsFor } from './words';

const english = wordsFor('en');
const russian = wordsFor('ru-RU');

describe('statusLine', () => {
  it.each([
    ['attached', '', 'Connected.'],
    [
      'detached',
      'the machine is not running',
      'Connected, but there is no console now: the machine is not running.',
    ],
    ['', '', 'Connecting…'],
  ])('says in words that the console is %s', (state, reason, line) => {
    expect(statusLine(english, 'en', { kind: 'open' }, { state, reason })).toBe(line);
  });

  it('rounds the wait up', () => {
    const status = { kind: 'waiting', milliseconds: 250 } as const;
    expect(statusLine(english, 'en', status, { state: '', reason: '' })).toBe(
      'Connection lost. Trying again in 1 s…',
    );
  });

  it('speaks Russian on a Russian page, reasons too', () => {
    const told = { state: 'detached', reason: 'the machine is not running' };
    expect(statusLine(russian, 'ru', { kind: 'open' }, told)).toBe(
      'Соединено, но консоли сейчас нет: машина не запущена.',
    );
  });
});

it('both languages fill in the same blanks', () => {
  const blanks = (text: string): string[] => [...text.matchAll(/\{\w+\}/g)].map(String).sort();
  for (const key of Object.keys(english) as (keyof typeof english)[]) {
    expect(blanks(russian[key]), key).toEqual(blanks(english[key]));
  }
});
