// The console on a page: <div data-console data-machine="…" data-name="…" data-ticket-url="…"
// data-socket-url="…">. Connects terminal, link and toolbar.
import './console.css';
import { csrfToken } from '../csrf';
import { socketUrl } from '../live';
import { createToolbar, type Toolbar, type Press } from './bar';
import { Link, type Status } from './link';
import type { Word } from './messages';
import { openScreen, type Screen } from './terminal';
import { fill, statusLine, wordsFor } from './words';

const FONT_KEY = 'webxen-console-font';
const FONT_LEAST = 8;
const FONT_MOST = 32;
const FONT_USUAL = 14;
/** Maximum keystrokes kept while old output is being received. */
const MOST_EARLY = 1000;
const NOTICE_MS = 4000;
const language = document.documentElement.lang;
const words = wordsFor(language);
const encoder = new TextEncoder();

function storedFont(): number {
  try {
    const size = Number(localStorage.getItem(FONT_KEY));
    return size >= FONT_LEAST && size <= FONT_MOST ? size : FONT_USUAL;
  } catch {
    return FONT_USUAL;
  }
}

class ConsolePage {
  private readonly toolbar: Toolbar;
  private readonly screen: Screen;
  private readonly link: Link;
  private status: Status = { kind: 'connecting' };
  private console = { state: '', reason: '' };
  private isMine = false;
  private writer = '';
  private isCtrlHeld = false;
  /** Input typed while old output is being received: sent afterwards. */
  private early: Uint8Array[] = [];
  private notice: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly root: HTMLElement) {
    const name = root.dataset['name'] ?? root.dataset['machine'] ?? '';
    this.toolbar = createToolbar(
      root,
      words,
      (press) => this.press(press),
      (label, text) => this.phoneKey(label, text),
    );
    this.screen = openScreen(this.toolbar.screen, {
      label: fill(words.terminal, { name }),
      fontSize: storedFont(),
      mayOpen: (address) => window.confirm(fill(words.open, { address })),
      onInput: (bytes, isTyped) => this.input(bytes, isTyped),
      onLeave: () => this.toolbar.penButton.focus(),
    });
    const machine = root.dataset['machine'] ?? '';
    this.link = new Link({
      ticketUrl: root.dataset['ticketUrl'] ?? `/api/v1/machines/${machine}/console/`,
      socketUrl: socketUrl(root.dataset['socketUrl'] ?? `/ws/console/${machine}/`),
      csrfToken,
      onBytes: (bytes, shown) => this.screen.terminal.write(bytes, shown),
      onWord: (word) => this.hear(word),
      onStatus: (status) => this.show(status),
      onProgress: () => this.progress(),
    });
    this.watch();
    this.link.open(0);
    this.screen.terminal.focus();
  }

  private watch(): void {
    new ResizeObserver(() => this.screen.fit()).observe(this.toolbar.screen);
    window.addEventListener('online', () => this.link.hurry());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.link.hurry();
    });
    window.addEventListener('pagehide', () => this.link.close());
    window.addEventListener('pageshow', (event) => {
      if (event.persisted) this.link.open();
    });
    const { searchForm, searchField, searchResult } = this.toolbar;
    searchForm.addEventListener('submit', (event) => {
      event.preventDefault();
      this.press('next');
    });
    searchForm.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.press('close-search');
    });
    searchField.addEventListener('input', () => this.find('next', true));
    this.screen.search.onDidChangeResults(({ resultIndex, resultCount }) => {
      const found = resultCount > 0 ? `${resultIndex + 1} / ${resultCount}` : words.noMatch;
      searchResult.textContent = searchField.value === '' ? '' : found;
    });
  }

  private input(bytes: Uint8Array, isTyped: boolean): void {
    // the terminal answers some escape sequences; an answer to old output would be input to a shell
    if (this.link.isReplaying && !isTyped) return;
    if (isTyped && !this.isMine && this.writer !== '') return this.sayReadOnly();
    const wanted = this.isCtrlHeld ? this.withCtrl(bytes) : bytes;
    if (!this.link.isReplaying) this.link.type(wanted);
    else if (this.early.length < MOST_EARLY) this.early.push(wanted);
    else this.tell(words.tooEarly);
  }

  /** While old output is received: show the progress, then send the input typed meanwhile. */
  private progress(): void {
    this.show(this.status);
    if (this.link.isReplaying) return;
    for (const bytes of this.early.splice(0)) this.link.type(bytes);
  }

  private sayReadOnly(): void {
    this.tell(fill(words.readOnly, { user: this.theirName() }));
    this.toolbar.penButton.classList.remove('wxc-flash');
    void this.toolbar.penButton.offsetWidth; // restarts the animation
    this.toolbar.penButton.classList.add('wxc-flash');
  }

  /** Temporarily shows a message in place of the connection's state. */
  private tell(text: string): void {
    clearTimeout(this.notice);
    this.toolbar.status.textContent = text;
    this.notice = setTimeout(() => {
      this.notice = undefined;
      this.show(this.status);
    }, NOTICE_MS);
  }

  private theirName(): string {
    return this.writer === this.root.dataset['user'] ? words.elsewhere : this.writer;
  }

  private withCtrl(bytes: Uint8Array): Uint8Array {
    this.isCtrlHeld = false;
    const [first] = bytes;
    return bytes.length === 1 && first !== undefined && first >= 64
      ? Uint8Array.of(first & 31)
      : bytes;
  }

  private phoneKey(label: string, text: string): void {
    if (label === 'Ctrl') this.isCtrlHeld = !this.isCtrlHeld;
    else this.link.type(encoder.encode(text));
    this.screen.terminal.focus();
  }

  private hear(word: Word): void {
    switch (word.type) {
      case 'hello':
        this.company(word.writer, word.mine, word.viewers);
        break;
      case 'writer':
        this.company(word.user, word.mine, word.viewers);
        break;
      case 'gap':
        this.note(fill(words.gap, { bytes: word.to - word.from }));
        break;
      case 'state':
        this.console = { state: word.state, reason: word.reason };
        this.show(this.status);
        break;
    }
  }

  /** Writes a line of the portal itself; first ends an incomplete escape sequence. */
  private note(text: string): void {
    this.screen.terminal.write(`\x18\r\n\x1b[0;7m ${text} \x1b[0m\r\n`);
  }

  private company(writer: string, isMine: boolean, viewers: number): void {
    const wasMine = this.isMine;
    this.isMine = isMine;
    this.writer = writer;
    if (wasMine && !isMine && writer !== '') {
      this.tell(fill(words.taken, { user: this.theirName() }));
    }
    const theirs = writer === '' ? words.nobodys : fill(words.theirs, { user: this.theirName() });
    this.toolbar.pen.textContent = isMine ? words.mine : theirs;
    this.toolbar.penButton.textContent = isMine ? words.release : words.take;
    this.toolbar.viewers.textContent = fill(words.viewers, { count: viewers });
    this.root.dataset['pen'] = isMine ? 'mine' : writer === '' ? 'nobodys' : 'theirs';
  }

  private show(status: Status): void {
    this.status = status;
    const isReplaying = status.kind === 'open' && this.link.isReplaying;
    const percent = isReplaying ? Math.floor(100 * this.link.replayed) : 100;
    if (this.notice === undefined) {
      this.toolbar.status.textContent = isReplaying
        ? fill(words.replaying, { percent })
        : statusLine(words, language, status, this.console);
    }
    this.toolbar.reconnect.hidden = status.kind !== 'waiting' && status.kind !== 'over';
    this.root.dataset['status'] = status.kind;
    this.root.dataset['consoleState'] = this.console.state;
  }

  private press(press: Press): void {
    const { terminal } = this.screen;
    const presses: Record<Press, () => void> = {
      pen: () => (this.isMine ? this.link.givePen() : this.link.takePen()),
      search: () => this.openSearch(),
      previous: () => this.find('previous'),
      next: () => this.find('next'),
      'close-search': () => this.closeSearch(),
      download: () => this.download(),
      replay: () => this.replay(),
      larger: () => this.resize(1),
      smaller: () => this.resize(-1),
      size: () =>
        this.link.type(encoder.encode(`stty rows ${terminal.rows} cols ${terminal.cols}\r`)),
      'full-screen': () => void this.fullScreen(),
      reconnect: () => this.link.open(),
    };
    presses[press]();
    if (!['search', 'previous', 'next'].includes(press)) terminal.focus();
  }

  private openSearch(): void {
    this.toolbar.searchForm.hidden = false;
    this.toolbar.searchField.focus();
    this.screen.fit();
  }

  private closeSearch(): void {
    this.toolbar.searchForm.hidden = true;
    this.screen.search.clearDecorations();
    this.screen.fit();
  }

  private find(direction: 'previous' | 'next', incremental = false): void {
    const text = this.toolbar.searchField.value;
    const options = {
      incremental,
      decorations: {
        matchBackground: '#8a6100',
        activeMatchBackground: '#1769b5',
        matchOverviewRuler: '#8a6100',
        activeMatchColorOverviewRuler: '#1769b5',
      },
    };
    if (direction === 'next') this.screen.search.findNext(text, options);
    else this.screen.search.findPrevious(text, options);
  }

  private replay(): void {
    this.screen.terminal.reset();
    this.link.open(0);
  }

  private download(): void {
    const link = document.createElement('a');
    const address = URL.createObjectURL(new Blob([this.screen.text()], { type: 'text/plain' }));
    link.href = address;
    link.download = `${this.root.dataset['name'] ?? 'console'}.txt`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  private resize(step: number): void {
    const { terminal } = this.screen;
    const wanted = (terminal.options.fontSize ?? FONT_USUAL) + step;
    const size = Math.min(FONT_MOST, Math.max(FONT_LEAST, wanted));
    terminal.options.fontSize = size;
    this.screen.fit();
    try {
      localStorage.setItem(FONT_KEY, String(size));
    } catch {
      // storage is not allowed: the size applies to this page only
    }
  }

  private async fullScreen(): Promise<void> {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.root.requestFullscreen?.();
  }
}

for (const root of document.querySelectorAll<HTMLElement>('[data-console]')) new ConsolePage(root);
