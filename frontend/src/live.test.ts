// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { announce, liveEvents, readChange, retryDelay, topicsOf } from './live';

describe('topicsOf', () => {
  it('names the thing, its list and its machine', () => {
    expect(topicsOf({ type: 'job', id: '7', machine: 'm' })).toEqual([
      'job:7',
      'jobs',
      'machine:m',
      'machines',
    ]);
    expect(topicsOf({ type: 'host', id: 'xen1' })).toEqual(['host:xen1', 'hosts']);
  });
});

describe('readChange', () => {
  it.each(['', 'null', '[]', '{"type":"job"}', '{"type":1,"id":"a"}'])('ignores %s', (untrusted) =>
    expect(readChange(untrusted)).toBeNull(),
  );
});

describe('announce', () => {
  it('rings only where the topic is declared', () => {
    document.body.innerHTML = '<div data-live="machine:a jobs"></div><div data-live="hosts"></div>';
    const rung: (string | undefined)[] = [];
    document
      .querySelectorAll<HTMLElement>('[data-live]')
      .forEach((element) =>
        element.addEventListener('webxen:changed', () => rung.push(element.dataset['live'])),
      );
    expect(announce(document, new Set(['machine:a']))).toBe(1);
    expect(rung).toEqual(['machine:a jobs']);
    expect(announce(document, 'all')).toBe(2);
  });
});

describe('retryDelay', () => {
  it('grows to a limit and is never the same for all', () => {
    expect(retryDelay(0, () => 0)).toBe(250);
    expect(retryDelay(0, () => 1)).toBe(500);
    expect(retryDelay(50, () => 1)).toBe(5_000);
  });
});

class FakeSocket extends EventTarget {
  static all: FakeSocket[] = [];

  constructor(readonly url: string) {
    super();
    FakeSocket.all.push(this);
  }
}

describe('liveEvents', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    FakeSocket.all = [];
    vi.stubGlobal('WebSocket', FakeSocket);
    document.body.innerHTML = '<div data-live="machines"></div>';
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it('makes one refetch of many changes', async () => {
    const rung = vi.fn();
    document.querySelector('[data-live]')?.addEventListener('webxen:changed', rung);
    liveEvents(document, 'ws://here/ws/events/');
    const socket = FakeSocket.all[0] as FakeSocket;
    for (let count = 0; count < 10; count += 1) {
      const data = JSON.stringify({ type: 'machine', id: String(count) });
      socket.dispatchEvent(new MessageEvent('message', { data }));
    }
    await vi.advanceTimersByTimeAsync(200);
    expect(rung).toHaveBeenCalledTimes(1);
  });

  it('comes back and asks for everything it may have missed', async () => {
    const rung = vi.fn();
    document.querySelector('[data-live]')?.addEventListener('webxen:changed', rung);
    liveEvents(document, 'ws://here/ws/events/');
    FakeSocket.all[0]?.dispatchEvent(new Event('open'));
    expect(rung).not.toHaveBeenCalled();
    FakeSocket.all[0]?.dispatchEvent(new Event('close'));
    await vi.advanceTimersByTimeAsync(600);
    FakeSocket.all[1]?.dispatchEvent(new Event('open'));
    expect(rung).toHaveBeenCalledTimes(1);
  });

  it.each([
    ['away', () => Promise.reject(new TypeError('refused'))],
    ['away', () => Promise.resolve(new Response(null, { status: 502 }))],
    // the page is answered; only the socket is not
    ['deaf', () => Promise.resolve(new Response(null, { status: 204 }))],
    ['deaf', () => Promise.resolve(new Response(null, { status: 500 }))],
  ])('says %s by what the web server answers', async (state, answer) => {
    const asked = vi.fn(answer);
    vi.stubGlobal('fetch', asked);
    liveEvents(document, 'ws://here/ws/events/');
    FakeSocket.all[0]?.dispatchEvent(new Event('close'));
    await vi.advanceTimersByTimeAsync(0);
    expect(document.documentElement.getAttribute('data-live-state')).toBe(state);
    await vi.advanceTimersByTimeAsync(600);
    FakeSocket.all[1]?.dispatchEvent(new Event('close'));
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(15_000);
    FakeSocket.all[2]?.dispatchEvent(new Event('close'));
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveBeenCalledTimes(2);
  });

  it('opens nothing on a page where nothing is live', () => {
    document.body.innerHTML = '';
    liveEvents(document, 'ws://here/ws/events/');
    expect(FakeSocket.all).toHaveLength(0);
  });
});
