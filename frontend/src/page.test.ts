// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { copyButtons } from './copy';
import { csrfToken } from './csrf';
import { guards } from './guards';

describe('csrfToken', () => {
  it('takes the meta tag, else a form field, else the cookie', () => {
    document.cookie = 'csrftoken=from-cookie';
    document.body.innerHTML = '';
    expect(csrfToken()).toBe('from-cookie');
    document.body.innerHTML = '<input name="csrfmiddlewaretoken" value="from-form">';
    expect(csrfToken()).toBe('from-form');
    document.head.innerHTML = '<meta name="csrf-token" content="from-meta">';
    expect(csrfToken()).toBe('from-meta');
    document.head.innerHTML = '';
  });
});

describe('copyButtons', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it('copies and says so for a moment', async () => {
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal('navigator', { clipboard: { writeText } });
    document.body.innerHTML =
      '<button data-copy="10.0.2.100"><span data-copy-label>Copy</span></button>';
    copyButtons(document);
    document.querySelector('button')?.click();
    await vi.advanceTimersByTimeAsync(1);
    expect(writeText).toHaveBeenCalledWith('10.0.2.100');
    expect(document.body.textContent).toBe('Copied');
    await vi.advanceTimersByTimeAsync(2000);
    expect(document.body.textContent).toBe('Copy');
  });
});

describe('guards', () => {
  it('keeps a button shut until the name is typed', () => {
    document.body.innerHTML =
      '<input id="n"><button data-enabled-when="web1" data-reads="#n">Delete</button>';
    guards(document);
    const button = document.querySelector('button') as HTMLButtonElement;
    const field = document.querySelector('input') as HTMLInputElement;
    expect(button.disabled).toBe(true);
    field.value = 'web1';
    field.dispatchEvent(new Event('input', { bubbles: true }));
    expect(button.disabled).toBe(false);
  });

  it('asks before a form is sent, and a no is a no', () => {
    document.body.innerHTML = '<form data-confirm="Really?"><button>Go</button></form>';
    guards(document);
    const ask = vi.spyOn(window, 'confirm').mockReturnValue(false);
    const event = new Event('submit', { bubbles: true, cancelable: true });
    document.querySelector('form')?.dispatchEvent(event);
    expect(ask).toHaveBeenCalledWith('Really?');
    expect(event.defaultPrevented).toBe(true);
  });
});
