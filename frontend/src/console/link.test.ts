import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Link, type Status } from './link';
import type { Word } from './messages';

class FakeSocket extends EventTarget {
  static all: FakeSocket[] = [];
  readyState = 1;
  binaryType = '';
  sent: (string | Uint8Array)[] = [];

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    super();
    FakeSocket.all.push(this);
  }

  send(data: string | Uint8Array): void {
    this.sent.push(data);
  }

  close(): void {
    this.readyState = 3;
  }

  says(data: string | ArrayBuffer): void {
    this.dispatchEvent(new MessageEvent('message', { data }));
  }

  prints(size: number): void {
    this.says(new ArrayBuffer(size));
  }

  hello(offset: number, end = offset): void {
    this.says(
      JSON.stringify({ type: 'hello', offset, end, writer: 'alice', mine: true, viewers: 1 }),
    );
  }

  ends(code: number): void {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event('close'), { code }));
  }

  get acks(): number[] {
    return this.sent
      .filter((data) => typeof data === 'string')
      .map((data) => (JSON.parse(data) as { offset: number }).offset);
  }
}

interface Bench {
  link: Link;
  statuses: Status[];
  words: Word[];
  waiting: (() => void)[];
  tickets: number;
  answer: () => Response;
}

function bench(): Bench {
  const made: Bench = {
    link: undefined as unknown as Link,
    statuses: [],
    words: [],
    waiting: [],
    tickets: 0,
    answer: () => Response.json({ ticket: `t${made.tickets}` }, { status: 201 }),
  };
  made.link = new Link({
    ticketUrl: '/ticket/',
    socketUrl: 'ws://here/ws/console/m/',
    csrfToken: () => 'csrf',
    onBytes: (_bytes, shown) => made.waiting.push(shown),
    onWord: (word) => made.words.push(word),
    onStatus: (status) => made.statuses.push(status),
    fetch: () => {
      made.tickets += 1;
      return Promise.resolve(made.answer());
    },
    socket: (url, protocols) => new FakeSocket(url, protocols) as unknown as WebSocket,
    random: () => 0,
  });
  return made;
}

const showAll = (made: Bench): void => made.waiting.splice(0).forEach((shown) => shown());
const last = (): FakeSocket => FakeSocket.all.at(-1) as FakeSocket;

async function opened(): Promise<Bench> {
  const made = bench();
  made.link.open(0);
  await vi.advanceTimersByTimeAsync(0);
  last().dispatchEvent(new Event('open'));
  return made;
}

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
});
afterEach(() => vi.useRealTimers());

describe('Link', () => {
  it('puts the ticket into the subprotocol and never into the address', async () => {
    await opened();
    expect(last().protocols).toEqual(['webxen.console.v1', 'webxen.ticket.t1']);
    expect(last().url).toBe('ws://here/ws/console/m/?offset=0');
  });

  it('comes back with a new ticket and where it was', async () => {
    const made = await opened();
    last().hello(0);
    last().prints(500);
    last().ends(1006);
    expect(made.statuses.at(-1)).toEqual({ kind: 'waiting', milliseconds: 250 });
    await vi.advanceTimersByTimeAsync(250);
    expect(FakeSocket.all).toHaveLength(2);
    expect(last().url).toContain('offset=500');
    expect(last().protocols[1]).toBe('webxen.ticket.t2');
  });

  it('waits longer each time, up to a limit, and starts afresh after a hello', async () => {
    const made = await opened();
    const waits: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      last().ends(1006);
      const status = made.statuses.at(-1);
      if (status?.kind !== 'waiting') throw new Error('not waiting');
      waits.push(status.milliseconds);
      await vi.advanceTimersByTimeAsync(status.milliseconds);
    }
    expect(waits).toEqual([250, 500, 1000, 2000, 2500, 2500, 2500, 2500]);
    last().hello(0);
    last().ends(1006);
    expect(made.statuses.at(-1)).toEqual({ kind: 'waiting', milliseconds: 250 });
  });

  it('acknowledges what is on the screen, not what has arrived', async () => {
    const made = await opened();
    last().hello(0);
    for (let round = 0; round < 4; round += 1) last().prints(8 * 1024);
    expect(last().acks).toEqual([]);
    showAll(made);
    expect(last().acks).toEqual([16 * 1024, 32 * 1024]);
  });

  it('counts on behind a gap', async () => {
    const made = await opened();
    last().hello(0);
    last().says(JSON.stringify({ type: 'gap', from: 0, to: 1000 }));
    last().prints(20 * 1024);
    showAll(made);
    expect(last().acks).toEqual([1000 + 20 * 1024]);
    expect(made.link.position).toBe(1000 + 20 * 1024);
    expect(made.words.map((word) => word.type)).toEqual(['hello', 'gap']);
  });

  it('knows old output from new, so that a terminal answers only to the new', async () => {
    const made = await opened();
    last().hello(0, 100);
    expect(made.link.isReplaying).toBe(true);
    last().prints(100);
    expect(made.link.isReplaying).toBe(true);
    showAll(made);
    expect(made.link.isReplaying).toBe(false);
  });

  it.each([
    [4400, 'refused'],
    [4403, 'rights'],
    [4404, 'gone'],
    [4429, 'too-many'],
  ])('does not come back after %i', async (code, why) => {
    const made = await opened();
    last().ends(code);
    expect(made.statuses.at(-1)).toEqual({ kind: 'over', why });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all).toHaveLength(1);
  });

  it.each([
    [401, 'signed-out'],
    [403, 'signed-out'],
    [404, 'gone'],
  ])('says so when there is no ticket to be had: %i', async (status, why) => {
    const made = bench();
    made.answer = () => new Response('', { status });
    made.link.open(0);
    await vi.advanceTimersByTimeAsync(0);
    expect(made.statuses.at(-1)).toEqual({ kind: 'over', why });
    expect(FakeSocket.all).toHaveLength(0);
  });

  it('tries again when the portal is away', async () => {
    const made = bench();
    made.answer = () => new Response('', { status: 503 });
    made.link.open(0);
    await vi.advanceTimersByTimeAsync(0);
    expect(made.statuses.at(-1)?.kind).toBe('waiting');
    made.answer = () => Response.json({ ticket: 'late' });
    await vi.advanceTimersByTimeAsync(250);
    expect(last().protocols[1]).toBe('webxen.ticket.late');
  });

  it('hurries when the network is back', async () => {
    const made = await opened();
    last().ends(1006);
    made.link.hurry();
    await vi.advanceTimersByTimeAsync(0);
    expect(FakeSocket.all).toHaveLength(2);
    made.link.hurry();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(FakeSocket.all).toHaveLength(2);
  });

  it('hears nothing from a socket it has left', async () => {
    const made = await opened();
    const old = last();
    made.link.open(0);
    old.hello(77);
    old.ends(1006);
    expect(made.words).toEqual([]);
  });

  it('types bytes in frames the server takes', async () => {
    const made = await opened();
    made.link.type(new Uint8Array(5000));
    expect(last().sent.map((data) => data.length)).toEqual([4096, 904]);
  });
});
