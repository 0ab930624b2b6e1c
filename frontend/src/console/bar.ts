// The console's own toolbar: the bar above, the search, the line below, the key row on phones.
// Creates the elements and reports which button was pressed.
import type { Words } from './words';

export interface Toolbar {
  screen: HTMLElement;
  pen: HTMLElement;
  viewers: HTMLElement;
  status: HTMLElement;
  penButton: HTMLButtonElement;
  reconnect: HTMLButtonElement;
  searchForm: HTMLFormElement;
  searchField: HTMLInputElement;
  searchResult: HTMLElement;
}

export type Press =
  | 'pen'
  | 'search'
  | 'previous'
  | 'next'
  | 'close-search'
  | 'download'
  | 'replay'
  | 'larger'
  | 'smaller'
  | 'size'
  | 'full-screen'
  | 'reconnect';

const SVG = 'http://www.w3.org/2000/svg';
const ICONS = import.meta.url.replace(/[^/]*$/, 'icons.svg');

/** Label and the characters it sends; Ctrl applies to the next key. */
export const PHONE_KEYS: readonly (readonly [string, string])[] = [
  ['Esc', '\x1b'],
  ['Tab', '\t'],
  ['Ctrl', ''],
  ['^C', '\x03'],
  ['^D', '\x04'],
  ['^]', '\x1d'],
  ['←', '\x1b[D'],
  ['↑', '\x1b[A'],
  ['↓', '\x1b[B'],
  ['→', '\x1b[C'],
  ['/', '/'],
  ['|', '|'],
  ['-', '-'],
];

function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `${ICONS}#${name}`);
  svg.append(use);
  return svg;
}

function button(press: Press, label: string, iconName: string): HTMLButtonElement {
  const made = element('button', 'btn btn-icon btn-sm', icon(iconName));
  made.type = 'button';
  made.dataset['press'] = press;
  made.title = label;
  made.setAttribute('aria-label', label);
  return made;
}

export function createToolbar(
  root: HTMLElement,
  words: Words,
  onPress: (press: Press) => void,
  onKey: (label: string, text: string) => void,
): Toolbar {
  const pen = element('span', 'wxc-pen');
  const viewers = element('span', 'wxc-viewers text-secondary');
  const penButton = element('button', 'btn btn-sm', words.take);
  penButton.type = 'button';
  penButton.dataset['press'] = 'pen' satisfies Press;
  const bar = element(
    'div',
    'wxc-bar',
    pen,
    penButton,
    viewers,
    element(
      'div',
      'wxc-tools',
      button('search', words.search, 'search'),
      button('replay', words.replay, 'history'),
      button('download', words.download, 'download'),
      button('smaller', words.smaller, 'zoom-out'),
      button('larger', words.larger, 'zoom-in'),
      button('size', words.size, 'text-size'),
      button('full-screen', words.fullScreen, 'maximize'),
    ),
  );
  bar.setAttribute('role', 'toolbar');

  const searchField = element('input', 'form-control form-control-sm');
  searchField.type = 'search';
  searchField.setAttribute('aria-label', words.searchFor);
  searchField.placeholder = words.searchFor;
  const searchResult = element('span', 'text-secondary small');
  searchResult.setAttribute('role', 'status');
  const searchForm = element(
    'form',
    'wxc-search',
    searchField,
    button('previous', words.previous, 'arrow-up'),
    button('next', words.next, 'arrow-down'),
    searchResult,
    button('close-search', words.closeSearch, 'x'),
  );
  searchForm.hidden = true;

  const screen = element('div', 'wxc-screen');
  const keys = element('div', 'wxc-keys');
  keys.setAttribute('role', 'group');
  keys.setAttribute('aria-label', words.keys);
  for (const [label, text] of PHONE_KEYS) {
    const key = element('button', 'btn btn-sm', label);
    key.type = 'button';
    key.addEventListener('click', () => onKey(label, text));
    keys.append(key);
  }

  const status = element('span', 'wxc-words');
  status.setAttribute('role', 'status');
  const reconnect = element('button', 'btn btn-sm btn-primary', words.reconnect);
  reconnect.type = 'button';
  reconnect.hidden = true;
  reconnect.dataset['press'] = 'reconnect' satisfies Press;
  const foot = element(
    'div',
    'wxc-foot',
    status,
    reconnect,
    element('span', 'wxc-hint text-secondary', words.leave),
  );

  root.replaceChildren(bar, searchForm, screen, keys, foot);
  root.addEventListener('click', (event) => {
    const pressed = (event.target as Element | null)?.closest<HTMLElement>('[data-press]');
    if (pressed && root.contains(pressed)) onPress(pressed.dataset['press'] as Press);
  });
  return {
    screen,
    pen,
    viewers,
    status,
    penButton,
    reconnect,
    searchForm,
    searchField,
    searchResult,
  };
}
