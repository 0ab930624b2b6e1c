// The connection to a console: requests a ticket, opens a socket, and resumes at the last offset.
// Handles offsets and flow control; independent of xterm and of the page.
import { ack, frames, readWord, release, take, type Word } from './messages';
import { retryDelay } from '../live';

export type Status =
  | { kind: 'connecting' }
  | { kind: 'open' }
  | { kind: 'waiting'; milliseconds: number }
  | { kind: 'over'; why: 'signed-out' | 'gone' | 'rights' | 'too-many' | 'refused' };

export interface LinkOptions {
  ticketUrl: string;
  socketUrl: string;
  csrfToken: () => string;
  /** Display bytes; call `shown` when they have been displayed. */
  onBytes: (bytes: Uint8Array, shown: () => void) => void;
  onWord: (word: Word) => void;
  onStatus: (status: Status) => void;
  /** More has been displayed, or the replay is complete. */
  onProgress?: () => void;
  fetch?: typeof fetch;
  socket?: (url: string, protocols: string[]) => WebSocket;
  random?: () => number;
}

/** Acknowledge in steps: the server's window is 128 KiB. */
const ACK_BYTES = 16 * 1024;
/** A socket that was open for this long resets the delay before reconnecting. */
const STEADY_MS = 10_000;
const OVER: Record<number, 'gone' | 'rights' | 'too-many' | 'refused'> = {
  4400: 'refused',
  4403: 'rights',
  4404: 'gone',
  4429: 'too-many',
};

export class Link {
  /** Offset after the last byte received, and after the last byte displayed. */
  position = 0;
  shown = 0;
  /** Bytes before this offset are old output, which the terminal must not answer. */
  replayEnd = 0;
  private replayStart = 0;
  private acknowledged = 0;
  private socket: WebSocket | null = null;
  private attempt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private generation = 0;

  constructor(private readonly options: LinkOptions) {}

  get isReplaying(): boolean {
    return this.shown < this.replayEnd;
  }

  /** Part of the old output that has been displayed, from 0 to 1. */
  get replayed(): number {
    const all = this.replayEnd - this.replayStart;
    return all > 0 ? Math.min(1, (this.shown - this.replayStart) / all) : 1;
  }

  /** Connect at once: for the first time, after a pause, or from another offset. */
  open(offset = this.position): void {
    clearTimeout(this.timer);
    this.generation += 1;
    this.socket?.close();
    this.socket = null;
    this.position = this.shown = this.acknowledged = offset;
    void this.connect(this.generation);
  }

  close(): void {
    clearTimeout(this.timer);
    this.generation += 1;
    this.socket?.close();
    this.socket = null;
  }

  /** Called when the network is back or the page becomes visible. */
  hurry(): void {
    if (this.timer !== undefined) this.open();
  }

  type(bytes: Uint8Array): void {
    for (const frame of frames(bytes)) this.send(frame);
  }

  takePen(): void {
    this.send(take());
  }

  givePen(): void {
    this.send(release());
  }

  private send(data: string | Uint8Array): void {
    if (this.socket?.readyState !== 1) return;
    this.socket.send(data as string | Uint8Array<ArrayBuffer>);
  }

  private async connect(generation: number): Promise<void> {
    this.timer = undefined;
    this.options.onStatus({ kind: 'connecting' });
    const ticket = await this.ticket();
    if (generation !== this.generation) return;
    if (ticket === null) return this.retry();
    if (typeof ticket !== 'string') return this.options.onStatus(ticket);
    const url = `${this.options.socketUrl}?offset=${this.position}`;
    const protocols = ['webxen.console.v1', `webxen.ticket.${ticket}`];
    const socket = (this.options.socket ?? ((at, words) => new WebSocket(at, words)))(
      url,
      protocols,
    );
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    const began = Date.now();
    socket.addEventListener('open', () => {
      if (generation === this.generation) this.options.onStatus({ kind: 'open' });
    });
    socket.addEventListener('message', (event: MessageEvent<unknown>) => {
      if (generation === this.generation) this.receive(event.data);
    });
    socket.addEventListener('close', (event) => {
      if (generation !== this.generation) return;
      this.socket = null;
      if (Date.now() - began > STEADY_MS) this.attempt = 0;
      const why = OVER[event.code];
      if (why) this.options.onStatus({ kind: 'over', why });
      else this.retry();
    });
  }

  /** Returns a ticket, null if a retry may help, or the reason why it does not. */
  private async ticket(): Promise<string | Status | null> {
    try {
      const answer = await (this.options.fetch ?? fetch)(this.options.ticketUrl, {
        method: 'POST',
        credentials: 'same-origin',
        headers: { 'X-CSRFToken': this.options.csrfToken(), 'Content-Type': 'application/json' },
        body: '{}',
      });
      if (answer.status === 401 || answer.status === 403)
        return { kind: 'over', why: 'signed-out' };
      if (answer.status === 404) return { kind: 'over', why: 'gone' };
      if (!answer.ok) return null;
      const { ticket } = (await answer.json()) as { ticket?: unknown };
      return typeof ticket === 'string' ? ticket : null;
    } catch {
      return null;
    }
  }

  private retry(): void {
    const milliseconds = retryDelay(this.attempt, this.options.random);
    this.attempt += 1;
    this.options.onStatus({ kind: 'waiting', milliseconds });
    this.timer = setTimeout(() => this.open(), milliseconds);
  }

  private receive(data: unknown): void {
    if (data instanceof ArrayBuffer) return this.receiveBytes(new Uint8Array(data));
    const word = typeof data === 'string' ? readWord(data) : null;
    if (word === null) return;
    if (word.type === 'hello') {
      this.attempt = 0;
      this.replayEnd = word.end;
      this.replayStart = word.offset;
      this.jump(word.offset);
    } else if (word.type === 'gap') {
      this.jump(word.to);
    }
    this.options.onWord(word);
  }

  /** Skips bytes that the server no longer has: they are neither displayed nor acknowledged. */
  private jump(offset: number): void {
    const isAllShown = this.shown === this.position;
    this.position = offset;
    if (isAllShown) this.shown = this.acknowledged = offset;
  }

  private receiveBytes(bytes: Uint8Array): void {
    this.position += bytes.length;
    const end = this.position;
    const generation = this.generation;
    this.options.onBytes(bytes, () => {
      if (generation !== this.generation) return;
      this.shown = end;
      this.options.onProgress?.();
      if (end - this.acknowledged >= ACK_BYTES) {
        this.acknowledged = end;
        this.send(ack(end));
      }
    });
  }
}
