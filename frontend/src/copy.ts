// Copy buttons: <button data-copy="text"> or <button data-copy-from="#selector">. The button shows
// "Copied" (or data-copied) for a moment.

const SHOWN_MS = 1500;

export function copyButtons(root: Document): void {
  root.addEventListener('click', (event) => {
    const button = (event.target as Element | null)?.closest?.<HTMLElement>(
      '[data-copy],[data-copy-from]',
    );
    if (button) void copy(root, button);
  });
}

async function copy(root: Document, button: HTMLElement): Promise<void> {
  const text = textOf(root, button);
  if (text === null) return;
  const label = button.querySelector<HTMLElement>('[data-copy-label]');
  const before = label?.textContent ?? '';
  try {
    await write(root, text);
  } catch {
    button.setAttribute('data-copy-failed', '');
    return;
  }
  button.classList.add('is-copied');
  if (label) label.textContent = button.dataset['copied'] ?? 'Copied';
  setTimeout(() => {
    button.classList.remove('is-copied');
    if (label) label.textContent = before;
  }, SHOWN_MS);
}

function textOf(root: Document, button: HTMLElement): string | null {
  if (button.dataset['copy'] !== undefined) return button.dataset['copy'];
  const source = root.querySelector(button.dataset['copyFrom'] ?? '');
  if (source === null) return null;
  return 'value' in source ? String(source.value) : source.textContent;
}

async function write(root: Document, text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // pages over plain http have no clipboard API
  const area = root.createElement('textarea');
  area.value = text;
  area.className = 'visually-hidden';
  root.body.append(area);
  area.select();
  const done = root.execCommand('copy');
  area.remove();
  if (!done) throw new Error('the browser refused to copy');
}
