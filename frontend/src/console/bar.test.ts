// @vitest-environment jsdom
import { describe, expect, it, vi } from 'vitest';
import { createToolbar, PHONE_KEYS } from './bar';
import { wordsFor } from './words';

describe('createToolbar', () => {
  it('names every button and tells which was pressed', () => {
    const root = document.createElement('div');
    const onPress = vi.fn();
    createToolbar(root, wordsFor('en'), onPress, vi.fn());
    const buttons = [...root.querySelectorAll<HTMLButtonElement>('[data-press]')];
    expect(buttons.length).toBeGreaterThan(10);
    for (const button of buttons) {
      expect(button.getAttribute('aria-label') ?? button.textContent).not.toBe('');
      button.click();
      expect(onPress).toHaveBeenLastCalledWith(button.dataset['press']);
    }
  });

  it('has the keys a phone has not, Ctrl-] among them', () => {
    const root = document.createElement('div');
    const onKey = vi.fn();
    createToolbar(root, wordsFor('en'), vi.fn(), onKey);
    const keys = [...root.querySelectorAll<HTMLButtonElement>('.wxc-keys button')];
    expect(keys).toHaveLength(PHONE_KEYS.length);
    keys.find((key) => key.textContent === '^]')?.click();
    expect(onKey).toHaveBeenCalledWith('^]', '\x1d');
  });
});
