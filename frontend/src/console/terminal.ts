// The xterm.js terminal of the console. Independent of sockets: bytes in, keystrokes out.
import '@xterm/xterm/css/xterm.css';
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { UnicodeGraphemesAddon } from '@xterm/addon-unicode-graphemes';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { WebglAddon } from '@xterm/addon-webgl';
import { Terminal } from '@xterm/xterm';
import { fromBinary } from './messages';

export interface Screen {
  terminal: Terminal;
  search: SearchAddon;
  fit: () => void;
  /** The whole scrollback, as text. */
  text: () => string;
}

export interface ScreenOptions {
  label: string;
  fontSize: number;
  /** Asks before a URL printed by the guest is opened. */
  mayOpen: (address: string) => boolean;
  /** `isTyped`: input by the user; otherwise the terminal's answer to an escape sequence. */
  onInput: (bytes: Uint8Array, isTyped: boolean) => void;
  onLeave: () => void;
}

const SCROLLBACK_LINES = 20_000;

/** Only these URL schemes can be opened: guests may print anything. */
export function isWebAddress(address: string): boolean {
  try {
    return ['http:', 'https:'].includes(new URL(address).protocol);
  } catch {
    return false;
  }
}

export function openScreen(host: HTMLElement, options: ScreenOptions): Screen {
  const openLink = (_event: MouseEvent, address: string): void => {
    if (isWebAddress(address) && options.mayOpen(address)) {
      window.open(address, '_blank', 'noopener,noreferrer');
    }
  };
  const terminal = new Terminal({
    allowProposedApi: true, // unicode graphemes
    cursorBlink: true,
    fontFamily: 'ui-monospace, "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace',
    fontSize: options.fontSize,
    // at 1 the lowest row of pixels, with every underscore, is cut off
    lineHeight: 1.2,
    linkHandler: { activate: openLink },
    logLevel: 'error',
    scrollback: SCROLLBACK_LINES,
    theme: { background: '#11151c', foreground: '#e6e9ef', cursor: '#e6e9ef' },
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(search);
  terminal.loadAddon(new WebLinksAddon(openLink));
  terminal.loadAddon(new UnicodeGraphemesAddon());
  terminal.open(host);
  terminal.textarea?.setAttribute('aria-label', options.label);
  drawQuickly(terminal);
  const encoder = new TextEncoder();
  const isTyped = watchTyping(host);
  terminal.onData((text) => options.onInput(encoder.encode(text), isTyped()));
  terminal.onBinary((text) => options.onInput(fromBinary(text), isTyped()));
  terminal.attachCustomKeyEventHandler((event) => keyGoesToGuest(terminal, event, options.onLeave));
  fit.fit();
  return { terminal, search, fit: () => fit.fit(), text: () => allText(terminal) };
}

/** Whether the present input is the user's: it arrives during a key or paste event. */
function watchTyping(host: HTMLElement): () => boolean {
  let typing = false;
  const begin = (): void => {
    typing = true;
    setTimeout(() => (typing = false), 0);
  };
  for (const kind of ['keydown', 'keypress', 'input', 'paste', 'compositionend']) {
    host.addEventListener(kind, begin, { capture: true });
  }
  return () => typing;
}

/** WebGL only with hardware acceleration: xterm's DOM renderer is faster than WebGL in software. */
function drawQuickly(terminal: Terminal): void {
  if (isWebglInSoftware()) return;
  try {
    const webgl = new WebglAddon();
    webgl.onContextLoss(() => webgl.dispose());
    terminal.loadAddon(webgl);
  } catch {
    // WebGL is not available
  }
}

function isWebglInSoftware(): boolean {
  const gl = document.createElement('canvas').getContext('webgl2');
  const names = gl?.getExtension('WEBGL_debug_renderer_info');
  const renderer = names ? String(gl?.getParameter(names.UNMASKED_RENDERER_WEBGL)) : '';
  gl?.getExtension('WEBGL_lose_context')?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software/i.test(renderer);
}

/** All keys go to the guest, even Ctrl-], except copying a selection and leaving the terminal. */
function keyGoesToGuest(terminal: Terminal, event: KeyboardEvent, onLeave: () => void): boolean {
  if (event.type !== 'keydown') return true;
  if (event.shiftKey && event.key === 'Escape') {
    onLeave();
    event.preventDefault();
    return false;
  }
  if (event.ctrlKey && event.shiftKey && event.code === 'KeyC') {
    if (terminal.hasSelection()) void navigator.clipboard?.writeText(terminal.getSelection());
    event.preventDefault();
    return false;
  }
  return !(event.ctrlKey && event.shiftKey && event.code === 'KeyV'); // the browser pastes
}

export function allText(terminal: Terminal): string {
  const { normal } = terminal.buffer;
  const lines: string[] = [];
  for (let row = 0; row < normal.length; row += 1) {
    const line = normal.getLine(row);
    const text = line?.translateToString(true) ?? '';
    if (line?.isWrapped && lines.length > 0) lines[lines.length - 1] += text;
    else lines.push(text);
  }
  return `${lines.join('\n').trimEnd()}\n`;
}
