// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';
import { Terminal } from '@xterm/xterm';
import { allText, isWebAddress } from './terminal';

describe('isWebAddress', () => {
  it.each(['http://example.org', 'https://example.org/a?b#c'])('opens %s', (address) =>
    expect(isWebAddress(address)).toBe(true),
  );

  it.each(['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'vnc://x', '', 'x'])(
    'never opens %s',
    (address) => expect(isWebAddress(address)).toBe(false),
  );
});

it('all text joins what was wrapped and keeps what was not', async () => {
  const terminal = new Terminal({ cols: 10, rows: 4, scrollback: 50 });
  await new Promise<void>((done) => terminal.write('0123456789abc\r\nlogin: \r\n\r\n', done));
  expect(allText(terminal)).toBe('0123456789abc\nlogin:\n');
});
